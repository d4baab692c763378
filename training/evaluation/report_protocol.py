"""The lenient rules of the 2020 report: NOT a standard metric, only to compare with its own table.

Boxes are ranked by objectness alone; a box takes the face it overlaps most, of whatever class; it
counts as right when that face is still free and the box's class occurs *somewhere* in the image;
each side of a box is one pixel longer than it is. Two faces with swapped labels score 1.0 here,
and a class may even exceed 1.0, for it can claim the faces of the others as its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.detections import Detections
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.average_precision import (
    Bools,
    Floats,
    Ints,
    RankedHits,
    average_precision,
)
from mask_gate.training.evaluation.metrics import ImageResult, sorted_by_name

NOT_STANDARD = "not a standard metric: the report's own lenient rules"
MAXIMA_MIN_OBJECTNESS = 0.001
"""Below it the script that printed the maxima of the report's table saw no boxes; its training log
saw none below 0.5."""
MIN_IOU = 0.5
INPUT_PX = 416
"""The extra pixel is one of the letterboxed input, so boxes are brought to that size first."""


@dataclass(frozen=True, slots=True, eq=False)
class LenientScores:
    """The report's figures: `lenient_ap50` [C], or [C, R] with R resamples; nan without truths."""

    lenient_ap50: Floats

    def by_name(self) -> dict[str, Floats]:
        """The figures under the names they have in files and tables."""
        return {"lenient_ap50": self.lenient_ap50}


@dataclass(frozen=True, slots=True, eq=False)
class LenientMatches:
    """Every detection judged once by the report's rules.

    Attributes:
        names: [I] the images, in the order of every image axis.
        by_class: one curve per class.
    """

    names: tuple[str, ...]
    by_class: tuple[RankedHits, ...]

    @classmethod
    def of(cls, results: Sequence[ImageResult], min_objectness: float) -> LenientMatches:
        """Judge detections that were merged before (`merge_nms`), the strict protocol's are not.

        Raises:
            ValueError: an image has no `objectness`, or two images have the same name.
        """
        ordered = sorted_by_name(results)
        judged = [_judge(result, min_objectness) for result in ordered]
        labels = range(len(CLASS_NAMES))
        return cls(
            tuple(result.name for result in ordered),
            tuple(_rank(ordered, judged, label) for label in labels),
        )

    def scores(self, image_weights: Floats) -> LenientScores:
        """The figures with image i met `image_weights[i, r]` times: weights [I, R] -> [C, R]."""
        curves = [average_precision(ranked, image_weights) for ranked in self.by_class]
        return LenientScores(np.stack([curve.all_point for curve in curves]))


def lenient_iou_xyxy(
    a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating]
) -> NDArray[np.float64]:
    """IoU [N, M] of boxes [N, 4] and [M, 4] that count both end pixels: sides are right - left + 1.

    Small faces gain most: two of 10 px that are 3.5 px apart go from 0.48 to 0.52.
    """
    a, b = np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(bottom_right - top_left + 1, 0.0).prod(axis=2)
    area_a, area_b = ((box[:, 2:] - box[:, :2] + 1).prod(axis=1) for box in (a, b))
    union = area_a[:, None] + area_b[None, :] - shared
    overlap: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return overlap


def merge_nms(
    boxes_xyxy: NDArray[np.floating],
    objectness: NDArray[np.floating],
    class_scores: NDArray[np.floating],
    iou: float = 0.5,
    *,
    min_objectness: float = MAXIMA_MIN_OBJECTNESS,
) -> tuple[Detections, NDArray[np.float32]]:
    """Weighted suppression: a box swallows the weaker ones of its class that it overlaps.

    The strongest box left (objectness x best class score) becomes the mean, weighted by
    objectness, of itself and every box of the same class whose lenient IoU with it exceeds `iou`;
    it keeps its own label, score and objectness. Rows that are not finite are dropped.

    Args:
        boxes_xyxy: [N, 4] in pixels of the letterboxed input.
        objectness: [N] in 0..1.
        class_scores: [N, C] in 0..1, not yet multiplied by objectness.
        iou: overlap from which boxes are one face.
        min_objectness: weaker rows are dropped before, so they cannot pull at any box.

    Returns:
        The merged detections, best first, and their objectness [M].
    """
    keep = np.isfinite(np.column_stack([boxes_xyxy, objectness, class_scores])).all(axis=1)
    keep &= objectness >= min_objectness
    boxes, weights = boxes_xyxy[keep].astype(np.float64), objectness[keep].astype(np.float64)
    classes = class_scores[keep].astype(np.float64)
    labels, scores = classes.argmax(axis=1), weights * classes.max(axis=1)
    ranking = np.argsort(-scores, kind="stable")
    kept, merged = [], []
    for group in _groups(boxes[ranking], labels[ranking], iou):
        members = ranking[group]
        total = weights[members].sum()
        kept.append(members[0])
        mean = weights[members] @ boxes[members] / total if total > 0 else boxes[members[0]]
        merged.append(mean)
    order = np.array(kept, np.int64)
    two_best = np.sort(classes[order], axis=1)[:, ::-1][:, :2]
    margins = weights[order] * (two_best[:, 0] - two_best[:, 1])
    detections = Detections(
        np.array(merged, np.float32).reshape(-1, 4),
        scores[order].astype(np.float32),
        labels[order],
        margins.astype(np.float32),
    )
    return detections, weights[order].astype(np.float32)


