"""The rules that every annotated box keeps, whichever file it comes from."""

from __future__ import annotations

import re
from collections.abc import Sequence

OUTSIDE_TOLERANCE_PX = 1.0  # tools that count pixels from 1 write xmax = width + 1
MIN_SIDE_PX = 1.0  # VOC corners are pixels inside the box, so 1 apart covers the 2 x 2 px minimum

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


def parse_number(text: str) -> float | None:
    """A plain decimal number, or None; `nan`, `inf` and `1_000`, which float() takes, are none."""
    return float(text) if _NUMBER.fullmatch(text) else None


def format_number(value: float) -> str:
    """The shortest text that reads back as `value`; whole numbers have no point."""
    return str(int(value)) if value == int(value) else repr(float(value))


def box_faults(box_xyxy: Sequence[float], size_wh: tuple[int, int]) -> list[str]:
    """What is wrong with one box in pixels, each with the value and the bound it breaks."""
    faults = []
    for axis, low, high, limit in (
        ("x", box_xyxy[0], box_xyxy[2], size_wh[0]),
        ("y", box_xyxy[1], box_xyxy[3], size_wh[1]),
    ):
        side = "width" if axis == "x" else "height"
        if low < 0:
            faults.append(f"{axis}min {low:g} is below 0")
        if high > limit + OUTSIDE_TOLERANCE_PX:
            faults.append(f"{axis}max {high:g} is outside the image, whose {side} is {limit}")
        if low >= high:
            faults.append(f"{axis}min {low:g} is not below {axis}max {high:g}")
        elif high - low < MIN_SIDE_PX:
            faults.append(f"the box is {high - low:g} px in {side}, less than {MIN_SIDE_PX:g}")
    return faults
