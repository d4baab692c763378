"""The strict protocol: class-aware average precision, matched by score as pycocotools does.

A detection of class c takes the free truth of class c that it overlaps most, if IoU >= threshold
(no pixel added to any side); every other detection is a false positive. Detections go in order of
score, equal scores in order of image name and then of position, as in pycocotools.

A class without a single truth has no AP: its figure is nan, and means over classes leave it out.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.boxes import area_xyxy, pairwise_iou_xyxy
from mask_gate.models.detections import Detections
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.average_precision import (
    Bools,
    Floats,
    Ints,
    RankedHits,
    average_precision,
    mean_over_classes,
)

MATCH_IOU = 0.5
IOU_THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
MAX_DETECTIONS_PER_IMAGE = 300

SIZE_BINS: tuple[str, ...] = ("under_16", "16_to_32", "over_32")
SIZE_BIN_INPUT_PX = 416
"""Sizes are told at this letterboxed input, whatever the model's own: the bins stay the same."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageResult:
    """What is true of one image and what the detector said about it, in the image's own pixels.

    Attributes:
        name: the image file's stem; unique within one evaluation.
        truth_boxes_xyxy: [G, 4] faces as annotated.
        truth_labels: [G] their indices of `MaskLabel`.
        detections: N faces as detected, in any order.
        size_hw: height and width of the image.
        objectness: [N] in 0..1, needed by the report's protocol only.

    Raises:
        ValueError: shapes disagree, a label is no class, or a number is not finite.
    """

    name: str
    truth_boxes_xyxy: NDArray[np.floating]
    truth_labels: NDArray[np.integer]
    detections: Detections
    size_hw: tuple[int, int]
    objectness: NDArray[np.floating] | None = None

    def __post_init__(self) -> None:
        truths, found = len(self.truth_labels), len(self.detections)
        if self.truth_boxes_xyxy.shape != (truths, 4):
            raise ValueError(
                f"{self.name}: truth_boxes_xyxy: expected shape ({truths}, 4) to match "
                f"truth_labels, got {self.truth_boxes_xyxy.shape}"
            )
        if self.objectness is not None and self.objectness.shape != (found,):
            raise ValueError(
                f"{self.name}: objectness: expected shape ({found},) to match detections, "
                f"got {self.objectness.shape}"
            )
        for labels in (self.truth_labels, self.detections.labels):
            if np.any((labels < 0) | (labels >= len(CLASS_NAMES))):
                raise ValueError(f"{self.name}: expected labels in 0..{len(CLASS_NAMES) - 1}")
        numbers = [self.truth_boxes_xyxy, self.detections.boxes_xyxy, self.detections.scores]
        if self.objectness is not None:
            numbers.append(self.objectness)
        if not all(np.isfinite(array).all() for array in numbers):
            raise ValueError(
                f"{self.name}: a box or score is not finite; drop such rows before evaluating"
            )

    def strongest(self, limit: int) -> ImageResult:
        """The same image with its `limit` best scored detections, best first, ties as they came."""
        order = np.argsort(-self.detections.scores, kind="stable")[:limit]
        return ImageResult(
            self.name,
            self.truth_boxes_xyxy,
            self.truth_labels,
            self.detections[order],
            self.size_hw,
            None if self.objectness is None else self.objectness[order],
        )


@dataclass(frozen=True, slots=True, eq=False)
class StrictScores:
    """All strict figures; AP is all-point unless the name says otherwise.

    Shapes are those of one evaluation; a bootstrap has one more axis at the end, its resamples.

    Attributes:
        ap50: [C] at IoU 0.5.
        ap50_101_point: [C] at IoU 0.5, equal to pycocotools.
        ap50_95: [C] mean over IoU 0.50, 0.55, ..., 0.95.
        ap50_95_101_point: [C] the same, equal to pycocotools.
        ap50_by_size: [B, C] at IoU 0.5, for faces in each of `SIZE_BINS` alone.
    """

    ap50: Floats
    ap50_101_point: Floats
    ap50_95: Floats
    ap50_95_101_point: Floats
    ap50_by_size: Floats

    @property
    def map50(self) -> Floats:
        """Mean of `ap50` over the classes that have truths."""
        return mean_over_classes(self.ap50)

    @property
    def map50_95(self) -> Floats:
        """Mean of `ap50_95` over the classes that have truths."""
        return mean_over_classes(self.ap50_95)

    def by_name(self) -> dict[str, Floats]:
        """The figures, one value per class, under the names they have in files and tables."""
        by_size = zip(SIZE_BINS, self.ap50_by_size, strict=True)
        return {
            "ap50": self.ap50,
            **{f"ap50_{bin_name}": ap50 for bin_name, ap50 in by_size},
            "ap50_95": self.ap50_95,
            "ap50_101_point": self.ap50_101_point,
            "ap50_95_101_point": self.ap50_95_101_point,
        }


