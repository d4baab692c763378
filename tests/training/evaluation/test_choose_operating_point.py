"""Calibration and thresholds: fitted lines come back, folding equals them, aims are kept."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mask_gate.models.labels import MaskLabel
from mask_gate.models.networks.calibrated_head import fold
from mask_gate.models.networks.zoo import ARCHITECTURES, build
from mask_gate.models.operating_point import SIZE_ORIGIN_PX, Calibration
from mask_gate.training.errors import UsageError
from mask_gate.training.evaluation.calibration import Reliability, calibrated, fit_calibration
from mask_gate.training.evaluation.choose_operating_point import (
    Aims,
    choose_thresholds,
    describe,
    fit_operating_point,
)
from mask_gate.training.evaluation.face_matches import NOTHING, FaceMatches

LINE = Calibration(slope=3.0, offset=1.5, size_slope=0.7, class_slope=0.5)
MASK, BARE, NOSE = MaskLabel


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "yolov3"])
def test_folded_into_a_network_it_gives_what_was_fitted(architecture):
    torch.manual_seed(0)
    network = build(architecture).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        before = network.predict(images).numpy()
        fold(network, LINE)
        after = network.predict(images).numpy()
    expected = np.stack([calibrated(rows, LINE) for rows in before])
    np.testing.assert_allclose(after, expected, atol=1e-4, rtol=1e-4)
    assert np.array_equal(after[..., 5:].argmax(-1), before[..., 5:].argmax(-1))


def test_lines_that_made_the_data_are_found_again():
    rng = np.random.default_rng(0)
    logits = rng.normal(-1.0, 1.0, 40_000)
    sides_px = SIZE_ORIGIN_PX * np.exp(rng.normal(0, 1, len(logits)))
    line = LINE.slope * logits + LINE.offset + LINE.size_slope * np.log(sides_px / SIZE_ORIGIN_PX)
    is_face = rng.random(len(logits)) < 1 / (1 + np.exp(-line))
    labels = rng.integers(0, 3, 9_000)
    scores = np.where(np.arange(3) == labels[:, None], 0.8, 0.2)
    found = fit_calibration(1 / (1 + np.exp(-logits)), sides_px, is_face, scores, labels)
    assert found.slope == pytest.approx(LINE.slope, rel=0.05)
    assert found.offset == pytest.approx(LINE.offset, rel=0.05)
    assert found.size_slope == pytest.approx(LINE.size_slope, rel=0.05)


def test_scores_that_rank_backwards_are_refused():
    objectness, is_face = np.linspace(0.1, 0.9, 50), np.arange(50) < 25
    with pytest.raises(UsageError, match="tell nothing"):
        fit_calibration(objectness, np.ones(50), is_face, np.eye(3) * 0.6 + 0.2, np.arange(3))


def test_one_side_alone_cannot_be_calibrated():
    with pytest.raises(UsageError, match="faces and others"):
        fit_calibration(np.ones(3), np.ones(3), np.ones(3, bool), np.eye(3), np.arange(3))


def test_reliability_of_scores_that_say_what_they_are_worth_has_no_error():
    scores = np.repeat([0.25, 0.75], 400)
    right = np.tile([True, False, False, False], 100).tolist() + [True, True, True, False] * 100
    found = Reliability.of(scores, np.array(right))
    assert found.error == pytest.approx(0)
    np.testing.assert_allclose(found.share, [0.25, 0.75])
    assert Reliability.of(np.zeros(0), np.zeros(0, bool)).error == 0


def matches(*faces):
    """(truth, label, score) each, all of one size; margins as scores."""
    truth, label, scores = (np.array(part) for part in zip(*faces, strict=True))
    count, even = len(faces), np.full(len(faces), 0.1)
    return FaceMatches(
        np.arange(count), truth, label, scores, scores, even, np.ones((count, 3)), even, even
    )


def test_the_worst_mistake_sets_the_threshold_while_that_costs_little():
    right = [(MASK, MASK, 0.9)] * 100 + [(BARE, BARE, 0.9)] * 50
    seen = matches(*right, (NOSE, MASK, 0.7), (NOTHING, MASK, 0.99))
    thresholds = choose_thresholds(seen, Aims())
    assert thresholds.min_scores[MASK] == pytest.approx(0.701, abs=0.0011)
    assert thresholds.min_scores[BARE] == 0.5  # nothing but belief asks for more


def test_a_mistake_that_is_surer_than_the_faces_does_not_lock_them_out():
    right = [(MASK, MASK, 0.6 + number / 1000) for number in range(100)]
    thresholds = choose_thresholds(matches(*right, (BARE, MASK, 0.99)), Aims(false_rejects=0.05))
    assert thresholds.min_scores[MASK] == pytest.approx(0.605, abs=0.0011)


def test_faces_that_score_low_are_still_faces():
    faces = [(MASK, MASK, 0.05)] * 5 + [(MASK, MASK, 0.9)] * 95
    assert choose_thresholds(matches(*faces), Aims()).face_score == 0.05


def test_faces_that_no_score_finds_do_not_lower_the_face_score():
    found = [(MASK, MASK, 0.15)] * 2 + [(MASK, MASK, 0.9)] * 94
    lost = [(MASK, NOTHING, 0.0)] * 10
    assert choose_thresholds(matches(*found, *lost), Aims()).face_score == 0.2
    assert choose_thresholds(matches(*found[:1], *lost), Aims()).face_score == 0.15
    assert choose_thresholds(matches(*lost), Aims()).face_score == 0.02


def test_other_presentations_count_for_classes_but_not_for_the_face_score():
    seen = matches(*[(MASK, MASK, 0.9)] * 100)
    shown = matches(*[(BARE, MASK, 0.8)] * 10, *[(MASK, NOTHING, 0.0)] * 50)
    alone, both = choose_thresholds(seen, Aims()), choose_thresholds(seen, Aims(), shown)
    assert alone.min_scores[MASK] == 0.5
    assert both.min_scores[MASK] == pytest.approx(0.801, abs=0.0011)
    assert both.face_score == alone.face_score


def test_no_face_that_is_large_enough_is_a_sentence():
    with pytest.raises(UsageError, match="no face of"):
        choose_thresholds(matches((NOTHING, MASK, 0.5)), Aims())


@pytest.fixture
def drawn():
    """Twenty images with a face and a ghost each, and predictions that know which is which."""
    rng = np.random.default_rng(1)
    samples, predictions = [], []
    for number in range(20):
        face = np.array([[10, 10, 30, 30]], np.float32)
        samples.append(
            SimpleNamespace(size_hw=(64, 64), boxes_xyxy=face, labels=np.array([number % 3]))
        )
        rows = np.full((2, 8), 0.05, np.float32)
        rows[0, :4], rows[1, :4] = face, [40, 40, 60, 60]
        rows[:, 4] = rng.uniform(0.4, 0.6), rng.uniform(0.1, 0.3)
        rows[0, 5 + number % 3] = rows[1, 5] = 0.95
        predictions.append(rows)
    return samples, predictions


def test_a_fit_counts_every_face_once_and_says_so(drawn):
    fit = fit_operating_point(*drawn, 64, Aims(), {"fitted_on": "20 drawn", "fitted_with": "x"})
    classes = fit.point.classes
    assert [classes[name].false_rejects.of for name in classes] == [7, 7, 6]
    assert [classes[name].false_accepts.of for name in classes] == [13, 13, 14]
    assert fit.point.missed_faces.of == 20
    assert fit.point.missed_faces.wrong == 0
    assert fit.after.loss < fit.before.loss
    assert "20 " in describe(fit)


def test_too_few_images_are_refused(drawn):
    samples, predictions = drawn
    with pytest.raises(UsageError, match="at least 5 images, got 4"):
        fit_operating_point(samples[:4], predictions[:4], 64, Aims(), {})
