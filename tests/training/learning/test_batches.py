"""Batches: faces stay with their image, every epoch can be asked for again."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mask_gate.models.networks.anchors import Scale
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import UsageError
from mask_gate.training.learning.batches import BatchSource, rare_faces, repeat_factors, to_batch


def sample(labels, name="a", size=64, shade=0):
    """Face i of an image lies at (10 i, shade): the box tells which image it belongs to."""
    boxes = [[10 * i, shade, 10 * i + 25, shade + 25] for i in range(len(labels))]
    image = np.full((size, size, 3), shade, np.uint8)
    return Sample(
        image, np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), name
    )


def config(**changes):
    base = {"name": "a", "architecture": "yolov3_tiny", "input_size": 64, "batch_size": 2}
    return TrainConfig.model_validate({**base, "augment": {"flip": 0}, **changes})


def test_targets_stay_with_their_image():
    """An image without faces between two with faces shifts nobody's boxes."""
    batch = to_batch([sample([0], shade=5), sample([]), sample([1, 2], shade=9)])
    assert batch.truth.image.tolist() == [0, 2, 2]
    assert batch.truth.labels.tolist() == [0, 1, 2]
    assert batch.truth.boxes_xyxy[:, 1].tolist() == [5, 9, 9]
    assert batch.images.shape == (3, 3, 64, 64)
    for index, shade in enumerate((5, 0, 9)):
        assert torch.all(batch.images[index] == shade)


def test_images_become_rgb():
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 255  # blue, as OpenCV has it
    none = np.zeros((0, 4), np.float32)
    pixels = to_batch([Sample(image, none, np.zeros(0, np.int64), "a")]).images[0, :, 0, 0]
    assert pixels.tolist() == [0, 0, 255]


def test_the_values_of_a_pixel_lie_side_by_side_as_convolutions_read_them_fastest():
    images = to_batch([sample([0]), sample([])]).images
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_a_batch_without_any_face_is_ordinary():
    truth = to_batch([sample([]), sample([])]).truth
    assert truth.boxes_xyxy.shape == (0, 4)
    assert len(truth) == 0


def test_an_epoch_shows_every_image_once_also_in_a_last_short_batch():
    source = BatchSource([sample([0], name=str(i)) for i in range(5)], config())
    batches = list(source.epoch(0))
    assert [len(b.names) for b in batches] == [2, 2, 1]
    assert sorted(n for b in batches for n in b.names) == list("01234")
    assert source.steps(0) == 3


def test_epochs_differ_and_come_back_equal():
    source = BatchSource([sample([0], name=str(i), shade=i) for i in range(8)], config())
    first, again = ([b.names for b in source.epoch(1)] for _ in range(2))
    assert first == again
    assert first != [b.names for b in source.epoch(2)]


def test_an_epoch_can_be_entered_in_its_middle():
    augment = {"flip": 0.5, "brightness": 0.4, "scale": [0.5, 2.0]}
    source = BatchSource([sample([0, 1], shade=i) for i in range(7)], config(augment=augment))
    whole, rest = list(source.epoch(3)), list(source.epoch(3, first_step=2))
    assert len(rest) == len(whole) - 2
    for a, b in zip(whole[2:], rest, strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.truth.boxes_xyxy, b.truth.boxes_xyxy)


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_make_up_the_whole(parts):
    """Each process gets its share by position, varied as it would be in one process."""
    augment = {"flip": 0.5, "brightness": 0.4, "scale": [0.5, 2.0], "mosaic": 0.3}
    run = config(augment=augment, batch_size=4, multi_scale=[64, 128])
    samples = [sample([0] * (i % 3), shade=i) for i in range(9)]
    whole = list(BatchSource(samples, run).epoch(2))
    split = [list(BatchSource(samples, run, rank, parts).epoch(2)) for rank in range(parts)]
    for batch, *shares in zip(whole, *split, strict=True):
        assert sum((share.names for share in shares), ()) == batch.names
        images = [share.images for share in shares if share.names]
        assert torch.equal(torch.cat(images), batch.images)
        boxes = torch.cat([share.truth.boxes_xyxy for share in shares])
        assert torch.equal(boxes, batch.truth.boxes_xyxy)


def test_a_part_may_be_empty_at_the_end():
    source = BatchSource([sample([0]) for _ in range(3)], config(), rank=1, parts=2)
    assert [len(batch.names) for batch in source.epoch(0)] == [1, 0]


def test_a_batch_has_at_least_one_image_for_each_process():
    with pytest.raises(UsageError, match="batch_size: expected at least one image for each of 3"):
        BatchSource([sample([0])], config(), rank=0, parts=3)


def test_a_batch_can_be_named_without_making_it():
    source = BatchSource([sample([0], name=str(i)) for i in range(5)], config())
    names = [source.names(1, step) for step in range(3)]
    assert names == [list(batch.names) for batch in source.epoch(1)]


