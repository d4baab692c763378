"""Ink: colours, signs and lettering on pixels; what every picture of the gate is drawn with.

Nothing is told by colour alone: every class and every state has its own sign and its own words.
Colours are those of Okabe and Ito, which people with colour-blindness can tell apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray

from mask_gate.gate.domain import Image

Bgr = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), as BGR.
GREEN: Bgr = (115, 158, 0)
VERMILLION: Bgr = (0, 94, 213)
YELLOW: Bgr = (66, 228, 240)
SKY: Bgr = (233, 180, 86)
PURPLE: Bgr = (167, 121, 204)
GREY: Bgr = (160, 160, 160)
WHITE: Bgr = (255, 255, 255)
INK: Bgr = (30, 24, 22)


class Sign(Enum):
    """Small pictures that say the same as a colour."""

    CHECK = "check"
    CROSS = "cross"
    WARNING = "warning"
    DOTS = "dots"
    RING = "ring"


def mixed(first: Bgr, second: Bgr, share: float) -> Bgr:
    """A colour between two, `share` of the second."""
    b, g, r = (round(a * (1 - share) + c * share) for a, c in zip(first, second, strict=True))
    return (b, g, r)


def draw_sign(
    canvas: Image, sign: Sign, colour: Bgr, centre: tuple[float, float], diameter: float
) -> None:
    """A sign on a disc (the warning on a triangle), `diameter` pixels across."""
    radius = diameter / 2
    stroke = max(round(0.13 * diameter), 1)

    def at(*points: tuple[float, float]) -> NDArray[np.int32]:
        """Points of a unit disc as pixels with four binary places."""
        placed = np.array(points) * radius + np.array(centre)
        rounded: NDArray[np.int32] = np.rint(placed * 16).astype(np.int32)
        return rounded

    def disc(point: tuple[float, float], size: float, fill: Bgr, thickness: int = -1) -> None:
        x, y = at(point)[0].tolist()
        cv2.circle(canvas, (x, y), round(size * radius * 16), fill, thickness, cv2.LINE_AA, 4)

    def strokes(*lines: NDArray[np.int32]) -> None:
        cv2.polylines(canvas, list(lines), False, WHITE, stroke, cv2.LINE_AA, 4)

    if sign is Sign.WARNING:
        cv2.fillPoly(canvas, [at((0, -0.98), (1.06, 0.88), (-1.06, 0.88))], colour, cv2.LINE_AA, 4)
        cv2.polylines(canvas, [at((0, -0.28), (0, 0.28))], False, INK, stroke, cv2.LINE_AA, 4)
        disc((0, 0.60), 0.13, INK)
        return
    if sign is Sign.RING:
        disc((0, 0), 0.85, colour, stroke)
        return
    disc((0, 0), 1.0, colour)
    if sign is Sign.CHECK:
        strokes(at((-0.45, 0.02), (-0.13, 0.36), (0.47, -0.36)))
    elif sign is Sign.CROSS:
        strokes(at((-0.36, -0.36), (0.36, 0.36)), at((-0.36, 0.36), (0.36, -0.36)))
    else:
        for x in (-0.45, 0.0, 0.45):
            disc((x, 0), 0.14, INK)


def tint(canvas: Image, box: tuple[int, int, int, int], colour: Bgr, share: float) -> None:
    """Lay a colour over a rectangle, `share` of it covering."""
    x1, y1, x2, y2 = (max(side, 0) for side in box)
    area = canvas[y1:y2, x1:x2]
    if area.size:
        plate = np.full_like(area, colour)
        canvas[y1:y2, x1:x2] = cv2.addWeighted(area, 1 - share, plate, share, 0)


@dataclass(frozen=True, slots=True)
class Typeface:
    """Two font files, smooth at every size, unlike OpenCV's strokes."""

    regular: Path
    bold: Path

    def line(self, text: str, size_px: int, *, bold: bool) -> NDArray[np.uint8]:
        """[rows, columns] cover of a line of text, 0..255; all lines of one size are as high."""
        return _written(text, size_px, self.bold if bold else self.regular)

    def fitted(self, text: str, size_px: int, room_px: int, *, bold: bool) -> NDArray[np.uint8]:
        """The text in this size, or in the largest smaller one that fits into `room_px` columns."""
        line = self.line(text, size_px, bold=bold)
        if line.shape[1] <= room_px:
            return line
        return self.line(text, max(int(size_px * room_px / line.shape[1]), 5), bold=bold)


def dejavu() -> Typeface:
    """DejaVu Sans, which comes with matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return Typeface(folder / "DejaVuSans.ttf", folder / "DejaVuSans-Bold.ttf")


@lru_cache(maxsize=4)
def _font(path: Path) -> FT2Font:
    return FT2Font(str(path))


@lru_cache(maxsize=512)
def _written(text: str, size_px: int, path: Path) -> NDArray[np.uint8]:
    font = _font(path)
    font.set_size(size_px, 72)
    font.set_text(text, 0.0)
    font.draw_glyphs_to_bitmap(antialiased=True)
    glyphs = np.asarray(font.get_image())
    above, below = round(0.95 * size_px), round(0.24 * size_px)
    line = np.zeros((above + below, glyphs.shape[1]), np.uint8)
    baseline = glyphs.shape[0] - round(font.get_descent() / 64)
    first = max(above - baseline, 0)
    taken = glyphs[max(baseline - above, 0) :][: line.shape[0] - first]
    line[first : first + taken.shape[0]] = taken
    line.flags.writeable = False
    return line


def put(canvas: Image, cover: NDArray[np.uint8], at: tuple[int, int], colour: Bgr) -> None:
    """Write a line of text with its upper left corner `at` (x, y); what is outside is cut off."""
    x, y = max(at[0], 0), max(at[1], 0)
    area = canvas[y : y + cover.shape[0], x : x + cover.shape[1]]
    share = cover[: area.shape[0], : area.shape[1], None].astype(np.float32) / 255
    area[...] = np.rint(area * (1 - share) + np.array(colour, np.float32) * share)
