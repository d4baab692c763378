"""Augmentation: pixels and faces move together; the same chance gives the same image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.training.config import AugmentConfig
from mask_gate.training.data.augment import (
    Augmenter,
    compose,
    crop_boxes,
    crop_face,
    flip,
    paste_face,
)
from mask_gate.training.data.samples import Sample

EVERYTHING = AugmentConfig(
    flip=0.5, mosaic=0.5, scale=(0.5, 2.0), translate=0.2, focus=0.3, focus_px=(20, 100),
    hue=0.02, saturation=0.5, brightness=0.4, degrade=0.5, paste=0.5, report=True,
    turn=0.5, light=0.5, large=0.3,
)  # fmt: skip


def white_box(box=(20, 30, 60, 70), size_hw=(100, 120), label=0):
    """A black image whose only face is a white rectangle: pixels show where the box should be."""
    image = np.zeros((*size_hw, 3), np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = 255
    return Sample(image, np.array([box], np.float32), np.array([label]), "white")


def bounds_of_white(image):
    rows, columns = np.nonzero(image[..., 0] > 127)
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def empty(size_hw=(50, 50)):
    none = np.zeros((0, 4), np.float32)
    return Sample(np.full((*size_hw, 3), 90, np.uint8), none, np.zeros(0, np.int64), "empty")


def test_flip_moves_pixels_and_box():
    flipped = flip(white_box())
    np.testing.assert_allclose(flipped.boxes_xyxy, [[60, 30, 100, 70]])
    assert bounds_of_white(flipped.image) == [60, 30, 100, 70]


def test_flipping_twice_is_nothing():
    sample = white_box()
    twice = flip(flip(sample))
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.boxes_xyxy, sample.boxes_xyxy)


@given(st.floats(0.4, 3), st.floats(-20, 60), st.floats(-20, 60))
def test_boxes_follow_the_pixels_through_zoom_and_shift(gain, shift_x, shift_y):
    made = compose([(white_box(), ((0, 0, 128, 128), gain, shift_x, shift_y))], 128)
    if len(made.boxes_xyxy) and (made.image > 127).any():
        seen = bounds_of_white(np.where(made.image == 128, 0, made.image))
        np.testing.assert_allclose(made.boxes_xyxy[0], seen, atol=2.5 + gain)


def test_windows_cut_what_lies_outside():
    parts = [
        (white_box(), ((0, 0, 64, 128), 1.0, 0.0, 0.0)),
        (white_box(label=1), ((64, 0, 128, 128), 1.0, 64.0, 0.0)),
    ]
    made = compose(parts, 128)
    np.testing.assert_allclose(made.boxes_xyxy, [[20, 30, 60, 70], [84, 30, 124, 70]])
    assert made.labels.tolist() == [0, 1]


def test_what_is_left_of_a_cut_face_is_hidden():
    """A visible face without a box would teach that it is none."""
    parts = [(white_box(), ((0, 0, 128, 128), 1.0, -45.0, 0.0))]
    made = compose(parts, 128)
    assert len(made.boxes_xyxy) == 0
    assert not (made.image == 255).any()


def test_slivers_of_cut_faces_are_no_examples():
    boxes = np.array([[-30, 0, 10, 40], [-10, 0, 30, 40], [5, 5, 8, 8]], np.float32)
    kept_boxes, kept = crop_boxes(boxes, (0, 0, 100, 100))
    assert kept.tolist() == [False, True, False]
    np.testing.assert_allclose(kept_boxes, [[0, 0, 30, 40]])


def test_no_boxes_to_crop():
    boxes, kept = crop_boxes(np.zeros((0, 4), np.float32), (0, 0, 10, 10))
    assert boxes.shape == (0, 4)
    assert kept.shape == (0,)


@given(st.integers(0, 100_000))
def test_anything_goes_and_stays_inside(seed):
    """All augmentations at once, on images with and without faces: right shapes, boxes inside."""
    rng = np.random.default_rng(seed)
    donor = crop_face(white_box(label=2), 0)
    augment = Augmenter(EVERYTHING, [donor])
    sample = white_box() if seed % 2 else empty()
    made = augment(sample, lambda: white_box(label=1), 96, rng)
    assert made.image.shape == (96, 96, 3)
    assert made.image.dtype == np.uint8
    assert (made.boxes_xyxy >= 0).all()
    assert (made.boxes_xyxy <= 96).all()
    assert (made.boxes_xyxy[:, 2:] > made.boxes_xyxy[:, :2]).all()


def test_the_same_chance_gives_the_same_image_and_sources_stay_untouched():
    sample, before = white_box(), white_box()
    made = [
        Augmenter(EVERYTHING)(sample, white_box, 96, np.random.default_rng(4)) for _ in range(2)
    ]
    np.testing.assert_array_equal(made[0].image, made[1].image)
    np.testing.assert_array_equal(made[0].boxes_xyxy, made[1].boxes_xyxy)
    np.testing.assert_array_equal(sample.image, before.image)
    np.testing.assert_array_equal(sample.boxes_xyxy, before.boxes_xyxy)


def test_what_a_label_does_not_tell_goes_with_its_face():
    """Faces of label 0 come from a set of two classes, all others from one of three."""
    two = white_box(label=0).without_knowing(np.array([False, False, True]))
    three, rare = white_box(label=1), crop_face(white_box(label=1), 0)
    augment, seen = Augmenter(EVERYTHING, [rare]), set()
    for seed in range(60):
        made = augment(two, lambda: three, 128, np.random.default_rng(seed))
        assert made.unknown_of_each.tolist() == [
            [False, False, label == 0] for label in made.labels.tolist()
        ]
        seen |= set(made.labels.tolist())
    assert seen == {0, 1}


def test_plain_means_no_mosaic():
    config = AugmentConfig(flip=0, mosaic=1)
    made = Augmenter(config)(empty(), white_box, 96, np.random.default_rng(0), plain=True)
    assert len(made.labels) == 0


def test_focus_brings_a_face_to_the_wanted_size():
    config = AugmentConfig(flip=0, focus=1, focus_px=(50, 50))
    for seed in range(20):
        made = Augmenter(config)(white_box(), empty, 96, np.random.default_rng(seed))
        sides = made.boxes_xyxy[0, 2:] - made.boxes_xyxy[0, :2]
        np.testing.assert_allclose(sides, [50, 50], atol=1)


def test_a_pasted_face_brings_its_box_and_label():
    slot_box, donor = (20, 30, 60, 70), crop_face(white_box((10, 10, 50, 50), label=2), 0)
    made = paste_face(white_box(slot_box), 0, donor)
    assert made.labels.tolist() == [2]
    np.testing.assert_allclose(made.boxes_xyxy, [slot_box], atol=1)


@pytest.mark.parametrize("donor_side", [8, 100])
def test_a_face_of_unlike_size_is_not_pasted(donor_side):
    donor = crop_face(white_box((0, 0, donor_side, donor_side), (120, 120), label=2), 0)
    sample = white_box()
    assert paste_face(sample, 0, donor) is sample


def test_a_large_face_takes_the_part_of_the_input_that_was_asked_for():
    augment = Augmenter(AugmentConfig(flip=0, large=1.0, large_part=(0.5, 0.5)))
    made = augment(white_box(), empty, 128, np.random.default_rng(0))
    sides = made.boxes_xyxy[0, 2:] - made.boxes_xyxy[0, :2]
    assert np.sqrt(np.prod(sides)) == pytest.approx(64, rel=0.02)