@dataclass(frozen=True, slots=True, eq=False)
class StrictReport:
    """The strict figures and what they were counted on.

    Attributes:
        scores: the figures.
        images: how many images.
        truths: [C] faces per class.
        truths_by_size: [B, C] faces per size bin and class.
        detections: [C] detections per class, at most `MAX_DETECTIONS_PER_IMAGE` an image in all.
    """

    scores: StrictScores
    images: int
    truths: Ints
    truths_by_size: Ints
    detections: Ints

    @property
    def map50(self) -> float:
        """The headline, by which epochs are compared: nan without any truths."""
        return float(self.scores.map50)


def evaluate_strict(results: Sequence[ImageResult]) -> StrictReport:
    """All strict figures of a set of images; an empty set gives nan everywhere.

    Raises:
        ValueError: two images have the same name.
    """
    matches = StrictMatches.of(results)
    scores = matches.scores(np.ones((len(matches.names), 1)))
    return StrictReport(
        scores=StrictScores(
            scores.ap50[:, 0],
            scores.ap50_101_point[:, 0],
            scores.ap50_95[:, 0],
            scores.ap50_95_101_point[:, 0],
            scores.ap50_by_size[:, :, 0],
        ),
        images=len(matches.names),
        truths=matches.truths,
        truths_by_size=matches.truths_by_size,
        detections=matches.detections,
    )


@dataclass(frozen=True, slots=True, eq=False)
class StrictMatches:
    """Every detection matched once under every rule, so that figures and resamples cost little.

    Attributes:
        names: [I] the images, in the order of every image axis.
        by_iou: per class, per IoU of `IOU_THRESHOLDS`, faces of all sizes.
        by_size: per class, per bin of `SIZE_BINS`, at `MATCH_IOU`. As with COCO's area ranges, a
            truth of another size neither counts nor punishes the detection that takes it, and a
            detection that takes nothing is a miss only in the bin of its own size.
    """

    names: tuple[str, ...]
    by_iou: tuple[tuple[RankedHits, ...], ...]
    by_size: tuple[tuple[RankedHits, ...], ...]

    @classmethod
    def of(cls, results: Sequence[ImageResult]) -> StrictMatches:
        """Match all images; their order in `results` changes nothing.

        Raises:
            ValueError: two images have the same name.
        """
        ordered = [r.strongest(MAX_DETECTIONS_PER_IMAGE) for r in sorted_by_name(results)]
        ranked = [_rank_class(ordered, label) for label in range(len(CLASS_NAMES))]
        split = len(IOU_THRESHOLDS)
        return cls(
            tuple(result.name for result in ordered),
            tuple(curves[:split] for curves in ranked),
            tuple(curves[split:] for curves in ranked),
        )

    @property
    def truths(self) -> Ints:
        """[C] faces per class."""
        return np.array([curves[0].truths.sum() for curves in self.by_iou], np.int64)

    @property
    def truths_by_size(self) -> Ints:
        """[B, C] faces per size bin and class."""
        counts = [[hits.truths.sum() for hits in curves] for curves in self.by_size]
        return np.array(counts, np.int64).T

    @property
    def detections(self) -> Ints:
        """[C] detections per class."""
        return np.array([len(curves[0].scores) for curves in self.by_iou], np.int64)

    def scores(self, image_weights: Floats) -> StrictScores:
        """All figures with image i met `image_weights[i, r]` times: weights [I, R] -> [..., R]."""
        by_iou = [[average_precision(hits, image_weights) for hits in row] for row in self.by_iou]
        by_size = [[average_precision(hits, image_weights) for hits in row] for row in self.by_size]
        return StrictScores(
            ap50=np.stack([row[0].all_point for row in by_iou]),
            ap50_101_point=np.stack([row[0].points_101 for row in by_iou]),
            ap50_95=np.stack([np.mean([ap.all_point for ap in row], axis=0) for row in by_iou]),
            ap50_95_101_point=np.stack(
                [np.mean([ap.points_101 for ap in row], axis=0) for row in by_iou]
            ),
            ap50_by_size=np.stack([[ap.all_point for ap in row] for row in by_size], axis=1),
        )


