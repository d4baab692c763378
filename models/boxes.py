"""Boxes as numpy arrays: formats, area, overlap; pure functions with the format in their name.

`xyxy` is (left, top, right, bottom), `cxcywh` is (centre x, centre y, width, height); both are
float and continuous: a box from 3 to 7 is 4 wide. No rows at all is an ordinary input everywhere.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Real = TypeVar("Real", bound=np.floating)


def area_xyxy(boxes_xyxy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Area of each box [N, 4] -> [N], in square units of the corners; turned inside out means 0."""
    sides = np.asarray(boxes_xyxy[:, 2:], np.float64) - boxes_xyxy[:, :2]
    return np.asarray(np.maximum(sides, 0.0).prod(axis=1))


def pairwise_iou_xyxy(
    a_xyxy: NDArray[np.floating], b_xyxy: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Intersection over union of each box of `a` [N, 4] with each of `b` [M, 4] -> [N, M] in 0..1.

    No pixel is added to any side. A box without area, or with a corner that is not finite,
    overlaps nothing (0), so that one bad box can never win a comparison.
    """
    a, b = np.asarray(a_xyxy, np.float64), np.asarray(b_xyxy, np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        top_left = np.maximum(a[:, None, :2], b[None, :, :2])  # [N, M, 2]
        bottom_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
        shared = np.maximum(bottom_right - top_left, 0.0).prod(axis=2)
        union = area_xyxy(a)[:, None] + area_xyxy(b)[None, :] - shared
        iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return np.where(np.isfinite(iou), iou, 0.0)


def xyxy_to_cxcywh(boxes_xyxy: NDArray[Real]) -> NDArray[Real]:
    """Corners to centre and size, [..., 4] -> [..., 4]."""
    top_left, bottom_right = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return np.concatenate([(top_left + bottom_right) / 2, bottom_right - top_left], axis=-1)
