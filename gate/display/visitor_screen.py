"""Visitor screen: the picture, and one state so large that nobody needs to come close.

The whole screen has the colour of the state. At 720 rows the state is written 110 pixels high: 3 cm
on a 15-inch screen, which is read from more than three metres.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mask_gate.gate.display.drawing import DARK, WHITE, Bgr, Symbol, draw_line, draw_symbol
from mask_gate.gate.display.overlay import STATE_STYLES, draw_boxes
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Decision, Image, Track

SIZE_HW = (720, 1280)
"""Of the screen that is drawn; windows stretch it without changing its shape."""

_GAP_PX = 28
_PANEL_PX = 256
_SYMBOL_PX = 196
_STATE_PX, _ADVICE_PX = 110, 60
_DARK_BACKGROUND = 0.25  # relative luminance below which white is read best


def draw_visitor_screen(
    image: Image, tracks: Sequence[Track], decision: Decision, texts: Texts
) -> Image:
    """Draw the visitor screen.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        tracks: in pixels of `image`.
        decision: of this picture.
        texts: names of classes, states and reasons.

    Returns:
        [720, 1280, 3] uint8 BGR.
    """
    background, symbol = STATE_STYLES[decision.state]
    height, width = SIZE_HW
    canvas = np.full((height, width, 3), background, np.uint8)
    _place(canvas, draw_boxes(image, tracks, decision, texts), height - _PANEL_PX)
    letters = WHITE if _luminance(background) < _DARK_BACKGROUND else DARK
    top = height - _PANEL_PX
    disc = DARK if symbol in (Symbol.CHECK, Symbol.CROSS, Symbol.RING) else WHITE
    draw_symbol(canvas, symbol, disc, (_GAP_PX + _SYMBOL_PX / 2, top + _PANEL_PX / 2), _SYMBOL_PX)
    left = 2 * _GAP_PX + _SYMBOL_PX
    room = width - left - _GAP_PX
    state = texts.typeface.fitted(texts.states[decision.state], _STATE_PX, room, bold=True)
    advice = texts.typeface.fitted(texts.advice[decision.reason], _ADVICE_PX, room, bold=True)
    first = top + (_PANEL_PX - state.shape[0] - advice.shape[0]) // 2
    draw_line(canvas, state, (left, first), letters)
    draw_line(canvas, advice, (left, first + state.shape[0]), letters)
    return canvas


def _place(canvas: Image, picture: Image, room: int) -> None:
    """The picture as large as it fits above the panel, in the middle."""
    height, width = picture.shape[:2]
    scale = min((room - _GAP_PX) / height, (canvas.shape[1] - 2 * _GAP_PX) / width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    fit = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    left, top = (canvas.shape[1] - size[0]) // 2, _GAP_PX + (room - _GAP_PX - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = fit


def _luminance(colour: Bgr) -> float:
    """Relative luminance, 0 black to 1 white (WCAG 2.2)."""
    linear = [
        c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4
        for c in colour
    ]
    return 0.0722 * linear[0] + 0.7152 * linear[1] + 0.2126 * linear[2]
