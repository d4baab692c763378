"""Faces: what a detector found in one picture, to be counted, drawn and handed to other tools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.display.overlay import draw_detections
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.domain import Image
from mask_gate.models.detections import Detections
from mask_gate.models.labels import CLASS_NAMES, MaskLabel


@dataclass(frozen=True, slots=True)
class Face:
    """One face.

    Attributes:
        box_xyxy: left, top, right and bottom in pixels of the picture.
        label: how it wears its mask.
        score: 0 to 1, how sure the detector is of both.
    """

    box_xyxy: tuple[float, float, float, float]
    label: MaskLabel
    score: float

    @property
    def name(self) -> str:
        """The name of the class, as in every file: `with_mask` and its like."""
        return CLASS_NAMES[self.label]


class Faces:
    """The faces of one picture, the surest first; a sequence of `Face`.

    Args:
        image: [H, W, 3] uint8 BGR.
        detections: in pixels of `image`.

    Attributes:
        image: as given.
    """

    def __init__(self, image: Image, detections: Detections) -> None:
        self.image = image
        self._detections = detections

    @property
    def boxes(self) -> NDArray[np.float32]:
        """[N, 4] left, top, right and bottom in pixels."""
        return self._detections.boxes_xyxy

    @property
    def labels(self) -> tuple[str, ...]:
        """N names of classes: `with_mask`, `without_mask` or `mask_weared_incorrect`."""
        return tuple(CLASS_NAMES[label] for label in self._detections.labels.tolist())

    @property
    def scores(self) -> NDArray[np.float32]:
        """[N] from 0 to 1."""
        return self._detections.scores

    def __len__(self) -> int:
        return len(self._detections)

    def __getitem__(self, index: int) -> Face:
        """The face at a position; negative positions count from the end."""
        found = self._detections
        x1, y1, x2, y2 = found.boxes_xyxy[index].tolist()
        label, score = MaskLabel(int(found.labels[index])), float(found.scores[index])
        return Face((x1, y1, x2, y2), label, score)

    def __iter__(self) -> Iterator[Face]:
        return (self[index] for index in range(len(self)))

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        shown = ", ".join(f"{face.name} {face.score:.2f}" for face in self)
        return f"<Faces in {width} x {height}: {shown or 'none'}>"

    def draw(self, language: str = "en") -> Image:
        """A copy of the picture with a box, a name and a score for each face, BGR."""
        return draw_detections(self.image, self._detections, load_texts(language))

    def crops(self) -> list[Image]:
        """What of the picture lies in each box, in the order of the faces."""
        height, width = self.image.shape[:2]
        low = np.floor(self.boxes[:, :2]).astype(int)
        high = np.ceil(self.boxes[:, 2:]).astype(int)
        corners = np.hstack([low, high]).clip(0, [width, height, width, height])
        return [self.image[y1:y2, x1:x2] for x1, y1, x2, y2 in corners.tolist()]

    def to_coco(self, image_id: int | str = 0) -> list[dict[str, Any]]:
        """COCO results, an entry a face: `bbox` is left, top, width and height in pixels.

        Args:
            image_id: what the picture is called in them.
        """
        entries = []
        for face in self:
            x1, y1, x2, y2 = face.box_xyxy
            entries.append(
                {
                    "image_id": image_id,
                    "category_id": int(face.label),
                    "bbox": [round(side, 2) for side in (x1, y1, x2 - x1, y2 - y1)],
                    "score": round(face.score, 5),
                }
            )
        return entries

    def to_yolo(self, *, with_scores: bool = False) -> str:
        """YOLO text, a line a face: class, centre and size as shares of the picture's sides."""
        height, width = self.image.shape[:2]
        lines = []
        for face in self:
            x1, y1, x2, y2 = face.box_xyxy
            shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width
            columns = [*shares, (y2 - y1) / height, *([face.score] if with_scores else [])]
            lines.append(" ".join([str(int(face.label)), *(f"{c:.6f}" for c in columns)]) + "\n")
        return "".join(lines)

    def to_plain(self) -> list[dict[str, Any]]:
        """What a line of JSON says of the faces: `label`, `score`, and `box` as in `Face`."""
        return [
            {
                "label": face.name,
                "score": round(face.score, 4),
                "box": [round(side, 1) for side in face.box_xyxy],
            }
            for face in self
        ]
