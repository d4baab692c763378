"""Visitor screen: the picture, and one state so large that nobody needs to come close.

The whole screen has the colour of the state. It is laid out for the display's own size: the words
beside the sign below the picture on a wide one, under the sign on an upright one. At 720 rows the
state is written 110 pixels high: 3 cm on a 15-inch screen, which is read from more than three
metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.display.drawing import DARK, WHITE, Bgr, Symbol, draw_line, draw_symbol
from mask_gate.gate.display.overlay import STATE_STYLES, draw_boxes
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Decision, Image, Track

DEFAULT_SIZE_WH = (1280, 720)
"""Where nobody knows how large the display is."""

_SMALLEST_PX = 64
_DARK_BACKGROUND = 0.25  # relative luminance below which white is read best
_UPRIGHT_PICTURE = 0.55  # largest part of an upright display's height that is left to the picture


def draw_visitor_screen(
    image: Image,
    tracks: Sequence[Track],
    decision: Decision,
    texts: Texts,
    size_wh: tuple[int, int] = DEFAULT_SIZE_WH,
    *,
    is_slow: bool = False,
) -> Image:
    """Draw the visitor screen.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        tracks: in pixels of `image`.
        decision: of this picture.
        texts: names of classes, states and reasons.
        size_wh: columns and rows of the display.
        is_slow: whether the detector cannot keep its rate.

    Returns:
        Rows and columns of the display, uint8 BGR.
    """
    width, height = (max(side, _SMALLEST_PX) for side in size_wh)
    background, symbol = STATE_STYLES[decision.state]
    canvas = np.full((height, width, 3), background, np.uint8)
    upright = height > width
    unit = min(width / 720, height / 1280) if upright else min(width / 1280, height / 720)
    gap = round(28 * unit)
    room = round(_UPRIGHT_PICTURE * height) if upright else height - round(256 * unit)
    below = _place(canvas, image, tracks, decision, texts, room, gap)
    top = below if upright else room
    letters = WHITE if _luminance(background) < _DARK_BACKGROUND else DARK
    disc = DARK if symbol in (Symbol.CHECK, Symbol.CROSS, Symbol.RING) else WHITE
    sign = round((300 if upright else 196) * unit)
    left = gap if upright else 2 * gap + sign
    size = round((124 if upright else 110) * unit), round((70 if upright else 60) * unit)
    state = texts.typeface.fitted(
        texts.states[decision.state], size[0], width - left - gap, bold=True
    )
    advised = texts.advice_for(decision.reason, is_slow=is_slow)
    advice = texts.typeface.fitted(advised, size[1], width - left - gap, bold=True)
    words = state.shape[0] + advice.shape[0]
    if upright:
        free = height - top - sign - words
        centre = width / 2, top + free / 3 + sign / 2
        first = round(top + 2 * free / 3 + sign)
    else:
        centre = gap + sign / 2, (top + height) / 2
        first = top + (height - top - words) // 2
    draw_symbol(canvas, symbol, disc, centre, sign)
    for line, y in ((state, first), (advice, first + state.shape[0])):
        draw_line(canvas, line, (_left(line, left, width, upright), y), letters)
    return canvas


def _left(line: NDArray[np.uint8], left: int, width: int, centred: bool) -> int:
    return (width - len(line[0])) // 2 if centred else left


def _place(
    canvas: Image,
    image: Image,
    tracks: Sequence[Track],
    decision: Decision,
    texts: Texts,
    room: int,
    gap: int,
) -> int:
    """The picture as large as it fits into the upper `room` rows, in the middle.

    Boxes and names are drawn at the display's resolution.

    Returns:
        The row below it.
    """
    height, width = image.shape[:2]
    scale = min((room - gap) / height, (canvas.shape[1] - 2 * gap) / width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    fit = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), np.uint8)
    scaled = [_scaled(track, size[0] / width, size[1] / height) for track in tracks]
    fit = draw_boxes(fit, scaled, decision, texts, names_only=True)
    upright = canvas.shape[0] > canvas.shape[1]
    left = (canvas.shape[1] - size[0]) // 2
    top = gap if upright else gap + (room - gap - size[1]) // 2
    below: int = top + size[1]
    canvas[top:below, left : left + size[0]] = fit
    return below


def _scaled(track: Track, across: float, down: float) -> Track:
    x1, y1, x2, y2 = track.box_xyxy
    return replace(track, box_xyxy=(x1 * across, y1 * down, x2 * across, y2 * down))


def _luminance(colour: Bgr) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2.2)."""
    linear = [
        c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4
        for c in colour
    ]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
