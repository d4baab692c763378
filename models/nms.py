"""Non-maximum suppression: from a network's predictions to Detections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.boxes import pairwise_iou_xyxy
from models.detections import Detections

# More candidates than this in one picture are noise; the bound keeps the worst case's time known.
MAX_CANDIDATES = 1000


def suppress(
    predictions: NDArray[np.float32],
    score_threshold: float,
    iou_threshold: float = 0.5,
    max_detections: int = 300,
    one_label: bool = True,
) -> Detections:
    """Keep the best of overlapping boxes.

    Rows with a value that is not finite, or a box without area, are dropped first: an infinite box
    has no IoU and would never be suppressed.

    Args:
        predictions: [N, 5 + C] corners, objectness, class probabilities (`anchors.decode`).
        score_threshold: lowest objectness times class probability that counts.
        iou_threshold: overlap above which the lower score goes.
        max_detections: at most this many are returned, best first.
        one_label: True gives each face its best class and suppresses across classes, as a gate
            needs; False lets a box compete once per class and suppresses within classes, as
            detection benchmarks do.

    Returns:
        Detections in the pixels of `predictions`, by falling score.
    """
    usable = np.isfinite(predictions).all(1)
    usable &= (predictions[:, 2] > predictions[:, 0]) & (predictions[:, 3] > predictions[:, 1])
    usable &= predictions[:, 4] >= score_threshold
    rows = predictions[usable]
    class_scores = rows[:, 4:5] * rows[:, 5:]
    candidates = _one_per_box if one_label else _one_per_class
    found = candidates(rows[:, :4], class_scores, score_threshold)
    found = found[np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES]]
    groups = np.zeros_like(found.labels) if one_label else found.labels
    return found[_keep(found.boxes_xyxy, groups, iou_threshold, max_detections)]


def _one_per_box(
    boxes: NDArray[np.float32], class_scores: NDArray[np.float32], threshold: float
) -> Detections:
    scores = class_scores.max(1, initial=0.0)
    chosen = scores >= threshold
    boxes, class_scores, scores = boxes[chosen], class_scores[chosen], scores[chosen]
    if not len(scores):
        return Detections.empty()
    ranked = np.sort(class_scores, axis=1)
    second = ranked[:, -2] if ranked.shape[1] > 1 else np.zeros_like(scores)
    return Detections(boxes, scores, class_scores.argmax(1).astype(np.int64), scores - second)


def _one_per_class(
    boxes: NDArray[np.float32], class_scores: NDArray[np.float32], threshold: float
) -> Detections:
    rows, labels = np.nonzero(class_scores >= threshold)
    scores = class_scores[rows, labels]
    return Detections(boxes[rows], scores, labels.astype(np.int64), np.zeros_like(scores))


def _keep(
    boxes: NDArray[np.float32], groups: NDArray[np.int64], iou_threshold: float, limit: int
) -> NDArray[np.int64]:
    """Positions that survive, boxes being sorted by falling score; one round a survivor."""
    remaining = np.arange(len(boxes))
    kept: list[int] = []
    while len(remaining) and len(kept) < limit:
        best, remaining = remaining[0], remaining[1:]
        kept.append(int(best))
        overlap = pairwise_iou_xyxy(boxes[best : best + 1], boxes[remaining])[0]
        remaining = remaining[(overlap <= iou_threshold) | (groups[remaining] != groups[best])]
    return np.array(kept, np.int64)
