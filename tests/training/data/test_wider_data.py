"""Wider data: what is learnt from beside a data set never holds what is measured on."""

import json

import cv2
import numpy as np
import pytest

from mask_gate.training.config import DataSource
from mask_gate.training.data.samples import Sample
from mask_gate.training.data.wider_data import load_wider_data
from mask_gate.training.errors import DataError


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)


def held_out(seed):
    none = np.zeros((0, 4), np.float32)
    return Sample(scene(seed), none, np.zeros(0, np.int64), f"scene{seed}")


@pytest.fixture
def pool(tmp_path):
    """Writes pictures into a folder with `labels.json`."""

    def write(name, pictures, boxes=()):
        folder = tmp_path / name
        folder.mkdir()
        entries = []
        for number, picture in enumerate(pictures):
            cv2.imwrite(str(folder / f"{number}.png"), picture)
            height, width = picture.shape[:2]
            entries.append(
                {"file": f"{number}.png", "width": width, "height": height, "boxes": list(boxes)}
            )
        (folder / "labels.json").write_text(json.dumps(entries), encoding="utf-8")
        return folder

    return write


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image[:, ::-1],
        lambda image: np.rot90(image),
        lambda image: np.rot90(image[::-1], 3),
        lambda image: cv2.resize(image, (300, 100)),
    ],
    ids=["same", "mirrored", "quarter", "mirrored-quarter", "stretched"],
)
def test_a_picture_that_is_measured_on_never_enters_training(pool, tmp_path, change):
    folder = pool("wild", [scene(1), change(scene(7)), scene(2)])
    said = []
    samples, times = load_wider_data(
        [DataSource(path=str(folder), weight=0.5)], tmp_path, [held_out(7)], said.append
    )
    assert [sample.name for sample in samples] == ["wild/0.png", "wild/2.png"]
    assert times.tolist() == [0.5, 0.5]
    assert "left out 1 near twins of test images: wild/1.png" in said[0]


def test_folders_lie_below_the_data_set_or_where_they_are_named(pool, tmp_path):
    pool("near", [scene(1)])
    sources = [DataSource(path="near"), DataSource(path=str(tmp_path / "near"), weight=3)]
    samples, times = load_wider_data(sources, tmp_path, [], print)
    assert len(samples) == 2
    assert times.tolist() == [1, 3]


FACE = {"xyxy": [10, 10, 60, 80], "label": "without_mask"}


def test_a_source_says_which_classes_its_labels_do_not_tell(pool, tmp_path):
    pool("two", [scene(1)], [FACE])
    pool("three", [scene(2)], [FACE])
    said = []
    sources = [DataSource(path="two", unknown=["mask_weared_incorrect"]), DataSource(path="three")]
    samples, _ = load_wider_data(sources, tmp_path, [], said.append)
    assert [s.unknown_of_each.tolist() for s in samples] == [
        [[False, False, True]], [[False, False, False]],
    ]  # fmt: skip
    assert "its labels do not tell mask_weared_incorrect" in said[0]
    assert "do not tell" not in said[1]


def test_a_class_that_a_source_shows_is_not_unknown_there(pool, tmp_path):
    pool("two", [scene(1)], [FACE])
    with pytest.raises(DataError, match="a face of class without_mask, which `unknown`"):
        load_wider_data([DataSource(path="two", unknown=["without_mask"])], tmp_path, [], print)


def test_an_unknown_class_has_to_be_one_of_ours():
    with pytest.raises(ValueError, match="expected one of with_mask, without_mask"):
        DataSource(path="two", unknown=["mask"])


def test_no_sources_are_no_samples(tmp_path):
    samples, times = load_wider_data([], tmp_path, [held_out(1)], print)
    assert samples == []
    assert times.shape == (0,)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="nowhere"):
        load_wider_data([DataSource(path="nowhere")], tmp_path, [], print)
