"""YOLO annotations: one text file an image, `class cx cy w h` a line, in shares of the image size.

A sixth column, as detectors write it, is a confidence and is passed over.
An empty file says "no faces here". Ten decimals are written and pixels are rounded to thousandths
on the way in, so that corners on that grid (whole numbers above all) come back exactly from
images of up to a million pixels a side; foreign files with six decimals read as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.box_rules import OUTSIDE_TOLERANCE_PX, box_faults, parse_number
from mask_gate.training.data.class_names import LEFT_OUT
from mask_gate.training.data.text_file import decode_text
from mask_gate.training.errors import DataError, Problem

MAX_TXT_BYTES = 1_000_000
SHARE_DECIMALS = 10
PIXEL_DECIMALS = 3
SHARE_ROUNDING = 1e-6  # six decimals, as most tools write, can put a border box this far below 0
COLUMNS = ("class", "cx", "cy", "w", "h")


def read_yolo(
    data: bytes,
    where: str,
    size_wh: tuple[int, int],
    labels_of_numbers: tuple[int, ...] = tuple(MaskLabel),
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read one label file.

    Args:
        data: the bytes of the text file.
        where: what messages call the file.
        size_wh: width and height of its image in pixels.
        labels_of_numbers: the class that each number in it means.

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
        fault = _column_fault(columns, size_wh, len(labels_of_numbers))
        if fault is not None:
            problems.append(Problem(where, fault[0], fault[1], number))
            continue
        box_xyxy = _corners([float(text) for text in columns[1:5]], size_wh)
        problems += [
            Problem(where, fault, "correct the box", number)
            for fault in box_faults(box_xyxy, size_wh)
        ]
        label = labels_of_numbers[int(float(columns[0]))]
        if label != LEFT_OUT:
            faces.append((box_xyxy, label))
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
    return decode_text(data, where).splitlines()


def _column_fault(
    columns: tuple[str, ...], size_wh: tuple[int, int], classes: int
) -> tuple[str, str] | None:
    """What is wrong with one line before any pixel is looked at, and what to do."""
    if any("," in text for text in columns):
        return "values are separated by commas", "separate them by single spaces"
    if len(columns) not in (len(COLUMNS), len(COLUMNS) + 1):
        if len(columns) > len(COLUMNS) and len(columns) % 2 == 1:
            return "an outline of points, no box", "export boxes (detection), not segmentation"
        return f"{len(columns)} columns, expected 5", f"write `{' '.join(COLUMNS)}` on each line"
    number = parse_number(columns[0])  # 1.0e+00 is how NumPy writes 1
    if number is None or number < 0 or number != int(number):
        return f"class {columns[0]!r} is no whole number", f"use 0 to {classes - 1}"
    if number >= classes:
        what = f"class {columns[0]} does not exist, there are {classes}"
        return what, f"use 0 to {classes - 1}"
    for name, text, side in zip(COLUMNS[1:], columns[1:5], size_wh * 2, strict=True):
        value = parse_number(text)
        if value is None:
            return f"{name} is {text!r}, expected a number from 0 to 1", "correct the line"
        if not 0 <= value <= 1 + OUTSIDE_TOLERANCE_PX / side + SHARE_ROUNDING:
            return (
                f"{name} is {text}, outside 0 to 1",
                "divide pixels by the width (x) or height (y) of the image",
            )
    return _confidence_fault(columns[5:])


def _confidence_fault(rest: tuple[str, ...]) -> tuple[str, str] | None:
    """A sixth column is the confidence of a detector; the box is read all the same."""
    if not rest or ((value := parse_number(rest[0])) is not None and 0 <= value <= 1):
        return None
    what = f"the sixth column is {rest[0]!r}, expected a confidence from 0 to 1, or none"
    return what, f"write `{' '.join(COLUMNS)}` on each line"


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
