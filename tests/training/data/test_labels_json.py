"""labels.json: read strictly, told by entry, decoded as described."""

import json

import cv2
import numpy as np
import pytest

from mask_gate.training.data.labels_json import load_sample, read_labels_json
from mask_gate.training.errors import DataError

BOX = {"xyxy": [1, 2, 9.5, 8], "label": "with_mask", "whole_image": True}
ENTRY = {"file": "images/a.png", "width": 12, "height": 10, "boxes": [BOX], "group": "video 3"}


@pytest.fixture
def write(tmp_path):
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.full((10, 12, 3), 7, np.uint8))

    def write_labels(content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "labels.json").write_text(text)
        return tmp_path

    return write_labels


def test_pictures_come_with_their_boxes(write):
    nobody = {**ENTRY, "file": "images/b.png", "boxes": []}
    first, second = read_labels_json(write([ENTRY, nobody]))
    assert (first.stem, first.size_wh, first.labels.tolist()) == ("a", (12, 10), [0])
    assert first.boxes_xyxy.tolist() == [[1, 2, 9.5, 8]]
    assert second.boxes_xyxy.shape == (0, 4)
    assert load_sample(first).image.shape == (10, 12, 3)


def test_a_picture_of_another_size_is_told(write):
    (record,) = read_labels_json(write([{**ENTRY, "width": 20}]))
    with pytest.raises(DataError, match=r"says 20x10, a\.png is 12x10"):
        load_sample(record)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ({}, "not a list"),
        ([3], "entry 1: `file`, `width`, `height` or `boxes` is amiss"),
        ([{**ENTRY, "width": 0}], "is amiss"),
        ([{**ENTRY, "width": True}], "is amiss"),
        ([{**ENTRY, "file": "../a.png"}], "outside the folder"),
        ([{**ENTRY, "file": "/a.png"}], "outside the folder"),
        ([ENTRY, ENTRY], "entry 2: a second entry of a"),
        ([{**ENTRY, "boxes": ["x"]}], "no four numbers"),
        ([{**ENTRY, "boxes": [{**BOX, "xyxy": [1, 2, 3, None]}]}], "no four numbers"),
        ([{**ENTRY, "boxes": [{**BOX, "label": "with-mask"}]}], "did you mean with_mask"),
        ([{**ENTRY, "boxes": [{**BOX, "xyxy": [1, 2, 99, 8]}]}], "xmax 99 is outside"),
    ],
)
def test_what_is_wrong_is_named(write, content, told):
    with pytest.raises(DataError, match=told):
        read_labels_json(write(content))
