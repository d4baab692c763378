"""Beliefs: counted at the operating point by true class, and compared where losses are equal."""

import numpy as np
import pytest

from mask_gate.models.labels import MaskLabel
from mask_gate.training.evaluation.beliefs import (
    at_most_believed,
    believed_line,
    count_beliefs,
    equal_loss,
)
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.face_matches import NOTHING, FaceMatches

THRESHOLDS = Thresholds.of(None)


def faces(*rows):
    """From (truth, label, score); margins are as the scores."""
    table = np.array(rows, float).reshape(-1, 3)
    nothing = np.zeros(len(table))
    truth, label = table[:, :2].astype(int).T
    return FaceMatches(
        np.arange(len(table)), truth, label, table[:, 2], table[:, 2], nothing,
        np.zeros((len(table), 3)), nothing, nothing,
    )  # fmt: skip


SEEN = faces(
    (0, 0, 0.9), (0, 0, 0.8), (0, 0, 0.3), (0, NOTHING, 0),
    (1, 1, 0.9), (1, 0, 0.85), (1, 0, 0.2), (2, 0, 0.4),
)  # fmt: skip


def test_faces_are_counted_at_the_operating_point():
    counts = count_beliefs(SEEN, THRESHOLDS)
    assert counts["with_mask"] == {
        "shown": 4,
        "believed_proper": 2,
        "named_rightly": 3,
        "unseen": 1,
    }  # .3 is with_mask, but no vote
    assert counts["without_mask"] == {
        "shown": 3,
        "believed_proper": 1,
        "named_rightly": 1,
        "unseen": 0,
    }
    assert counts["mask_weared_incorrect"]["believed_proper"] == 1


def test_a_models_own_thresholds_are_taken(operating_point):
    assert Thresholds.of(operating_point).min_scores[MaskLabel.WITH_MASK] == 0.6
    assert Thresholds.of(operating_point).face_score == operating_point.face_score


def test_at_equal_loss_the_score_falls_until_enough_are_believed():
    shares = equal_loss(SEEN, THRESHOLDS, 0.5)
    assert shares["min_score"] == 0.8
    assert shares["without_mask"] == pytest.approx(1 / 3)
    assert equal_loss(SEEN, THRESHOLDS, 0.75)["mask_weared_incorrect"] == 1


def test_more_than_are_named_proper_cannot_be_believed():
    shares = equal_loss(SEEN, THRESHOLDS, 1.0)
    assert shares["min_score"] is None
    assert believed_line(shares) == "at no score"


def test_the_score_rises_until_few_others_are_believed():
    shares = at_most_believed(SEEN, THRESHOLDS, {MaskLabel.WITHOUT_MASK: 0.0})
    assert shares["without_mask"] == 0
    assert shares["with_mask"] == 0.25
    relaxed = at_most_believed(SEEN, THRESHOLDS, {MaskLabel.MASK_WEARED_INCORRECT: 0.0})
    assert relaxed["with_mask"] == 0.5
    assert "without_mask 33.3%" in believed_line(relaxed)


def test_no_faces_are_no_shares():
    assert equal_loss(faces(), THRESHOLDS, 0.9)["min_score"] is None
    assert at_most_believed(faces(), THRESHOLDS, {MaskLabel.WITHOUT_MASK: 0.0})["with_mask"] is None
    assert count_beliefs(faces(), THRESHOLDS)["with_mask"]["shown"] == 0


def test_joined_images_stay_apart():
    joined = FaceMatches.joined([SEEN[:2], faces(), SEEN[:1]])
    assert joined.images.tolist() == [0, 1, 2]
    assert not len(FaceMatches.joined([]).truth)
