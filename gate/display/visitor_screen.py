"""The visitor's screen: the picture, and one state so large that nobody needs to come close.

The whole screen has the colour of the state. At 720 rows the state is written 110 pixels high: 3 cm
on a 15-inch screen, which is read from more than three metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mask_gate.gate.display.drawing import INK, WHITE, Bgr, Sign, draw_sign, put
from mask_gate.gate.display.overlay import STATE_LOOKS, draw_boxes
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Decision, Image, Track

SIZE_HW = (720, 1280)
"""Of the screen that is drawn; windows stretch it without changing its shape."""

_GAP = 28
_PANEL = 256
_SIGN = 196
_STATE, _ADVICE = 110, 60
_DARK_GROUND = 0.25  # relative luminance below which white is read best


def draw_visitor_screen(
    image: Image, tracks: Sequence[Track], decision: Decision, words: Texts
) -> Image:
    """Draw the screen.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        tracks: in pixels of `image`.
        decision: of this picture.
        words: what to call things.

    Returns:
        [720, 1280, 3] uint8 BGR.
    """
    ground, sign = STATE_LOOKS[decision.state]
    height, width = SIZE_HW
    canvas = np.full((height, width, 3), ground, np.uint8)
    _place(canvas, draw_boxes(image, tracks, decision, words), height - _PANEL)
    letters = WHITE if _luminance(ground) < _DARK_GROUND else INK
    top = height - _PANEL
    disc = INK if sign in (Sign.CHECK, Sign.CROSS, Sign.RING) else WHITE
    draw_sign(canvas, sign, disc, (_GAP + _SIGN / 2, top + _PANEL / 2), _SIGN)
    left = 2 * _GAP + _SIGN
    room = width - left - _GAP
    state = words.typeface.fitted(words.states[decision.state], _STATE, room, bold=True)
    advice = words.typeface.fitted(words.advice[decision.reason], _ADVICE, room, bold=True)
    first = top + (_PANEL - state.shape[0] - advice.shape[0]) // 2
    put(canvas, state, (left, first), letters)
    put(canvas, advice, (left, first + state.shape[0]), letters)
    return canvas


def _place(canvas: Image, picture: Image, room: int) -> None:
    """The picture as large as it fits above the panel, in the middle."""
    height, width = picture.shape[:2]
    scale = min((room - _GAP) / height, (canvas.shape[1] - 2 * _GAP) / width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    fit = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    left, top = (canvas.shape[1] - size[0]) // 2, _GAP + (room - _GAP - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = fit


def _luminance(colour: Bgr) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2.2)."""
    linear = [
        c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4
        for c in colour
    ]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