def sorted_by_name(results: Sequence[ImageResult]) -> list[ImageResult]:
    """The images in the one order in which they are always evaluated.

    Raises:
        ValueError: two images have the same name.
    """
    ordered = sorted(results, key=lambda result: result.name)
    for one, other in itertools.pairwise(ordered):
        if one.name == other.name:
            raise ValueError(f"expected each image once, got {one.name!r} twice")
    return ordered


def face_sizes_px(boxes_xyxy: NDArray[np.floating], size_hw: tuple[int, int]) -> Floats:
    """[N, 4] boxes in image pixels -> [N] square root of the area after letterboxing to 416."""
    scale = SIZE_BIN_INPUT_PX / max(size_hw)
    return np.sqrt(area_xyxy(boxes_xyxy)) * scale


def size_bins(boxes_xyxy: NDArray[np.floating], size_hw: tuple[int, int]) -> Ints:
    """[N, 4] boxes in image pixels -> [N] indices of `SIZE_BINS`; 16 and 32 px are the middle's."""
    sizes = face_sizes_px(boxes_xyxy, size_hw)
    return (sizes >= 16).astype(np.int64) + (sizes > 32)


def _rank_class(ordered: Sequence[ImageResult], label: int) -> tuple[RankedHits, ...]:
    """One class over all images: a curve per IoU threshold, then one per size bin."""
    rules = len(IOU_THRESHOLDS) + len(SIZE_BINS)
    hits: list[Bools] = [np.zeros((rules, 0), np.bool_)]
    misses: list[Bools] = [np.zeros((rules, 0), np.bool_)]
    scores: list[NDArray[np.floating]] = [np.zeros(0)]
    truths = np.zeros((rules, len(ordered)), np.int64)
    for image, result in enumerate(ordered):
        mine = result.detections[result.detections.labels == label]
        boxes = result.truth_boxes_xyxy[result.truth_labels == label]
        counted = _counted(boxes, result.size_hw)
        taken = _greedy(pairwise_iou_xyxy(mine.boxes_xyxy, boxes), counted)
        found = taken >= 0
        hit = found & np.take_along_axis(counted, np.maximum(taken, 0), 1) if len(boxes) else found
        hits.append(hit)
        misses.append(~found & _counted(mine.boxes_xyxy, result.size_hw))
        scores.append(mine.scores)
        truths[:, image] = counted.sum(axis=1)
    images = np.repeat(np.arange(len(ordered)), [len(s) for s in scores[1:]])
    ranking = np.concatenate(scores).astype(np.float64)
    order = np.argsort(-ranking, kind="stable")
    hit_all, miss_all = np.hstack(hits)[:, order], np.hstack(misses)[:, order]
    return tuple(
        RankedHits(hit_all[rule], miss_all[rule], images[order], ranking[order], truths[rule])
        for rule in range(rules)
    )


def _counted(boxes_xyxy: NDArray[np.floating], size_hw: tuple[int, int]) -> Bools:
    """[rules, N] whether a box of its size counts: under every IoU, and in its own size bin."""
    in_bin = size_bins(boxes_xyxy, size_hw) == np.arange(len(SIZE_BINS))[:, None]
    return np.vstack([np.ones((len(IOU_THRESHOLDS), len(boxes_xyxy)), np.bool_), in_bin])


def _greedy(ious: Floats, counted: Bools) -> Ints:
    """Which truth each detection takes under each rule: [rules, N], -1 for none.

    Args:
        ious: [N, G] of the detections, best first, with the truths of their class.
        counted: [rules, G] truths that count; one that does not is taken only for want of another.
    """
    thresholds = np.array(IOU_THRESHOLDS + (MATCH_IOU,) * len(SIZE_BINS))[:, None]
    rules = np.arange(len(thresholds))
    taken = np.full((len(thresholds), len(ious)), -1, np.int64)
    free = np.ones(counted.shape, np.bool_)
    for found in np.flatnonzero((ious >= MATCH_IOU).any(axis=1)):
        near = np.flatnonzero(ious[found] >= MATCH_IOU)[::-1]  # so that the last of equals wins
        fits = free[:, near] & (ious[found, near] >= thresholds)
        best = fits & counted[:, near]
        best = np.where(best.any(axis=1, keepdims=True), best, fits)
        choice = near[np.where(best, ious[found, near], -1.0).argmax(axis=1)]
        matched = rules[best.any(axis=1)]
        taken[matched, found] = choice[matched]
        free[matched, choice[matched]] = False
    return taken
