"""Drawing: the colours, symbols and lettering that every picture of the gate is made of.

Nothing is told by colour alone: every class and every state has its own symbol and its own words.
The colours are those of Okabe and Ito, which people with colour-blindness can tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PillowImage
from PIL import ImageDraw, ImageFont

from mask_gate.gate.domain import Image
from mask_gate.models.shipped import ASSETS

FONTS = ASSETS / "fonts"

Bgr = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), as BGR.
GREEN: Bgr = (115, 158, 0)
VERMILLION: Bgr = (0, 94, 213)
YELLOW: Bgr = (66, 228, 240)
SKY: Bgr = (233, 180, 86)
PURPLE: Bgr = (167, 121, 204)
GREY: Bgr = (160, 160, 160)
WHITE: Bgr = (255, 255, 255)
DARK: Bgr = (30, 24, 22)


class Symbol(Enum):
    """A small picture that says the same as a colour."""

    CHECK = "check"
    CROSS = "cross"
    WARNING = "warning"
    DOTS = "dots"
    RING = "ring"


def mix(first: Bgr, second: Bgr, share: float) -> Bgr:
    """A colour between two, `share` of the second."""
    b, g, r = (round(a * (1 - share) + c * share) for a, c in zip(first, second, strict=True))
    return (b, g, r)


def draw_symbol(
    canvas: Image, symbol: Symbol, colour: Bgr, centre: tuple[float, float], diameter: float
) -> None:
    """Draw a symbol on a disc (the warning on a triangle), `diameter` pixels across."""
    radius = diameter / 2
    stroke = max(round(0.13 * diameter), 1)

    def to_pixels(*points: tuple[float, float]) -> NDArray[np.int32]:
        """Points of a unit disc as pixels with four binary places, as OpenCV takes them."""
        placed = np.array(points) * radius + np.array(centre)
        rounded: NDArray[np.int32] = np.rint(placed * 16).astype(np.int32)
        return rounded

    def disc(point: tuple[float, float], size: float, fill: Bgr, thickness: int = -1) -> None:
        x, y = to_pixels(point)[0].tolist()
        cv2.circle(canvas, (x, y), round(size * radius * 16), fill, thickness, cv2.LINE_AA, 4)

    def strokes(*lines: NDArray[np.int32]) -> None:
        cv2.polylines(canvas, list(lines), False, WHITE, stroke, cv2.LINE_AA, 4)

    if symbol is Symbol.WARNING:
        triangle = to_pixels((0, -0.98), (1.06, 0.88), (-1.06, 0.88))
        bar = to_pixels((0, -0.28), (0, 0.28))
        cv2.fillPoly(canvas, [triangle], colour, cv2.LINE_AA, 4)
        cv2.polylines(canvas, [bar], False, DARK, stroke, cv2.LINE_AA, 4)
        disc((0, 0.60), 0.13, DARK)
        return
    if symbol is Symbol.RING:
        disc((0, 0), 0.85, colour, stroke)
        return
    disc((0, 0), 1.0, colour)
    if symbol is Symbol.CHECK:
        strokes(to_pixels((-0.45, 0.02), (-0.13, 0.36), (0.47, -0.36)))
    elif symbol is Symbol.CROSS:
        strokes(to_pixels((-0.36, -0.36), (0.36, 0.36)), to_pixels((-0.36, 0.36), (0.36, -0.36)))
    else:
        for x in (-0.45, 0.0, 0.45):
            disc((x, 0), 0.14, DARK)


def tint(canvas: Image, box: tuple[int, int, int, int], colour: Bgr, share: float) -> None:
    """Lay a colour over a rectangle, `share` of it covering."""
    x1, y1, x2, y2 = (max(side, 0) for side in box)
    area = canvas[y1:y2, x1:x2]
    if area.size:
        plate = np.full_like(area, colour)
        canvas[y1:y2, x1:x2] = cv2.addWeighted(area, 1 - share, plate, share, 0)


@dataclass(frozen=True, slots=True)
class Typeface:
    """Two font files; their letters are smooth at every size, unlike those of OpenCV."""

    regular: Path
    bold: Path

    def line(self, text: str, size_px: int, *, bold: bool) -> NDArray[np.uint8]:
        """[rows, columns] opacity of a line of text, 0..255; lines of one size have one height."""
        return _render(text, size_px, self.bold if bold else self.regular)

    def fitted(self, text: str, size_px: int, width_px: int, *, bold: bool) -> NDArray[np.uint8]:
        """As `line`, in the largest size up to `size_px` that fits into `width_px` columns."""
        line = self.line(text, size_px, bold=bold)
        while line.shape[1] > width_px and size_px > 5:
            size_px = max(min(size_px * width_px // line.shape[1], size_px - 1), 5)
            line = self.line(text, size_px, bold=bold)
        return line


def dejavu() -> Typeface:
    """DejaVu Sans, which has the letters of Europe."""
    return Typeface(FONTS / "DejaVuSans.ttf", FONTS / "DejaVuSans-Bold.ttf")


@lru_cache(maxsize=16)
def _font(path: Path, size_px: int) -> ImageFont.FreeTypeFont:
    # The basic layout is part of every build of Pillow, so that a line looks the same everywhere.
    return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=512)
def _render(text: str, size_px: int, path: Path) -> NDArray[np.uint8]:
    font = _font(path, size_px)
    left, _, right, _ = map(round, font.getbbox(text, anchor="ls"))
    baseline, height = round(0.95 * size_px) - 1, round(0.95 * size_px) + round(0.24 * size_px)
    line = PillowImage.new("L", (right - left, height))
    ImageDraw.Draw(line).text((-left, baseline), text, 255, font, anchor="ls")
    first, _, end, _ = line.getbbox() or (0, 0, 0, 0)  # lines of any size begin with ink
    letters = np.asarray(line)[:, first:end]
    letters.flags.writeable = False
    return letters


def draw_line(
    canvas: Image, line: NDArray[np.uint8], top_left_xy: tuple[int, int], colour: Bgr
) -> None:
    """Draw a line of text, as `Typeface.line` gives it; what is outside the canvas is cut off."""
    x, y = (max(side, 0) for side in top_left_xy)
    area = canvas[y : y + line.shape[0], x : x + line.shape[1]]
    share = line[: area.shape[0], : area.shape[1], None].astype(np.float32) / 255
    area[...] = np.rint(area * (1 - share) + np.array(colour, np.float32) * share)
