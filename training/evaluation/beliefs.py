"""Beliefs: what the gate would believe of labelled faces, counted, and compared at equal loss."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.face_matches import FaceMatches

MATCH_IOU = 0.3
"""Low: boxes around turned heads, and those of other data sets, are a matter of convention."""


def count_beliefs(faces: FaceMatches, thresholds: Thresholds) -> dict[str, dict[str, int]]:
    """What is believed of faces at the operating point, by their true class.

    Args:
        faces: labelled faces only.
        thresholds: from which scores on a detector is believed.

    Returns:
        Class name to counts: `shown`; `believed_proper`, a vote for with_mask at the gate;
        `named_rightly`, whose best class is the true one, sure or not; `unseen`, below the score
        from which on something is a face.
    """
    seen = faces.scores >= thresholds.face_score
    min_score = thresholds.min_scores[MaskLabel.WITH_MASK]
    masks = {
        "shown": np.ones_like(seen),
        "believed_proper": _believed_proper(faces, thresholds, min_score),
        "named_rightly": seen & (faces.label == faces.truth),
        "unseen": ~seen,
    }
    return {
        CLASS_NAMES[label]: {
            name: int((mask & (faces.truth == label)).sum()) for name, mask in masks.items()
        }
        for label in MaskLabel
    }


def equal_loss(
    faces: FaceMatches, thresholds: Thresholds, believed_share: float
) -> dict[str, float | None]:
    """How many of each class are believed proper where `believed_share` of the proper ones are.

    It tells detectors apart whose scores are not calibrated alike.

    Returns:
        `min_score` for with_mask (None where so many are not believed at any score) and, by class
        name, the share believed proper from there on (None without such faces).
    """
    masked = faces.truth == MaskLabel.WITH_MASK
    believed = masked & _believed_proper(faces, thresholds, 0.0)
    scores = np.sort(faces.scores[believed])[::-1]
    wanted = max(1, int(np.ceil(believed_share * masked.sum())))
    if len(scores) < wanted:
        return {"min_score": None, **dict.fromkeys(CLASS_NAMES)}
    min_score = float(scores[wanted - 1])
    return {"min_score": min_score, **_shares(faces, thresholds, min_score)}


def at_most_believed(
    faces: FaceMatches, thresholds: Thresholds, most: Mapping[MaskLabel, float]
) -> dict[str, float | None]:
    """How many of each class are believed proper where of others at most these shares are.

    Args:
        faces: labelled faces only.
        thresholds: for the margin.
        most: the largest share of a class that may be believed proper.

    Returns:
        The lowest such `min_score` for with_mask and, by class name, the share believed proper
        from there on (None without such faces).
    """
    min_score = 0.0
    for label, share in most.items():
        wrong = faces.truth == label
        taken = faces.scores[wrong & _believed_proper(faces, thresholds, 0.0)]
        allowed = int(share * wrong.sum())
        if len(taken) > allowed:
            above = np.nextafter(np.sort(taken)[::-1][allowed], np.inf)
            min_score = max(min_score, float(above))
    return {"min_score": min_score, **_shares(faces, thresholds, min_score)}


def cells(counts: Mapping[str, int]) -> str:
    """Counts of one class as per cent: believed proper / named rightly / not seen."""
    of = counts["shown"]
    if not of:
        return "-"
    names = ("believed_proper", "named_rightly", "unseen")
    return " / ".join(f"{100 * counts[name] / of:5.1f}" for name in names)


def believed_line(shares: Mapping[str, float | None]) -> str:
    """What `equal_loss` or `at_most_believed` found, in words."""
    if shares["min_score"] is None:
        return "at no score"
    told = [f"{name} {shares[name]:.1%}" for name in CLASS_NAMES if shares[name] is not None]
    return f"{', '.join(told)} (from score {shares['min_score']:.3f} on)"


def _believed_proper(
    faces: FaceMatches, thresholds: Thresholds, min_score: float
) -> NDArray[np.bool_]:
    sure = (faces.scores >= min_score) & (faces.margins >= thresholds.min_margin)
    return np.asarray(sure & (faces.label == MaskLabel.WITH_MASK))


def _shares(
    faces: FaceMatches, thresholds: Thresholds, min_score: float
) -> dict[str, float | None]:
    believed = _believed_proper(faces, thresholds, min_score)
    of_class = {CLASS_NAMES[label]: believed[faces.truth == label] for label in MaskLabel}
    return {name: float(mask.mean()) if len(mask) else None for name, mask in of_class.items()}
