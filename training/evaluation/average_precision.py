"""Average precision: the area under one precision-recall curve, for one or many resamples at once.

Two ways to read the area, always named apart:
    all-point   the exact area under the precision envelope (Pascal VOC since 2010); the headline.
    101-point   the mean of the envelope at recall 0, 0.01, ..., 1 (COCO): what pycocotools prints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

RECALL_POINTS: Floats = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True, slots=True, eq=False)
class RankedHits:
    """The outcome of matching for one class and one rule, detections best first.

    Attributes:
        hits: [N] the detection took a truth that counts.
        misses: [N] the detection is a false positive; neither means that it is ignored.
        images: [N] index of the image it belongs to.
        scores: [N] what they are ranked by.
        truths: [I] truths that count, per image.
    """

    hits: Bools
    misses: Bools
    images: Ints
    scores: Floats
    truths: Ints


@dataclass(frozen=True, slots=True, eq=False)
class AveragePrecision:
    """Both readings of one curve, [R] each: one value per resample, nan where it has no truth."""

    all_point: Floats
    points_101: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """One curve to draw, a point after each of N counted detections, best first.

    Attributes:
        recall: [N] in 0..1, nan without truths.
        precision: [N] in 0..1.
        scores: [N] the score threshold that ends there.
        ap: all-point average precision, nan without truths.
    """

    recall: Floats
    precision: Floats
    scores: Floats
    ap: float


def average_precision(ranked: RankedHits, image_weights: Floats) -> AveragePrecision:
    """Area under the curve, both readings, with image i counted `image_weights[i, r]` times.

    Args:
        ranked: one curve over I images.
        image_weights: [I, R] whole numbers; a column of ones is the plain figure.
    """
    true_pos, false_pos = _counts_at_hits(ranked, image_weights)  # [K, R] each
    truths = ranked.truths @ image_weights  # [R]
    precision = true_pos / np.maximum(true_pos + false_pos, 1)
    recall = true_pos / np.maximum(truths, 1)
    # The envelope changes only where recall grows, which is at hits: nothing else need be kept.
    envelope = np.maximum.accumulate(precision[::-1], axis=0)[::-1]
    points_passed = np.searchsorted(RECALL_POINTS, recall, side="right")
    nothing = np.zeros((1, image_weights.shape[1]))
    all_point = (np.diff(recall, axis=0, prepend=nothing) * envelope).sum(axis=0)
    points_101 = (np.diff(points_passed, axis=0, prepend=nothing) * envelope).sum(axis=0)
    return AveragePrecision(
        np.where(truths > 0, all_point, np.nan),
        np.where(truths > 0, points_101 / len(RECALL_POINTS), np.nan),
    )


def precision_recall(ranked: RankedHits) -> PrecisionRecall:
    """One class's curve as it is, without envelope, over all images once."""
    counted = ranked.hits | ranked.misses
    true_pos = ranked.hits[counted].cumsum().astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall = true_pos / ranked.truths.sum()
    return PrecisionRecall(
        recall=recall,
        precision=true_pos / np.arange(1, len(true_pos) + 1),
        scores=ranked.scores[counted],
        ap=float(average_precision(ranked, np.ones((len(ranked.truths), 1))).all_point[0]),
    )


def mean_over_classes(per_class: Floats) -> Floats:
    """Mean over the first axis without its nans; nan only where every class is nan."""
    known = np.isfinite(per_class)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, per_class, 0.0).sum(axis=0) / known.sum(axis=0))


def _counts_at_hits(ranked: RankedHits, image_weights: Floats) -> tuple[Floats, Floats]:
    """True and false positives so far, each time a hit is met: [K, R] for K hits."""
    hit_at = np.flatnonzero(ranked.hits)
    miss_at = np.flatnonzero(ranked.misses)
    next_hit = np.searchsorted(hit_at, miss_at)
    seen = next_hit < len(hit_at)  # misses after the last hit lower no envelope
    images = len(image_weights)
    cells = next_hit[seen] * images + ranked.images[miss_at[seen]]
    misses = np.bincount(cells, minlength=len(hit_at) * images).reshape(len(hit_at), images)
    true_pos = image_weights[ranked.images[hit_at]].cumsum(axis=0)
    return true_pos, misses.cumsum(axis=0).astype(np.float64) @ image_weights