def _groups(ranked_xyxy: Floats, labels: Ints, iou: float) -> Iterator[Ints]:
    """Ranks of each box not swallowed yet, itself first, and of those that it swallows.

    Uncalibrated weights leave 17,000 boxes an image here. Boxes of this overlap begin near each
    other: with sides a and b, shared > iou x a and shared > iou x b bound the distance of their
    left edges by (1 - iou) a to the right and, as b < a / iou, (1 - iou) a / iou to the left.
    """
    by_left = np.argsort(ranked_xyxy[:, 0], kind="stable")
    lefts = ranked_xyxy[by_left, 0]
    free = np.ones(len(ranked_xyxy), np.bool_)
    for best, box in enumerate(ranked_xyxy):
        if not free[best]:
            continue
        free[best] = False  # even when it is degenerate and does not overlap itself
        reach = (1 - iou) * max(box[2] - box[0] + 1, 0.0)
        first, last = np.searchsorted(lefts, [box[0] - reach / iou - 1, box[0] + reach + 1])
        near = by_left[first:last]
        near = near[free[near] & (labels[near] == labels[best])]
        near = near[lenient_iou_xyxy(box[None], ranked_xyxy[near])[0] > iou]
        free[near] = False
        yield np.concatenate([[best], np.sort(near)])


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    """One image's boxes above the threshold: [N] objectness, label, and whether each is right."""

    objectness: Floats
    labels: Ints
    right: Bools


def _judge(result: ImageResult, min_objectness: float) -> _Judged:
    """Let one image's boxes claim its faces in order of score, the way the report did."""
    if result.objectness is None:
        raise ValueError(
            f"{result.name}: the report's protocol ranks by objectness; "
            "give ImageResult.objectness, one value per detection"
        )
    order = np.argsort(-result.detections.scores, kind="stable")
    order = order[result.objectness[order] >= min_objectness]
    scale = INPUT_PX / max(result.size_hw)
    labels = result.detections.labels[order]
    ious = lenient_iou_xyxy(
        result.detections.boxes_xyxy[order] * scale, result.truth_boxes_xyxy * scale
    )
    right = np.zeros(len(order), np.bool_)
    if len(result.truth_labels):
        nearest, overlap = ious.argmax(axis=1), ious.max(axis=1)
        free = np.ones(len(result.truth_labels), np.bool_)
        occurs = np.isin(labels, result.truth_labels)
        for box in np.flatnonzero(occurs & (overlap >= MIN_IOU)):
            right[box] = free[nearest[box]]
            free[nearest[box]] = False
    return _Judged(result.objectness[order].astype(np.float64), labels, right)


def _rank(ordered: Sequence[ImageResult], judged: Sequence[_Judged], label: int) -> RankedHits:
    """One class's curve: the boxes of that label from all images, in order of objectness."""
    mine = [image.labels == label for image in judged]
    nothing = np.zeros(0)
    ranking = np.concatenate(
        [nothing, *(i.objectness[m] for i, m in zip(judged, mine, strict=True))]
    )
    right = np.concatenate(
        [nothing.astype(np.bool_), *(i.right[m] for i, m in zip(judged, mine, strict=True))]
    )
    images = np.repeat(np.arange(len(judged)), [int(m.sum()) for m in mine])
    truths = np.array([np.sum(r.truth_labels == label) for r in ordered], np.int64)
    order = np.argsort(-ranking, kind="stable")
    return RankedHits(right[order], ~right[order], images[order], ranking[order], truths)
