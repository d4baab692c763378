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
    taken = _believed_proper(faces, thresholds, min_score)
    shares = {CLASS_NAMES[label]: _share(taken[faces.truth == label]) for label in MaskLabel}
    return {"min_score": min_score, **shares}


def cells(counts: Mapping[str, int]) -> str:
    """Counts of one class as per cent: believed proper / named rightly / not seen."""
    of = counts["shown"]
    if not of:
        return "-"
    names = ("believed_proper", "named_rightly", "unseen")
    return " / ".join(f"{100 * counts[name] / of:5.1f}" for name in names)


def equal_loss_line(shares: Mapping[str, float | None], believed_share: float, where: str) -> str:
    """What `equal_loss` found, in a sentence; `where` says of which faces."""
    told = f"{believed_share:.0%} of the proper ones believed, {where}: "
    if shares["min_score"] is None:
        return f"{told}at no score"
    others = [f"{name} {shares[name]:.1%}" for name in CLASS_NAMES[1:] if shares[name] is not None]
    return f"{told}so are {', '.join(others) or 'no others'} (score {shares['min_score']:.3f})"


def _believed_proper(
    faces: FaceMatches, thresholds: Thresholds, min_score: float
) -> NDArray[np.bool_]:
    sure = (faces.scores >= min_score) & (faces.margins >= thresholds.min_margin)
    return np.asarray(sure & (faces.label == MaskLabel.WITH_MASK))


def _share(mask: NDArray[np.bool_]) -> float | None:
    return float(mask.mean()) if len(mask) else None
