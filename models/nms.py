"""Non-maximum suppression: from a network's predictions to Detections."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.detections import Detections

# More candidates than this in one picture are noise; the bound keeps the worst case's time known.
MAX_CANDIDATES = 1000
MAX_DETECTIONS = 300
IOU_THRESHOLD = 0.5
"""Overlap above which two boxes are one face."""

SAME_PART = 0.6
SAME_IOU = 0.4
"""Two boxes of one class show the same head where this part of one lies in the other, or where they
overlap by this much. Less than `IOU_THRESHOLD`, for where both say the same no doubt is lost."""

_BLOCK = 128


def suppress(
    predictions: NDArray[np.float32],
    score_threshold: float,
    iou_threshold: float = IOU_THRESHOLD,
    max_detections: int = MAX_DETECTIONS,
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
            needs, and of two boxes of one head with the same class keeps the surer; False lets
            a box compete once per class and suppresses within classes, as detection benchmarks do.

    Returns:
        Detections in the pixels of `predictions`, by falling score.
    """
    rows = predictions[predictions[:, 4] >= score_threshold]  # first, for few are left by it
    usable = np.isfinite(rows).all(1)
    usable &= (rows[:, 2] > rows[:, 0]) & (rows[:, 3] > rows[:, 1])
    rows = rows[usable]
    class_scores = rows[:, 4:5] * rows[:, 5:]
    candidates = _one_per_box if one_label else _one_per_class
    found = candidates(rows[:, :4], class_scores, score_threshold)
    found = found[np.argsort(-found.scores, kind="stable")[:MAX_CANDIDATES]]
    groups = np.zeros_like(found.labels) if one_label else found.labels
    found = found[_keep(found.boxes_xyxy, groups, iou_threshold, max_detections)]
    return _without_doubles(found) if one_label else found


def _without_doubles(found: Detections) -> Detections:
    """Without what shows the same head as a surer box of the same class.

    A box around a face that says something else stays: it is doubt, which must reach the policy.
    """
    if len(found) < 2:
        return found
    boxes = found.boxes_xyxy.astype(np.float64)
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    shared = (high - low).clip(0).prod(2)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    doubles = shared >= SAME_PART * np.minimum(areas[:, None], areas)
    doubles |= shared >= SAME_IOU * (areas[:, None] + areas - shared)
    return found[_standing(doubles & (found.labels[:, None] == found.labels))]


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
    """Positions that survive, boxes being sorted by falling score; one round a block of them.

    A round holds a block against those kept so far, and what is left of it against itself, so that
    its cost is known: no pair is looked at twice, and nothing after the last one kept.
    """
    rows = np.empty((5, len(boxes)), np.float32)  # x1, y1, x2, y2, part of the area
    rows[:4] = boxes.T
    several_groups = bool(len(groups)) and bool((groups != groups[0]).any())
    # Fresh memory for every product would cost more than the arithmetic.
    scratch = np.empty((3, _BLOCK * max(_BLOCK, min(limit, len(boxes)))), np.float32)
    kept = np.zeros(0, np.int64)

    def overlap_more(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
        more = _overlap_more(rows[:, first], rows[:, second], scratch)
        return more & (groups[first, None] == groups[second]) if several_groups else more

    with np.errstate(over="ignore", invalid="ignore"):  # boxes too huge for an area beat nobody
        rows[4] = (rows[2] - rows[0]) * (rows[3] - rows[1])
        # IoU > t, written without the union: shared > (area a + area b) * t / (1 + t).
        rows[4] *= np.float32(iou_threshold / (1 + iou_threshold))
        for start in range(0, len(boxes), _BLOCK):
            block = np.arange(start, min(start + _BLOCK, len(boxes)))
            block = block[~overlap_more(block, kept).any(1)]
            kept = np.concatenate((kept, block[_standing(overlap_more(block, block))]))
            if len(kept) >= limit:
                break
    return kept[:limit]


def _overlap_more(
    first: NDArray[np.float32], second: NDArray[np.float32], scratch: NDArray[np.float32]
) -> NDArray[np.bool_]:
    """Whether each of `first` [5, N] and each of `second` [5, M] overlap more: [N, M].

    `scratch` [3, N * M or more] is written over. Every line is a pass over all pairs.
    """
    a, b = first[:, :, None], second[:, None, :]
    shape = first.shape[1], second.shape[1]
    shared, height, other = (part[: shape[0] * shape[1]].reshape(shape) for part in scratch)
    np.minimum(a[2], b[2], out=shared)
    shared -= np.maximum(a[0], b[0], out=other)
    np.maximum(shared, 0, out=shared)  # and so no two gaps make an overlap
    np.minimum(a[3], b[3], out=height)
    height -= np.maximum(a[1], b[1], out=other)
    shared *= height
    more: NDArray[np.bool_] = shared > np.add(a[4], b[4], out=other)
    return more


def _standing(beats: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which boxes of a block no better survivor beats; row i says whom box i overlaps too much."""
    standing = np.ones(len(beats), np.bool_)
    for row in np.flatnonzero(np.count_nonzero(beats, axis=1) > 1):  # each "overlaps" itself
        if standing[row]:
            standing[row + 1 :] &= ~beats[row, row + 1 :]
    return standing
