"""Privacy: faces made unrecognisable in what people are shown; what is judged stays as it is."""

from __future__ import annotations

from collections.abc import Sequence

import cv2

from mask_gate.gate.display.overlay import visible_box
from mask_gate.gate.domain import Decision, Image, State, Track

BLOCKS = 6
"""A face is left with so many blocks of one colour across."""

_MARGIN = 0.25
_WHOLE_BLOCKS = 24  # across a picture of which nobody knows where the faces are
_UNKNOWN = frozenset({State.FAULT})


def blur_faces(image: Image, tracks: Sequence[Track], decision: Decision) -> Image:
    """A copy with every tracked face in large blocks; the whole of it where none can be tracked.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        tracks: in pixels of `image`.
        decision: of this picture; with a fault, nobody knows where faces are.
    """
    canvas = image.copy()
    height, width = canvas.shape[:2]
    if decision.state in _UNKNOWN:
        _pixelate(canvas, (0, 0, width, height), _WHOLE_BLOCKS)
        return canvas
    for track in tracks:
        if (box := visible_box(track, canvas)) is None:
            continue
        x1, y1, x2, y2 = box
        dx, dy = round(_MARGIN * (x2 - x1)), round(_MARGIN * (y2 - y1))
        wide = max(x1 - dx, 0), max(y1 - dy, 0), min(x2 + dx, width), min(y2 + dy, height)
        _pixelate(canvas, wide, BLOCKS)
    return canvas


def _pixelate(canvas: Image, box: tuple[int, int, int, int], across: int) -> None:
    x1, y1, x2, y2 = box
    area = canvas[y1:y2, x1:x2]
    if not area.size:
        return
    rows, columns = area.shape[:2]
    down = max(round(across * rows / columns), 1)
    small = cv2.resize(area, (across, min(down, 2 * across)), interpolation=cv2.INTER_AREA)
    area[...] = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_NEAREST)
