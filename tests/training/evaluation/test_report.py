"""The report: both protocols, strict JSON, a table for people."""

import json
import math

import numpy as np
import pytest

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.metrics import evaluate_strict
from mask_gate.training.evaluation.report import build_report
from mask_gate.training.evaluation.report_protocol import MAXIMA_MIN_OBJECTNESS, LenientMatches

LEFT, RIGHT = (10, 10, 50, 50), (200, 10, 240, 50)


@pytest.fixture(scope="module")
def results(random_results):
    return random_results(0, images=30)


@pytest.fixture(scope="module")
def report(results):
    return build_report(
        results,
        min_score=0.5,
        report_results=results,
        resamples=100,
        settings={"weights": "best.pth"},
    )


def strictly(text):
    """JSON by the letter: NaN and Infinity are errors."""
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_json_holds_both_protocols_counts_and_settings(report, results, tmp_path):
    report.save(tmp_path / "new" / "out.json")
    data = strictly((tmp_path / "new" / "out.json").read_text())
    assert data == report.to_json()
    scores = evaluate_strict(results).scores
    assert data["strict"]["figures"]["ap50"]["mean"]["value"] == pytest.approx(float(scores.map50))
    for index, name in enumerate(CLASS_NAMES):
        figures = data["strict"]["figures"]
        assert figures["ap50_95"][name]["value"] == pytest.approx(scores.ap50_95[index])
        assert figures["ap50"][name]["low"] <= figures["ap50"][name]["high"]
    lenient = LenientMatches.of(results, MAXIMA_MIN_OBJECTNESS).scores(np.ones((30, 1)))
    assert data["seed_protocol"]["figures"]["lenient_ap50"]["mean"]["value"] == pytest.approx(
        lenient.lenient_ap50.mean()
    )
    assert data["images"] == 30
    assert data["counts"]["truths"]["with_mask"] == sum(
        int((result.truth_labels == 0).sum()) for result in results
    )
    assert data["settings"] == {"weights": "best.pth"}
    assert data["intervals"]["resamples"] == 100


def test_the_reports_protocol_is_marked_wherever_it_shows(report):
    assert "not a standard metric" in report.to_json()["seed_protocol"]["note"]
    assert all(name.startswith("lenient") for name in report.to_json()["seed_protocol"]["figures"])
    assert "not a standard metric" in report.table()


def test_swapped_labels_show_in_both_protocols(make_result):
    swapped = [
        make_result(
            [(0, LEFT), (1, RIGHT)], [(1, 0.9, LEFT), (0, 0.9, RIGHT)], objectness=[0.9, 0.9]
        )
    ]
    report = build_report(swapped, min_score=0.5, report_results=swapped, resamples=10)
    assert report.strict["ap50"].mean.value == 0
    assert report.lenient is not None
    assert report.lenient.figures["lenient_ap50"].mean.value == 1
    assert report.confusion[0][1] == report.confusion[1][0] == 1


def test_what_cannot_be_measured_is_null_in_json_and_a_dash_in_the_table(make_result):
    report = build_report([make_result([(0, LEFT)], [(0, 0.9, LEFT)])], min_score=0.5, resamples=10)
    data = strictly(json.dumps(report.to_json(), allow_nan=False))
    assert data["strict"]["figures"]["ap50"]["without_mask"] == {
        "value": None,
        "low": None,
        "high": None,
    }
    assert data["seed_protocol"] is None
    row = next(line for line in report.table().splitlines() if line.startswith("AP50 "))
    assert row.split() == ["AP50", "1.000", "1.00-1.00", "1.000", "1.00-1.00", "-", "-"]
    assert report.table().endswith("-  no such face among the images; left out of the mean")


def test_no_images_make_a_report_too():
    report = build_report([], min_score=0.5, report_results=[], resamples=10)
    strictly(json.dumps(report.to_json(), allow_nan=False))
    assert math.isnan(report.strict["ap50"].mean.value)
    assert "on 0 images" in report.table()


def test_the_table_fits_a_terminal_and_has_every_row(report):
    lines = report.table().splitlines()
    assert max(map(len, lines)) <= 80
    starts = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    for row in ("faces", "detections", "AP50", "AP50:95", "lenient AP50", *CLASS_NAMES, "nothing"):
        assert row in starts
    for size in ("  under 16 px", "  16 to 32 px", "  over 32 px"):
        assert sum(line.startswith(size) for line in lines) == 2, "faces, then AP"
    assert not any(line != line.rstrip() for line in lines)


def test_the_same_call_gives_the_same_report(results, report):
    again = build_report(
        results,
        min_score=0.5,
        report_results=results,
        resamples=100,
        settings={"weights": "best.pth"},
    )
    assert again == report


def test_settings_that_json_cannot_hold_become_text_or_null(make_result, tmp_path):
    report = build_report(
        [make_result()],
        min_score=0.5,
        resamples=5,
        settings={"weights": tmp_path, "loss": float("inf"), "sizes": (320, 416), "ema": True},
    )
    assert report.to_json()["settings"] == {
        "weights": str(tmp_path),
        "loss": None,
        "sizes": [320, 416],
        "ema": True,
    }


def test_both_protocols_must_see_the_same_images(results):
    with pytest.raises(ValueError, match="same images"):
        build_report(results, min_score=0.5, report_results=results[1:], resamples=5)


def test_the_confusion_matrix_is_taken_at_the_threshold(report, results):
    kept = sum(int((result.detections.scores >= 0.5).sum()) for result in results)
    assert np.sum(report.confusion) - np.sum([row[-1] for row in report.confusion]) == kept
    assert report.to_json()["confusion"]["min_score"] == 0.5


def test_the_second_label_of_a_box_is_no_invented_face_where_the_gate_gives_one(make_result):
    both = make_result([(0, LEFT)], [(0, 0.9, LEFT), (1, 0.6, LEFT)])
    one = make_result([(0, LEFT)], [(0, 0.9, LEFT)])
    as_benchmarked = build_report([both], min_score=0.5, resamples=5)
    as_at_the_gate = build_report([both], min_score=0.5, gate_results=[one], resamples=5)
    assert as_benchmarked.confusion[3][1] == 1
    assert as_at_the_gate.confusion[3] == (0, 0, 0, 0)
    assert as_at_the_gate.detections == as_benchmarked.detections == (1, 1, 0)


def test_a_difference_is_ours_minus_theirs_by_the_same_images(results, random_results):
    theirs = random_results(1, images=30)
    report = build_report(results, min_score=0.5, other_results=theirs, resamples=50)
    ours, other = (evaluate_strict(r).scores for r in (results, theirs))
    figure = report.to_json()["differences"]["ap50"]["mean"]
    assert figure["value"] == pytest.approx(float(ours.map50) - float(other.map50))
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert "Minus the other weights" in report.table()
    assert build_report(results, min_score=0.5, resamples=5).to_json()["differences"] is None
