"""COCO results: complete to the last bit, and all that other tools need to score again."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mask_gate.training.evaluation.coco import coco_results, save_detections
from mask_gate.training.evaluation.metrics import evaluate_strict

RIGHT = (200.5, 10.25, 240, 50)


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


def test_scores_boxes_and_margins_are_written_to_the_last_bit(random_results, tmp_path):
    results = random_results(0)
    save_detections(results, tmp_path / "new" / "dets.json")
    entries = json.loads((tmp_path / "new" / "dets.json").read_text())
    for result in results:
        rows = [entry for entry in entries if entry["image_id"] == result.name]
        boxes = np.array([row["bbox"] for row in rows])
        boxes[:, 2:] += boxes[:, :2]
        found = result.detections
        np.testing.assert_array_equal(boxes.astype(np.float32), found.boxes_xyxy)
        np.testing.assert_array_equal([row["category_id"] for row in rows], found.labels)
        for name, values in (
            ("score", found.scores),
            ("margin", found.margins),
            ("objectness", result.objectness),
        ):
            written = np.array([row[name] for row in rows], np.float32)
            np.testing.assert_array_equal(written, values)


@pytest.mark.parametrize("empty", [[], ["one image"]])
def test_nothing_found_is_an_empty_list(make_result, tmp_path, empty):
    path = tmp_path / "dets.json"
    save_detections([make_result() for _ in empty], path)
    assert json.loads(path.read_text()) == []


def test_the_file_is_all_that_pycocotools_needs_beside_the_truths(
    random_results, coco_truths, tmp_path
):
    """Anyone can score again: the file in, and out comes our own 101-point figure."""
    results = random_results(2)
    (tmp_path / "truth.json").write_text(json.dumps(coco_truths(results)))
    save_detections(results, tmp_path / "dets.json")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "truth.json"))
        scoring = COCOeval(truth, truth.loadRes(str(tmp_path / "dets.json")), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    ours = evaluate_strict(results).scores
    assert scoring.stats[0] == pytest.approx(np.nanmean(ours.ap50_95_101_point), abs=1e-9)
    assert scoring.stats[1] == pytest.approx(np.nanmean(ours.ap50_101_point), abs=1e-9)
