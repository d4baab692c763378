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
from mask_gate.gate.domain import Image
from mask_gate.gate.picture_measure import measure

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the picture."""

DARK_LEVEL, BRIGHT_LEVEL = 50.0, 205.0
"""Mean grey levels beyond which faces lose their detail long before the gate refuses a picture."""

COMFORT = 4.0
"""The light and sharpness that are aimed at are so much better than those just accepted."""


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
class AimReport:
    """What is to be said of one picture.

    Attributes:
        facts: what is measured, a line each.
        advice: what to change, a line each; empty when nothing is wrong.
    """

    facts: tuple[str, ...]
    advice: tuple[str, ...]


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
    sizes = [max(x2 - x1, y2 - y1) / height for x1, y1, x2, y2 in faces]
    inside = [is_in_zone(face, image, limits) for face in faces]
    facts = [f"light {light:.0f} of 255, contrast {contrast:.0f}, sharpness {sharpness:.0f}"]
    facts += [
        f"face {size * whole:.0f} px, {size:.0%} of the picture's height"
        f"{'' if is_in else ', outside the zone'}"
        for size, is_in in zip(sizes, inside, strict=True)
    ]
    counted = [size for size, is_in in zip(sizes, inside, strict=True) if is_in]
    advice = [*_of_picture(light, contrast, sharpness, limits), *_of_faces(faces, counted, limits)]
    return AimReport(tuple(facts), tuple(advice))


def is_in_zone(face: Box, image: Image, limits: AimLimits) -> bool:
    """Whether the centre of a face is in the zone."""
    height, width = image.shape[:2]
    polygon = np.array(limits.zone, np.float32) * (width, height)
    x1, y1, x2, y2 = face
    centre = (float(x1 + x2) / 2, float(y1 + y2) / 2)
    return cv2.pointPolygonTest(polygon.astype(np.float32), centre, False) >= 0


def _of_picture(
    light: float, contrast: float, sharpness: float, limits: AimLimits
) -> Iterator[str]:
    if light < DARK_LEVEL:
        yield "too dark: put light onto the faces, from the side of the camera"
    elif light > BRIGHT_LEVEL:
        yield "too bright: turn the camera from the light, or lower its exposure"
    if contrast < 20:
        yield "little contrast: clean the lens; look for fog, glare or a cover before it"
    if sharpness < COMFORT * limits.min_sharpness:
        yield "not sharp: focus on where people stand, clean the lens, or choose a larger picture"


def _of_faces(faces: Sequence[Box], counted: Sequence[float], limits: AimLimits) -> Iterator[str]:
    if not faces:
        yield "no face is seen: let somebody stand where people will stand, looking at the camera"
        return
    if not counted:
        yield "no face is in the zone: move the camera, or policy.zone"
        return
    largest = max(counted)
    if largest < limits.near_face:
        yield (
            f"the face is below policy.near_face ({limits.near_face:.0%}) and is passed over: "
            "bring the camera closer, or zoom in"
        )
    elif largest < 1.2 * limits.min_face:
        yield (
            f"the face is about policy.min_face ({limits.min_face:.0%}) or smaller: bring the "
            "camera closer, or zoom in"
        )
    elif largest > 0.6:
        yield "the face fills the picture: move the camera back, so that all of a group are seen"


def draw_aim(
    image: Image, faces: Sequence[Box], limits: AimLimits, report: AimReport, typeface: Typeface
) -> Image:
    """The picture with zone, faces and report, in a copy of the same size."""
    canvas = image.copy()
    height, width = canvas.shape[:2]
    line = max(round(min(height, width) / 240), 1)
    zone = np.rint(np.array(limits.zone) * (width - 1, height - 1)).astype(np.int32)
    cv2.polylines(canvas, [zone], True, SKY, line, cv2.LINE_AA)
    for face in faces:
        x1, y1, x2, y2 = (round(side) for side in face)
        colour = GREEN if is_in_zone(face, image, limits) else YELLOW
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, line, cv2.LINE_AA)
    size = max(round(min(height, width) / 28), 11)
    words = [(text, WHITE) for text in report.facts]
    words += [(text, YELLOW) for text in report.advice] or [("nothing to change", GREEN)]
    tint(canvas, (0, 0, width, min(round(1.35 * size * len(words)) + size, height)), DARK, 0.7)
    for number, (text, colour) in enumerate(words):
        fitted = typeface.fitted(text, size, width - size, bold=False)
        draw_line(canvas, fitted, (size // 2, size // 2 + round(1.35 * size * number)), colour)
    return canvas
