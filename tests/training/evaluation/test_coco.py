"""COCO files: what is written is read back bit for bit, and what is not COCO is refused by name."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.coco import (
    DetectionsFileError,
    coco_ground_truth,
    coco_results,
    load_detections,
    save_detections,
    save_ground_truth,
)
from mask_gate.training.evaluation.metrics import evaluate_strict

LEFT, RIGHT = (10, 10, 50, 50), (200.5, 10.25, 240, 50)
GOOD = {"image_id": "a", "category_id": 0, "bbox": [1, 2, 3, 4], "score": 0.5}


def test_results_name_the_image_the_class_index_and_left_top_width_height(make_result):
    entries = coco_results([make_result([], [(2, 0.5, RIGHT)], "photo7", objectness=[0.75])])
    assert entries == [
        {
            "image_id": "photo7",
            "category_id": 2,
            "bbox": [200.5, 10.25, 39.5, 39.75],
            "score": 0.5,
            "margin": 0.5,
            "objectness": 0.75,
        }
    ]


def test_ground_truth_holds_images_without_faces_too(make_result):
    data = coco_ground_truth(
        [make_result([(1, LEFT)], name="a", size_hw=(300, 400)), make_result(name="b")]
    )
    assert data["images"] == [
        {"id": "a", "height": 300, "width": 400},
        {"id": "b", "height": 416, "width": 416},
    ]
    assert [category["name"] for category in data["categories"]] == list(CLASS_NAMES)
    assert data["annotations"] == [
        {
            "id": 1,
            "image_id": "a",
            "category_id": 1,
            "bbox": [10, 10, 40, 40],
            "area": 1600,
            "iscrowd": 0,
        }
    ]


def test_detections_come_back_bit_for_bit(random_results, tmp_path):
    results = random_results(0)
    save_detections(results, tmp_path / "new" / "dets.json")
    loaded = load_detections(tmp_path / "new" / "dets.json")
    assert list(loaded) == [result.name for result in results]
    for result in results:
        detections, objectness = loaded[result.name]
        for name in ("boxes_xyxy", "scores", "labels", "margins"):
            ours, theirs = getattr(result.detections, name), getattr(detections, name)
            np.testing.assert_array_equal(theirs, ours)
            assert theirs.dtype == ours.dtype
        np.testing.assert_array_equal(objectness, result.objectness)


@pytest.mark.parametrize("empty", [[], ["one image"]])
def test_nothing_found_is_an_empty_list(make_result, tmp_path, empty):
    path = tmp_path / "dets.json"
    save_detections([make_result() for _ in empty], path)
    assert json.loads(path.read_text()) == []
    assert load_detections(path) == {}


def test_both_files_on_disk_are_all_that_pycocotools_needs(random_results, tmp_path):
    """Anyone can score again: files in, and out comes our own 101-point figure."""
    results = random_results(2)
    save_ground_truth(results, tmp_path / "truth.json")
    save_detections(results, tmp_path / "dets.json")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        scoring = COCOeval(truth, truth.loadRes(str(tmp_path / "dets.json")), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    ours = evaluate_strict(results).scores
    assert scoring.stats[0] == pytest.approx(float(ours.map50_95_101_point), abs=1e-9)
    assert scoring.stats[1] == pytest.approx(float(ours.map50_101_point), abs=1e-9)


def test_a_file_of_another_tool_is_read_without_our_two_keys(tmp_path):
    path = tmp_path / "dets.json"
    path.write_text(json.dumps([GOOD, {**GOOD, "image_id": 17}]))
    loaded = load_detections(path)
    assert list(loaded) == ["a", "17"]
    detections, objectness = loaded["a"]
    np.testing.assert_array_equal(detections.boxes_xyxy, [[1, 2, 4, 6]])
    assert detections.margins.tolist() == [0]
    assert objectness is None


def test_objectness_of_only_some_detections_is_none(tmp_path):
    path = tmp_path / "dets.json"
    path.write_text(json.dumps([{**GOOD, "objectness": 0.5}, GOOD]))
    assert load_detections(path)["a"][1] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("[{", "expected JSON"),
        ("[" * 100_000, "expected JSON"),
        ('[{"score": NaN}]', "NaN is not JSON"),
        ("{}", "expected a list"),
        ("[7]", "entry 1: expected an object"),
    ],
)
def test_what_is_no_list_of_results_is_refused(tmp_path, text, message):
    path = tmp_path / "dets.json"
    path.write_text(text)
    with pytest.raises(DetectionsFileError, match=message):
        load_detections(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": None}, "entry 2: image_id"),
        ({"image_id": True}, "entry 2: image_id"),
        ({"category_id": 3}, r"entry 2: category_id: expected 0\.\.2"),
        ({"category_id": 1.0}, "entry 2: category_id"),
        ({"bbox": [1, 2, 3]}, "entry 2: bbox: expected"),
        ({"bbox": [1, 2, 3, "4"]}, "entry 2: bbox"),
        ({"bbox": [1, 2, 3, 10**400]}, "entry 2: bbox"),
        ({"score": None}, "entry 2: score"),
        ({"margin": True}, "entry 2: margin"),
        ({"objectness": "high"}, "entry 2: objectness"),
    ],
)
def test_an_entry_that_is_no_detection_is_refused_by_number(tmp_path, change, message):
    path = tmp_path / "dets.json"
    path.write_text(json.dumps([GOOD, {**GOOD, **change}]))
    with pytest.raises(DetectionsFileError, match=message):
        load_detections(path)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "dets.json"
    path.write_bytes(b"\xff\xd8\xff\xe0 a photo")
    with pytest.raises(DetectionsFileError, match="expected JSON"):
        load_detections(path)
