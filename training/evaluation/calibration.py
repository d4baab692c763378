"""Calibration: straight lines through logits, fitted so that scores are probabilities.

Platt's scaling (1999) for objectness, with the size of the box as a second variable; for the
classes one slope for all, which is temperature scaling (Guo et al., 2017) and leaves their order as
it was. Four numbers: a small dev set can tell no more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.operating_point import SIZE_ORIGIN_PX, Calibration
from mask_gate.training.errors import UsageError

Floats = NDArray[np.float64]

_CERTAIN = 1e-7  # float32 sigmoids end there
_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Reliability:
    """How well scores tell the share of what is right.

    Attributes:
        score: mean of each bin that has any.
        share: of right ones there.
        count: in each.
        error: expected calibration error, the mean gap between the two.
        loss: mean negative log likelihood, nats.
    """

    score: Floats
    share: Floats
    count: NDArray[np.int64]
    error: float
    loss: float

    @classmethod
    def of(cls, scores: Floats, right: NDArray[np.bool_], bins: int = 10) -> Reliability:
        """Of scores in 0..1 and whether each was right; bins are equally wide."""
        place = np.minimum((scores * bins).astype(int), bins - 1)
        count = np.bincount(place, minlength=bins)
        filled = count > 0
        score = np.bincount(place, scores, bins)[filled] / count[filled]
        share = np.bincount(place, right, bins)[filled] / count[filled]
        total = max(len(scores), 1)
        p = np.clip(scores, _CERTAIN, 1 - _CERTAIN)
        loss = -float(np.log(np.where(right, p, 1 - p)).sum()) / total
        error = float((np.abs(score - share) * count[filled]).sum()) / total
        return cls(score, share, count[filled], error, loss)


def fit_calibration(
    objectness: Floats,
    sides_px: Floats,
    is_face: NDArray[np.bool_],
    class_scores: Floats,
    labels: NDArray[np.int64],
) -> Calibration:
    """The lines that fit best.

    Args:
        objectness: [N] of everything found, in 0..1.
        sides_px: [N] how large each is: root of width times height, in pixels of the input.
        is_face: [N] whether it is one.
        class_scores: [F, C] class probabilities of faces.
        labels: [F] their classes.

    Raises:
        UsageError: nothing to tell apart, or scores that rank the wrong way round.
    """
    faces, others = int(is_face.sum()), int((~is_face).sum())
    if not (faces and others and len(labels)):
        raise UsageError(f"calibrating takes faces and others, got {faces} and {others}")
    # Platt's targets: without them, two sides that no score mixes up would make a cliff.
    wanted = np.where(is_face, (faces + 1) / (faces + 2), 1 / (others + 2))
    x = _logit(objectness)
    size = _log_size(sides_px)
    slope, offset, size_slope = _logistic(np.stack([x, np.ones_like(x), size], 1), wanted)
    right = labels[:, None] == np.arange(class_scores.shape[1])
    (class_slope,) = _logistic(_logit(class_scores).reshape(-1, 1), right.reshape(-1).astype(float))
    if not (slope > 0 and class_slope > 0):
        raise UsageError("what scores higher is less often right: these weights tell nothing")
    return Calibration(slope=slope, offset=offset, size_slope=size_slope, class_slope=class_slope)


def calibrated(rows: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float32]:
    """Predictions [N, 5 + C] as the network with `calibration` folded into it gives them.

    Args:
        rows: corners in pixels of the input, objectness, classes.
        calibration: to apply.
    """
    found = rows.copy()
    size = _log_size(np.sqrt((rows[:, 2:4] - rows[:, :2]).prod(1)))
    line = calibration.slope * _logit(rows[:, 4]) + calibration.offset
    found[:, 4] = _sigmoid(line + calibration.size_slope * size)
    found[:, 5:] = _sigmoid(calibration.class_slope * _logit(rows[:, 5:]))
    return found


def _log_size(sides_px: NDArray[np.floating]) -> Floats:
    return np.asarray(np.log(np.maximum(np.asarray(sides_px, np.float64), 1e-3) / SIZE_ORIGIN_PX))


def _logistic(x: Floats, y: Floats) -> list[float]:
    """Coefficients of the logistic regression of y in 0..1 on x [N, K], by damped Newton steps."""
    at = np.zeros(x.shape[1])
    at[0] = 1.0
    for _ in range(_ROUNDS):
        p = _sigmoid(x @ at)
        gradient = x.T @ (p - y)
        curvature = (x.T * (p * (1 - p))) @ x + 1e-9 * np.eye(len(at))
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while _loss(x, y, at - size * step) > _loss(x, y, at) and size > 1e-6:
            size /= 2
        at = at - size * step
        if np.abs(size * step).max() < 1e-9:
            break
    return [float(value) for value in at]


def _loss(x: Floats, y: Floats, at: Floats) -> float:
    z = x @ at
    return float((np.logaddexp(0, z) - y * z).sum())


def _logit(p: NDArray[np.floating]) -> Floats:
    clipped = np.clip(np.asarray(p, np.float64), _CERTAIN, 1 - _CERTAIN)
    return np.asarray(np.log(clipped / (1 - clipped)))


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))
