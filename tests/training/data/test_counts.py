"""Counts: the report's figures on the real set, and a picture that shows them."""

import cv2
import numpy as np

from mask_gate.training.data.counts import (
    count,
    count_splits,
    counts_picture,
    counts_table,
    sum_counts,
)
from mask_gate.training.data.dataset import DatasetFolder


def decoded(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def test_nothing_counts_to_zero():
    nothing = count("none", [])
    assert (nothing.images, nothing.boxes, nothing.images_with) == (0, (0, 0, 0), (0, 0, 0))


def test_boxes_and_images_of_every_split(drawn_dataset):
    train, valid, everything = count_splits(DatasetFolder.open(drawn_dataset))
    assert (train.name, train.images, train.boxes) == ("train", 8, (8, 8, 8))
    assert (valid.name, valid.images, valid.boxes) == ("valid", 4, (4, 4, 4))
    assert everything.images_with == (12, 12, 12)
    assert sum_counts("all", [train, valid]) == everything


def test_an_image_counts_once_however_many_faces_it_shows(drawn_dataset):
    file = drawn_dataset / "annotations" / "face0.xml"
    file.write_text(file.read_text().replace("without_mask", "with_mask"))
    train = count_splits(DatasetFolder.open(drawn_dataset))[0]
    assert train.boxes == (9, 7, 8)
    assert train.images_with == (8, 7, 8)


def test_the_table_lines_up(drawn_dataset):
    lines = counts_table(count_splits(DatasetFolder.open(drawn_dataset))).splitlines()
    assert lines[1].split() == ["train", "8", "8", "8", "8", "24"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4] == "images with at least one face of the class"
    assert lines[7].split() == ["all", "12", "12", "12"]


def test_the_picture_is_drawn_with_and_without_splits(drawn_dataset):
    rows = count_splits(DatasetFolder.open(drawn_dataset))
    whole, no_splits = decoded(counts_picture(rows)), decoded(counts_picture(rows[-1:]))
    assert whole.shape == no_splits.shape
    assert not np.array_equal(whole, no_splits)
    assert whole.std() > 10


def test_the_real_set_counts_as_the_report_says(real_data):
    rows = {row.name: row for row in count_splits(DatasetFolder.open(real_data))}
    assert rows["all"].images == 853
    assert rows["all"].boxes == (3232, 717, 123)
    assert rows["all"].images_with[2] == 97
    assert (rows["train"].images, rows["train"].boxes) == (753, (2829, 659, 109))
    assert (rows["valid"].images, rows["valid"].boxes) == (100, (403, 58, 14))
