"""FaceMatches: every labelled face with what a detector says of it, and all else it found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.boxes import pairwise_iou_xyxy
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.nms import suppress
from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.metrics import MATCH_IOU

NOTHING = -1
_LOWEST_SCORE = 0.01


@dataclass(frozen=True, slots=True)
class FaceMatches:
    """Faces and detections of several images, as parallel arrays.

    Attributes:
        images: [N] which image.
        truth: [N] class of the face, `NOTHING` where there is none.
        label: [N] class it was taken for, `NOTHING` where it was missed.
        scores: [N] 0 where it was missed.
        margins: [N] the same.
        objectness: [N] the same.
        class_scores: [N, C] the same.
        sizes: [N] longer side in parts of the input square; of the face, where there is one.
        sides_px: [N] root of the detection's area, in pixels of the square; 0 where it was missed.
    """

    images: NDArray[np.int64]
    truth: NDArray[np.int64]
    label: NDArray[np.int64]
    scores: NDArray[np.float64]
    margins: NDArray[np.float64]
    objectness: NDArray[np.float64]
    class_scores: NDArray[np.float64]
    sizes: NDArray[np.float64]
    sides_px: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        predictions: Iterable[NDArray[np.float32]],
        input_size: int,
        min_iou: float = MATCH_IOU,
    ) -> FaceMatches:
        """Pair faces and detections, the best detection first, whatever its class.

        Args:
            samples: labelled images.
            predictions: [N, 5 + C] of each, in pixels of the square.
            input_size: its side.
            min_iou: overlap from which on they are a pair.
        """
        rows = [
            row
            for index, (sample, found) in enumerate(zip(samples, predictions, strict=True))
            for row in _seen(index, sample, found, input_size, min_iou)
        ]
        table = np.array(rows, np.float64).reshape(len(rows), 8 + len(CLASS_NAMES))
        images, truth, label = table[:, :3].astype(np.int64).T
        scores, margins, objectness, sizes, sides_px = table[:, 3:8].T
        classes = table[:, 8:]
        return cls(images, truth, label, scores, margins, objectness, classes, sizes, sides_px)

    @classmethod
    def joined(cls, parts: Sequence[FaceMatches]) -> FaceMatches:
        """All rows of several; their images are counted on, so that none of two is the same."""
        if not parts:
            return cls.of([], [], 1)
        columns = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in cls.__dataclass_fields__
        }
        ends = np.cumsum([part.images.max(initial=-1) + 1 for part in parts])
        columns["images"] += np.repeat([0, *ends[:-1]], [len(part.images) for part in parts])
        return cls(**columns)

    def __getitem__(self, mask: NDArray[np.bool_]) -> FaceMatches:
        """Those a boolean mask chooses."""
        return FaceMatches(*(getattr(self, name)[mask] for name in self.__dataclass_fields__))

    def beside(self, others: FaceMatches) -> FaceMatches:
        """These and others of the same images."""
        names = self.__dataclass_fields__
        return FaceMatches(*(np.concatenate([getattr(self, n), getattr(others, n)]) for n in names))

    def with_scores(self, rows: NDArray[np.float64]) -> FaceMatches:
        """The same matches with other probabilities, as after a calibration.

        Args:
            rows: [N, 1 + C] objectness and classes; those of missed faces do not count.
        """
        scores = rows[:, :1] * rows[:, 1:] * self.was_seen[:, None]
        ranked = np.sort(scores, axis=1)
        return replace(
            self,
            scores=ranked[:, -1],
            margins=ranked[:, -1] - ranked[:, -2],
            objectness=rows[:, 0] * self.was_seen,
            class_scores=rows[:, 1:] * self.was_seen[:, None],
        )

    @property
    def is_face(self) -> NDArray[np.bool_]:
        """[N] whether there is a face."""
        return np.asarray(self.truth != NOTHING)

    @property
    def was_seen(self) -> NDArray[np.bool_]:
        """[N] whether anything was detected."""
        return np.asarray(self.label != NOTHING)


def _seen(
    index: int,
    sample: Sample,
    predictions: NDArray[np.float32],
    input_size: int,
    min_iou: float,
) -> list[tuple[float, ...]]:
    """One row for each face and each other detection of an image, in the order of `FaceMatches`."""
    found = suppress(predictions, _LOWEST_SCORE)
    # A detection keeps the very numbers of its box, by which its row is known.
    row_of = {row[:4].tobytes(): row for row in predictions}
    boxes = Letterbox(sample.size_hw, input_size).inverse_boxes(found.boxes_xyxy)
    longest = max(sample.size_hw)
    face_sizes = (sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]).max(1, initial=0) / longest
    sizes = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0) / longest
    free = np.ones(len(sample.labels), np.bool_)
    ious = pairwise_iou_xyxy(boxes.astype(np.float64), sample.boxes_xyxy.astype(np.float64))
    rows = []
    for at in range(len(found)):
        row = row_of[found.boxes_xyxy[at].tobytes()]
        overlaps = np.where(free, ious[at], 0.0)
        face = int(overlaps.argmax()) if overlaps.max(initial=0.0) >= min_iou else NOTHING
        truth, size = NOTHING, float(sizes[at])
        if face != NOTHING:
            free[face] = False
            truth, size = int(sample.labels[face]), float(face_sizes[face])
        said = int(found.labels[at]), float(found.scores[at]), float(found.margins[at])
        side_px = float(np.sqrt(np.prod(row[2:4] - row[:2])))
        rows.append((index, truth, *said, float(row[4]), size, side_px, *row[5:].tolist()))
    for face in np.flatnonzero(free).tolist():
        about = index, int(sample.labels[face]), NOTHING
        rows.append((*about, 0.0, 0.0, 0.0, float(face_sizes[face]), 0.0, 0.0, 0.0, 0.0))
    return rows
