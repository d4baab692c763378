"""Labelled images: `Sample` with its pixels in memory, `AnnotatedImage` with them still on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES


def _check_faces(boxes_xyxy: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
    if boxes_xyxy.ndim != 2 or boxes_xyxy.shape[1] != 4:
        raise ValueError(f"boxes_xyxy: expected shape (N, 4), got {boxes_xyxy.shape}")
    if labels.shape != (len(boxes_xyxy),):
        raise ValueError(
            f"labels: expected shape ({len(boxes_xyxy)},) to match boxes_xyxy, got {labels.shape}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One image with its faces; row i of `boxes_xyxy` and `labels` is face i.

    Attributes:
        image: [H, W, 3] uint8, BGR.
        boxes_xyxy: [N, 4] float32, corners in pixels of `image`.
        labels: [N] int64, indices of `models.labels.MaskLabel`.
        name: what messages call this image.
        unknown: [N, C] bool, whether the label says nothing of a class: then nobody knows whether
            the face is of that class. None where it tells all classes apart.

    Raises:
        ValueError: an array has another shape or type than the ones above.
    """

    image: NDArray[np.uint8]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    name: str
    unknown: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            got = f"{self.image.shape} of {self.image.dtype}"
            raise ValueError(f"image: expected shape (H, W, 3) of uint8, got {got}")
        _check_faces(self.boxes_xyxy, self.labels)
        if self.unknown is not None and self.unknown.shape != (len(self.labels), len(CLASS_NAMES)):
            wanted = (len(self.labels), len(CLASS_NAMES))
            raise ValueError(f"unknown: expected shape {wanted}, got {self.unknown.shape}")

    @property
    def unknown_of_each(self) -> NDArray[np.bool_]:
        """[N, C] as `unknown`, also where that is None."""
        if self.unknown is None:
            return np.zeros((len(self.labels), len(CLASS_NAMES)), np.bool_)
        return self.unknown

    def without_knowing(self, classes: NDArray[np.bool_]) -> Sample:
        """The same, its labels saying nothing of these classes either.

        Args:
            classes: [C] of which they say nothing.
        """
        if not classes.any():
            return self
        return replace(self, unknown=self.unknown_of_each | classes)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.image.shape[0], self.image.shape[1]


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedImage:
    """One image of a data set as its annotation describes it; the pixels are read on demand.

    Attributes:
        image_path: where the image lies; inside an archive, the archive and then the name in it.
        annotation_path: the file its boxes come from.
        size_wh: width and height in pixels, upright (after the EXIF orientation).
        boxes_xyxy: [N, 4] float32, corners in pixels.
        labels: [N] int64, indices of `models.labels.MaskLabel`.
        stem: the image's name without folder and extension; unique in its data set.

    Raises:
        ValueError: an array has another shape than the ones above.
    """

    image_path: Path
    annotation_path: Path
    size_wh: tuple[int, int]
    boxes_xyxy: NDArray[np.float32]
    labels: NDArray[np.int64]
    stem: str

    def __post_init__(self) -> None:
        _check_faces(self.boxes_xyxy, self.labels)
