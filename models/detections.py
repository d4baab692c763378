"""Detections: what the detector says about one image, as parallel arrays that cannot disagree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import MaskLabel

Index = slice | NDArray[np.bool_] | NDArray[np.integer]


class DetectionsError(ValueError):
    """A sound detector cannot have given these numbers, so that none of them counts."""


class TooManyFacesError(DetectionsError):
    """Each number is possible, yet there are more faces than the caller allows."""


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """Faces found in one image; arrays are read by position, row i of each is face i.

    Attributes:
        boxes_xyxy: [N, 4] float32, corners in pixels of the image they were asked for.
        scores: [N] float32 in 0..1, objectness times the probability of `labels`.
        labels: [N] int64, indices of `models.labels.MaskLabel`.
        margins: [N] float32 in 0..1, how far the label's score is ahead of the next class's.

    Raises:
        ValueError: an array has another shape than the ones above.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    margins: NDArray[np.float32]

    def __post_init__(self) -> None:
        if self.boxes_xyxy.ndim != 2 or self.boxes_xyxy.shape[1] != 4:
            raise ValueError(f"boxes_xyxy: expected shape (N, 4), got {self.boxes_xyxy.shape}")
        count = len(self.boxes_xyxy)
        for name in ("scores", "labels", "margins"):
            shape = getattr(self, name).shape
            if shape != (count,):
                raise ValueError(
                    f"{name}: expected shape ({count},) to match boxes_xyxy, got {shape}"
                )

    @classmethod
    def empty(cls) -> Detections:
        """No faces at all: the ordinary case of an empty entrance."""
        nothing = np.zeros(0, np.float32)
        return cls(np.zeros((0, 4), np.float32), nothing, np.zeros(0, np.int64), nothing)

    def check(self, size_hw: tuple[int, int] | None, max_faces: int) -> None:
        """Let only numbers pass that a sound detector can give.

        Args:
            size_hw: height and width in pixels of the image; None where the caller does not know.
            max_faces: more than these are too many.

        Raises:
            TooManyFacesError: that is all that is wrong.
            DetectionsError: a number is impossible.
        """
        boxes = self.boxes_xyxy
        if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
            raise DetectionsError(
                "the model gave a box without area or with corners that are not finite"
            )
        if size_hw is not None:
            height, width = size_hw
            if not ((boxes >= 0).all() and (boxes <= [width, height, width, height]).all()):
                raise DetectionsError(
                    f"the model gave a box outside of a picture of {width} x {height}"
                )
        for name, values in (("score", self.scores), ("margin", self.margins)):
            if not ((values >= 0.0) & (values <= 1.0)).all():  # NaN fails both
                raise DetectionsError(f"the model gave a {name} outside 0..1")
        if not ((self.labels >= 0) & (self.labels < len(MaskLabel))).all():
            raise DetectionsError(f"the model gave a class outside 0..{len(MaskLabel) - 1}")
        if len(self) > max_faces:
            raise TooManyFacesError(
                f"the model gave {len(self)} faces, expected at most {max_faces}"
            )

    def __len__(self) -> int:
        return len(self.boxes_xyxy)

    def __getitem__(self, index: Index) -> Detections:
        """The rows chosen by a slice, a boolean mask or integer positions (not a single int)."""
        return Detections(
            self.boxes_xyxy[index], self.scores[index], self.labels[index], self.margins[index]
        )
