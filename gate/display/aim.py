"""Aim: how well a camera is placed: zone, sizes of faces, light, sharpness, and what to change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mask_gate.gate.display.drawing import (
    DARK,
    GREEN,
    SKY,
    WHITE,
    YELLOW,
    Typeface,
    draw_line,
    tint,
)
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Image
from mask_gate.gate.picture_measure import measure

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the picture."""

DARK_LEVEL, BRIGHT_LEVEL = 50.0, 205.0
"""Mean grey levels beyond which faces lose their detail long before the gate refuses a picture."""

FLAT_CONTRAST = 20.0
"""A standard deviation of grey levels below this is that of fog, or of a cover over the lens."""

COMFORT = 4.0
"""The sharpness that is aimed at is so many times the one that is just accepted."""

LARGE_FACE = 0.6
"""Beyond this part of the picture's height, a second person has no room beside the first."""


@dataclass(frozen=True, slots=True)
class AimLimits:
    """What the gate is configured to accept.

    Attributes:
        zone: polygon in fractions of the picture.
        min_face: longer side of a face that may be let in, as a part of the picture's height.
        near_face: the same of a face that counts at all.
        min_sharpness: variance of the Laplacian below which a picture is blurred.
    """

    zone: tuple[tuple[float, float], ...]
    min_face: float
    near_face: float
    min_sharpness: float


@dataclass(frozen=True, slots=True)
class AimedFace:
    """A face, as far as its place and size go.

    Attributes:
        box_xyxy: in pixels of the picture.
        height_px: its longer side, in pixels of the picture as the camera sent it.
        part: the same, as a part of the picture's height.
        is_in_zone: whether its centre is in the zone.
    """

    box_xyxy: Box
    height_px: int
    part: float
    is_in_zone: bool


@dataclass(frozen=True, slots=True)
class Advice:
    """Something to change.

    Attributes:
        key: of its sentence in the texts.
        limit: the share of the picture's height that it is about, where it is about one.
    """

    key: str
    limit: float = 0.0


@dataclass(frozen=True, slots=True)
class AimReport:
    """What is to be said of one picture.

    Attributes:
        light: mean grey level, 0 to 255.
        contrast: standard deviation of the grey levels.
        sharpness: variance of the Laplacian.
        faces: found in it.
        advice: what to change; empty when nothing is wrong.
    """

    light: float
    contrast: float
    sharpness: float
    faces: tuple[AimedFace, ...]
    advice: tuple[Advice, ...]

    def facts_in(self, texts: Texts) -> list[str]:
        """What was measured, a line each."""
        facts = [
            texts.aim["picture"].format(
                light=f"{self.light:.0f}",
                contrast=f"{self.contrast:.0f}",
                sharpness=f"{self.sharpness:.0f}",
            )
        ]
        for face in self.faces:
            key = "face" if face.is_in_zone else "face_outside"
            facts.append(texts.aim[key].format(height=face.height_px, part=f"{face.part:.0%}"))
        return facts

    def advice_in(self, texts: Texts) -> list[str]:
        """What to change, a line each."""
        return [texts.aim[one.key].format(limit=f"{one.limit:.0%}") for one in self.advice]


def aim_report(
    image: Image, faces: Sequence[Box], limits: AimLimits, height_px: int | None = None
) -> AimReport:
    """Judge one picture.

    Args:
        image: [H, W, 3] uint8 BGR.
        faces: found in it.
        limits: of the gate.
        height_px: of the picture as the camera sent it, where `image` is a smaller copy.
    """
    light, contrast, sharpness = measure(image)
    height = image.shape[0]
    whole = height if height_px is None else height_px
    aimed = []
    for x1, y1, x2, y2 in faces:
        part = max(x2 - x1, y2 - y1) / height
        is_in_zone = _is_in_zone((x1, y1, x2, y2), image, limits)
        aimed.append(AimedFace((x1, y1, x2, y2), round(part * whole), part, is_in_zone))
    advice = [*_of_picture(light, contrast, sharpness, limits), *_of_faces(aimed, limits)]
    return AimReport(light, contrast, sharpness, tuple(aimed), tuple(advice))


def _is_in_zone(face: Box, image: Image, limits: AimLimits) -> bool:
    """Whether the centre of a face is in the zone."""
    height, width = image.shape[:2]
    polygon = np.array(limits.zone, np.float32) * (width, height)
    x1, y1, x2, y2 = face
    centre = (float(x1 + x2) / 2, float(y1 + y2) / 2)
    return cv2.pointPolygonTest(polygon.astype(np.float32), centre, False) >= 0


def _of_picture(
    light: float, contrast: float, sharpness: float, limits: AimLimits
) -> Iterator[Advice]:
    if light < DARK_LEVEL:
        yield Advice("too_dark")
    elif light > BRIGHT_LEVEL:
        yield Advice("too_bright")
    if contrast < FLAT_CONTRAST:
        yield Advice("flat")
    if sharpness < COMFORT * limits.min_sharpness:
        yield Advice("not_sharp")


def _of_faces(faces: Sequence[AimedFace], limits: AimLimits) -> Iterator[Advice]:
    counted = [face.part for face in faces if face.is_in_zone]
    if not faces:
        yield Advice("no_face")
    elif not counted:
        yield Advice("none_in_zone")
    elif max(counted) < limits.near_face:
        yield Advice("below_near_face", limits.near_face)
    elif max(counted) < 1.2 * limits.min_face:
        yield Advice("about_min_face", limits.min_face)
    elif max(counted) > LARGE_FACE:
        yield Advice("too_large")


def draw_faces(image: Image, report: AimReport, typeface: Typeface) -> Image:
    """The picture with each face and its size, in a copy; green in the zone, yellow outside."""
    canvas = image.copy()
    height, width = canvas.shape[:2]
    line = _line_px(image)
    size = max(round(min(height, width) / 24), 11)
    for face in report.faces:
        x1, y1, x2, y2 = (round(side) for side in face.box_xyxy)
        colour = GREEN if face.is_in_zone else YELLOW
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
        words = typeface.line(f"{face.height_px} px, {face.part:.0%}", size, bold=True)
        left = min(max(x1, 0), max(width - words.shape[1] - size, 0))
        top = min(max(y2 + line, 0), max(height - words.shape[0], 0))
        tint(canvas, (left, top, left + words.shape[1] + size, top + words.shape[0]), DARK, 0.78)
        draw_line(canvas, words, (left + size // 2, top), WHITE)
    return canvas


def draw_aim(image: Image, limits: AimLimits, report: AimReport, texts: Texts) -> Image:
    """The picture with zone, faces and report, in a copy of the same size."""
    canvas = draw_faces(image, report, texts.typeface)
    height, width = canvas.shape[:2]
    zone = np.rint(np.array(limits.zone) * (width - 1, height - 1)).astype(np.int32)
    cv2.polylines(canvas, [zone], True, SKY, _line_px(image), cv2.LINE_AA)
    size = max(round(min(height, width) / 28), 11)
    words = [(text, WHITE) for text in report.facts_in(texts)]
    words += [(text, YELLOW) for text in report.advice_in(texts)] or [(texts.aim["well"], GREEN)]
    tint(canvas, (0, 0, width, min(round(1.35 * size * len(words)) + size, height)), DARK, 0.7)
    for number, (text, colour) in enumerate(words):
        fitted = texts.typeface.fitted(text, size, width - size, bold=False)
        draw_line(canvas, fitted, (size // 2, size // 2 + round(1.35 * size * number)), colour)
    return canvas


def _line_px(image: Image) -> int:
    line_px: int = round(min(image.shape[:2]) / 240)
    return max(line_px, 1)
