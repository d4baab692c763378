"""YOLO annotations: one text file an image, `class cx cy w h` a line, in shares of the image size.

An empty file says "no faces here". Ten decimals are written and pixels are rounded to thousandths
on the way in, so that corners on that grid (whole numbers above all) come back exactly from
images of up to a million pixels a side; foreign files with six decimals read as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.box_rules import OUTSIDE_TOLERANCE_PX, box_faults, parse_number
from mask_gate.training.errors import DataError, Problem

MAX_TXT_BYTES = 1_000_000
SHARE_DECIMALS = 10
PIXEL_DECIMALS = 3
SHARE_ROUNDING = 1e-6  # six decimals, as most tools write, can put a border box this far below 0
COLUMNS = ("class", "cx", "cy", "w", "h")


def read_yolo(
    data: bytes, where: str, size_wh: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read one label file.

    Args:
        data: the bytes of the text file.
        where: what messages call the file.
        size_wh: width and height of its image in pixels.

    Returns:
        Boxes [N, 4] float32 xyxy in pixels, and labels [N] int64.

    Raises:
        DataError: with every problem of this file.
    """
    problems: list[Problem] = []
    faces: list[tuple[list[float], int]] = []
    first_line_of: dict[tuple[str, ...], int] = {}
    for number, line in enumerate(_lines(data, where), start=1):
        columns = tuple(line.split())
        if not columns:
            continue
        if columns in first_line_of:
            what = f"the same box as line {first_line_of[columns]}"
            problems.append(Problem(where, what, "remove one of the two lines", number))
            continue
        first_line_of[columns] = number
        fault = _column_fault(columns, size_wh)
        if fault is not None:
            problems.append(Problem(where, fault[0], fault[1], number))
            continue
        box_xyxy = _corners([float(text) for text in columns[1:]], size_wh)
        problems += [
            Problem(where, fault, "correct the box", number)
            for fault in box_faults(box_xyxy, size_wh)
        ]
        faces.append((box_xyxy, int(columns[0])))
    if problems:
        raise DataError(problems)
    return (
        np.array([box for box, _ in faces], np.float32).reshape(-1, 4),
        np.array([label for _, label in faces], np.int64),
    )


def write_yolo(
    boxes_xyxy: NDArray[np.float32], labels: NDArray[np.int64], size_wh: tuple[int, int]
) -> bytes:
    """The label file of one image: boxes [N, 4] xyxy in pixels, labels [N]."""
    width, height = size_wh
    lines = []
    for (x1, y1, x2, y2), label in zip(boxes_xyxy.astype(np.float64), labels, strict=True):
        shares = (
            (x1 + x2) / 2 / width,
            (y1 + y2) / 2 / height,
            (x2 - x1) / width,
            (y2 - y1) / height,
        )
        lines.append(" ".join([str(int(label)), *(f"{v:.{SHARE_DECIMALS}f}" for v in shares)]))
    return "".join(f"{line}\n" for line in lines).encode("ascii")


def _lines(data: bytes, where: str) -> list[str]:
    if len(data) > MAX_TXT_BYTES:
        what = f"the file has {len(data)} bytes, more than {MAX_TXT_BYTES}"
        raise DataError(Problem(where, what, "check what this file is"))
    try:
        return data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        what = f"byte {data[error.start]:#04x} at position {error.start} is not UTF-8 text"
        mend = "a label file holds plain numbers; write it again"
        raise DataError(Problem(where, what, mend)) from None


def _column_fault(columns: tuple[str, ...], size_wh: tuple[int, int]) -> tuple[str, str] | None:
    """What is wrong with one line before any pixel is looked at, and what to do."""
    if any("," in text for text in columns):
        return "values are separated by commas", "separate them by single spaces"
    if len(columns) != len(COLUMNS):
        return f"{len(columns)} columns, expected 5", f"write `{' '.join(COLUMNS)}` on each line"
    if not (columns[0].isascii() and columns[0].isdigit()):
        return f"class {columns[0]!r} is no whole number", f"use 0 to {len(CLASS_NAMES) - 1}"
    if int(columns[0]) >= len(CLASS_NAMES):
        what = f"class {columns[0]} does not exist, there are {len(CLASS_NAMES)}"
        return what, f"use 0 to {len(CLASS_NAMES) - 1}"
    for name, text, side in zip(COLUMNS[1:], columns[1:], size_wh * 2, strict=True):
        value = parse_number(text)
        if value is None:
            return f"{name} is {text!r}, expected a number from 0 to 1", "correct the line"
        if not 0 <= value <= 1 + OUTSIDE_TOLERANCE_PX / side + SHARE_ROUNDING:
            return (
                f"{name} is {text}, outside 0 to 1",
                "divide pixels by the width (x) or height (y) of the image",
            )
    return None


def _corners(shares: list[float], size_wh: tuple[int, int]) -> list[float]:
    cx, cy, w, h = shares
    width, height = size_wh
    corners = (
        (cx - w / 2) * width,
        (cy - h / 2) * height,
        (cx + w / 2) * width,
        (cy + h / 2) * height,
    )
    return [
        0.0 if -SHARE_ROUNDING * side < value <= 0 else round(value, PIXEL_DECIMALS)
        for value, side in zip(corners, (width, height) * 2, strict=True)
    ]