def test_multi_scale_draws_sizes_between_its_ends():
    source = BatchSource([sample([0]) for _ in range(40)], config(multi_scale=[32, 96]))
    sizes = {b.images.shape[2] for b in source.epoch(0)}
    assert sizes == {32, 64, 96}


def test_images_of_rare_classes_are_repeated_by_the_square_root_rule():
    labels = [np.array([0])] * 15 + [np.array([0, 2])]
    factors = repeat_factors(labels, 0.25)
    np.testing.assert_allclose(factors[:15], 1)
    np.testing.assert_allclose(factors[15], np.sqrt(0.25 / (1 / 16)))


def test_repeats_show_up_in_the_order():
    samples = [sample([0], name=str(i)) for i in range(15)] + [sample([0, 2], name="rare")]
    source = BatchSource(samples, config(repeat_factor=0.25))
    assert (source.order(0) == 15).sum() == 2


@pytest.mark.parametrize("wanted", [1, 3, 4, 9])
def test_an_epoch_shows_as_many_images_as_it_is_told_to(wanted):
    """None again before all were shown: each as often as any other, or once more."""
    source = BatchSource([sample([0]) for _ in range(4)], config(epoch_images=wanted))
    times = np.bincount(source.order(0), minlength=4)
    assert times.sum() == wanted
    assert times.max() - times.min() <= 1
    assert source.steps(0) == -(-wanted // source.config.batch_size)


def test_rare_faces_are_cut_out_and_tiny_ones_left():
    small = sample([2])
    small.boxes_xyxy[0] = [0, 0, 9, 9]
    common = [sample([0, 0, 0, 0]) for _ in range(5)]
    found = rare_faces([*common, sample([2], name="rare"), small])
    assert [f.name for f in found] == ["rare"]
    assert found[0].labels.tolist() == [2]


def test_no_images_are_refused():
    with pytest.raises(UsageError, match="at least one training image"):
        BatchSource([], config())


SCALES = (Scale(16, ((12.0, 16.0), (30.0, 34.0))),)


# A process of its own, as a training is one: the runner of these tests has threads of others, and
# nothing of a test may be forked with them.
BY_PROCESSES = """
import numpy as np, torch
from mask_gate.models.networks.anchors import Scale
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.samples import Sample
from mask_gate.training.learning.batches import BatchSource

boxes = np.array([[0, 9, 25, 34], [10, 9, 35, 34]], np.float32)
samples = [
    Sample(np.full((64, 64, 3), shade, np.uint8), boxes, np.array([0, 1]), str(shade))
    for shade in range(7)
]
config = TrainConfig.model_validate({
    "name": "a", "architecture": "yolov3_tiny", "input_size": 64, "batch_size": 2,
    "multi_scale": [64, 128],
    "augment": {"flip": 0.5, "turn": 0.5, "scale": [0.5, 2.0], "light": 0.5},
})
own, others = (
    BatchSource(samples, config, scales=(Scale(16, ((12.0, 16.0),)),), workers=workers)
    for workers in (0, 2)
)
count = 0
for a, b in zip(own.epoch(1, first_step=1), others.epoch(1, first_step=1), strict=True):
    assert a.names == b.names and a.counts == b.counts
    assert torch.equal(a.images, b.images)
    assert torch.equal(a.truth.boxes_xyxy, b.truth.boxes_xyxy)
    assert torch.equal(a.targets[0].negative_weight, b.targets[0].negative_weight)
    count += 1
print("equal batches:", count)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="worker processes share memory by fork")
def test_processes_make_the_batches_that_a_thread_makes():
    """Also from the middle of an epoch on: a resumed run sees the same with any number of them."""
    ended = subprocess.run(
        [sys.executable, "-c", BY_PROCESSES], capture_output=True, text=True, timeout=240
    )
    assert ended.stdout == "equal batches: 3\n", ended.stderr


def test_images_travel_as_bytes_with_their_targets():
    source = BatchSource([sample([0])], config(), scales=SCALES)
    (batch,) = source.epoch(0)
    assert batch.images.dtype is torch.uint8
    assert len(batch.targets) == 1
    assert batch.targets[0].negative_weight.shape == (1, 2, 4, 4)


def test_a_gpu_is_shown_few_sizes():
    samples = [sample([0], name=str(i)) for i in range(40)]
    wanted = config(multi_scale=[64, 256])
    for for_gpu, kinds in ((True, 3), (False, 7)):
        source = BatchSource(samples, wanted, for_gpu=for_gpu)
        seen = {source.make(np.arange(1), epoch, 0).images.shape[-1] for epoch in range(80)}
        assert len(seen) == kinds
        assert {min(seen), max(seen)} == {64, 256}


def test_samples_are_shown_as_often_as_asked():
    samples = [sample([0], name="often"), sample([0], name="seldom")]
    source = BatchSource(samples, config(), times=np.array([3.0, 0.25]))
    shown = np.concatenate([source.order(epoch) for epoch in range(200)])
    assert (shown == 0).sum() == 600
    assert 25 <= (shown == 1).sum() <= 75
