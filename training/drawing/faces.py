"""Faces: the bare faces of a folder of pictures, of a data set or of labelled pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.image_file import IMAGE_SUFFIXES
from mask_gate.training.data.labels_json import LABELS_FILE
from mask_gate.training.data.open_images import images_of, open_images
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.errors import DataError, Problem

LEAST_PX = 48  # shorter side of a face's box that landmarks can be found in
LABELLED = (LABELS_FILE, "annotations", "labels")


@dataclass(frozen=True, slots=True, eq=False)
class BareFace:
    """A face without a mask in a picture.

    Attributes:
        person: a name for the face that no other one has.
        read: the bytes of the picture.
        box_xyxy: [4] where it is, in pixels; None in a portrait without labels.
        others_xyxy: [N, 4] the other faces of the picture.
        other_labels: [N] class indices of them.
    """

    person: str
    read: Callable[[], bytes]
    box_xyxy: NDArray[np.float64] | None
    others_xyxy: NDArray[np.float64]
    other_labels: tuple[int, ...]


def bare_faces(path: Path, lists: Path | None = None, split: str = "train") -> list[BareFace]:
    """The faces that may be drawn on, in the order of their pictures.

    Args:
        path: a data set, an archive of one, or a folder with `labels.json`, of which the faces
            labelled `without_mask` are taken; or a folder of portraits, one bare face each.
        lists: folder with the split lists, where they are not in the data set.
        split: of a data set; others are left alone, for figures are measured on them.

    Raises:
        DataError: no picture, or with every problem of the labels.
    """
    if path.is_dir() and not any((path / name).exists() for name in LABELLED):
        return _portraits(path)
    source = open_images(path, lists)
    origin = path.name
    return [
        face
        for image in images_of(source, split)
        for face in _labelled(image, origin, partial(source.read_image, image))
    ]


def _portraits(folder: Path) -> list[BareFace]:
    paths = [p for p in sorted(folder.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    if not paths:
        raise DataError(Problem(str(folder), "no picture in it", "give a folder of pictures"))
    nobody = np.zeros((0, 4))
    return [
        BareFace(_name(folder.name, str(p.relative_to(folder))), p.read_bytes, None, nobody, ())
        for p in paths
    ]


def _labelled(image: AnnotatedImage, origin: str, read: Callable[[], bytes]) -> list[BareFace]:
    boxes, labels = image.boxes_xyxy.astype(np.float64), image.labels
    sides = (boxes[:, 2:] - boxes[:, :2]).min(1, initial=np.inf)
    faces = []
    for k in np.flatnonzero((labels == MaskLabel.WITHOUT_MASK) & (sides >= LEAST_PX)):
        rest = np.arange(len(boxes)) != k
        others = tuple(int(label) for label in labels[rest])
        person = f"{_name(origin, image.stem)}#{k}"
        faces.append(BareFace(person, read, boxes[k], boxes[rest], others))
    return faces


def _name(origin: str, stem: str) -> str:
    path = Path(stem)
    path = path.with_suffix("") if path.suffix.lower() in IMAGE_SUFFIXES else path
    return f"{origin}/{path.as_posix()}"
