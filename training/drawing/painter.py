"""Painter: from one bare face to pictures of it in several variants."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.image_file import decode_image
from mask_gate.training.drawing.blend import Layer, Picture
from mask_gate.training.drawing.camera import Shot, shoot, turned
from mask_gate.training.drawing.chest import MaskChest
from mask_gate.training.drawing.head import CHIN, Head
from mask_gate.training.drawing.landmarks import Landmarker, Points
from mask_gate.training.drawing.masks import wear
from mask_gate.training.drawing.negatives import NEGATIVES, draw_negative
from mask_gate.training.drawing.textures import Random
from mask_gate.training.drawing.wear import WAYS

BARE = "bare"
SHARES: dict[str, float] = (
    {BARE: 0.04}
    | {name: way.share for name, way in WAYS.items()}
    | {name: negative.share for name, negative in NEGATIVES.items()}
)
"""Every variant, and how often it is drawn against the others."""

SURE = 0.92  # of the landmarker: below it the points are guesses
FACE_PX = 190  # height at which a face is drawn on
ENLARGED, REDUCED = 2.0, 0.4
WORN_MARGIN, MARGIN = 0.45, 0.9  # around the face, in its heights, where something may be drawn
TURNED_SHARE = 0.75
TRIALS = 4
LEAST_FACE_PX = 30  # height of the points
LEAST_OTHER_PX = 4


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """One face to draw on; the attributes are those of `BareFace`, and `data` is its picture."""

    person: str
    data: bytes
    box_xyxy: NDArray[np.float64] | None
    others_xyxy: NDArray[np.float64]
    other_labels: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """One picture with its labels; the face that was drawn on comes first."""

    picture: Picture
    boxes_xyxy: NDArray[np.float64]
    labels: tuple[int, ...]
    variant: str
    template: str
    light: str
    yaw_deg: float


def label_of(variant: str) -> MaskLabel:
    """What a detector should say of a face in this variant."""
    return WAYS[variant].label if variant in WAYS else MaskLabel.WITHOUT_MASK


class Painter:
    """Draws on faces; everything by chance depends on the seed and the person alone."""

    def __init__(
        self,
        landmarker: Landmarker,
        chest: MaskChest,
        shares: Mapping[str, float],
        each: float,
        seed: int,
    ) -> None:
        """Keep the tools.

        Args:
            landmarker: finds the points of a face.
            chest: the masks.
            shares: how often each variant is drawn.
            each: pictures of each face, on average.
            seed: of everything drawn by chance.
        """
        self._landmarker = landmarker
        self._chest = chest
        self._variants = list(shares)
        self._odds = np.array(list(shares.values())) / sum(shares.values())
        self._each = each
        self._seed = seed

    def draw(self, task: Task) -> list[Drawn]:
        """The pictures of one face; none where its points cannot be told.

        Raises:
            DataError: `data` is no picture.
        """
        rng = np.random.default_rng([self._seed, zlib.crc32(task.person.encode())])
        count = min(int(self._each + rng.random()), len(self._variants))
        chosen = rng.choice(len(self._variants), count, replace=False, p=self._odds)
        picture = decode_image(task.data, task.person)
        points = self._points(picture, task.box_xyxy) if count else None
        if points is None:
            return []
        scale = float(np.clip(FACE_PX / np.ptp(points[:, 1]), REDUCED, ENLARGED))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how))
        task = replace(task, others_xyxy=task.others_xyxy * scale)
        drawn = [
            self._variant(picture, points * np.float32(scale), task, self._variants[i], rng)
            for i in chosen
        ]
        return [one for one in drawn if one is not None]

    def _points(self, picture: Picture, box: NDArray[np.float64] | None) -> Points | None:
        """Where the face is; None where it is not sure, or cut off by the edge of the picture."""
        if box is None:
            boxes = self._landmarker.boxes(picture)
            if len(boxes) != 1:
                return None
            box = boxes[0]
        points, score = self._landmarker.points(picture, box)
        height, width = picture.shape[:2]
        low, high = points[:, 0].min(), points[:, 0].max()
        is_inside = points[CHIN, 1] < height and low > -0.06 * width and high < 1.06 * width
        is_large = np.ptp(points[:, 1]) > LEAST_FACE_PX
        return points if score > SURE and is_inside and is_large else None

    def _variant(
        self, picture: Picture, points: Points, task: Task, variant: str, rng: Random
    ) -> Drawn | None:
        """Try a few times until enough of the mask is in sight for the label to be true."""
        least = WAYS[variant].least_shown if variant in WAYS else 0.0
        for _ in range(TRIALS):
            out, cover, template = self._painted(picture, points, variant, rng)
            moved = points
            if rng.random() < TURNED_SHARE:
                out, cover, moved = turned(out, cover, points, rng)
            shot = shoot(out, moved, cover, task.others_xyxy, rng)
            if shot.shown >= least:
                return _labelled(shot, task, variant, template, Head(moved).yaw_deg)
        return None

    def _painted(
        self, picture: Picture, points: Points, variant: str, rng: Random
    ) -> tuple[Picture, Layer, str]:
        """Paint in the part around the face only; what is drawn nowhere stays as it is."""
        cover = np.zeros(picture.shape[:2], np.float32)
        if variant == BARE:
            return picture, cover, ""
        tall = np.ptp(points[:, 1])
        margin = (WORN_MARGIN if variant in WAYS else MARGIN) * tall
        low = np.maximum(points[:, :2].min(0) - margin, 0).astype(int)
        high = (points[:, :2].max(0) + margin).astype(int)
        part = slice(low[1], high[1]), slice(low[0], high[0])
        head = Head((points - [*low, 0]).astype(np.float32))
        out = picture.copy()
        if variant in WAYS:
            texture = self._chest.draw(rng)
            template = texture.name
            out[part], cover[part] = wear(picture[part], head, WAYS[variant], texture, rng)
        else:
            out[part], template = draw_negative(picture[part], head, variant, self._chest, rng)
        return out, cover, template


def _labelled(shot: Shot, task: Task, variant: str, template: str, yaw_deg: float) -> Drawn:
    others = shot.others_xyxy
    seen = (others[:, 2:] - others[:, :2]).min(1, initial=np.inf) > LEAST_OTHER_PX
    labels = [label for label, is_seen in zip(task.other_labels, seen, strict=True) if is_seen]
    boxes = np.concatenate([shot.box_xyxy[None], others[seen]])
    label = int(label_of(variant))
    return Drawn(shot.picture, boxes, (label, *labels), variant, template, shot.light, yaw_deg)
