"""Raster: which pixel shows which place of a surface in space."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.drawing.head import Head
from mask_gate.training.drawing.wear import Surface

SAMPLES_A_PIXEL = 1.7


@dataclass(frozen=True, slots=True, eq=False)
class Raster:
    """A surface as the camera sees it; what lies nearer hides what lies behind.

    Attributes:
        across: [H, W] place on the texture, 0 to 1.
        down: [H, W] the same from the upper to the lower edge.
        normals: [H, W, 3] where the surface looks, in the camera's frame.
        covered: [H, W] 1 where it is seen, else 0.
    """

    across: NDArray[np.float32]
    down: NDArray[np.float32]
    normals: NDArray[np.float32]
    covered: NDArray[np.float32]


def rastered(head: Head, surface: Surface, size_hw: tuple[int, int]) -> Raster:
    """Draw points of the surface into the picture, the nearest one last."""
    grid = surface.grid
    place = head.to_picture(grid.reshape(-1, 3)).reshape(grid.shape).astype(np.float32)
    spans = np.ptp(place[..., :2].reshape(-1, 2), axis=0)
    columns, rows = (int(max(40, SAMPLES_A_PIXEL * span)) for span in spans)
    size_wh = columns, rows
    dense = cv2.resize(place, size_wh, interpolation=cv2.INTER_CUBIC).reshape(-1, 3)
    normals = np.cross(np.gradient(grid, axis=1), np.gradient(grid, axis=0))
    normals /= np.linalg.norm(normals, axis=2, keepdims=True) + 1e-9
    normals = head.directions_to_picture(normals).astype(np.float32)
    normals = cv2.resize(normals, size_wh).reshape(-1, 3)
    across, down = np.meshgrid(
        np.linspace(surface.texture_from, 1, columns, dtype=np.float32),
        np.linspace(0, 1, rows, dtype=np.float32),
    )
    height, width = size_hw
    x, y = np.rint(dense[:, 0]).astype(int), np.rint(dense[:, 1]).astype(int)
    inside = np.flatnonzero((x >= 0) & (y >= 0) & (x < width) & (y < height))
    inside = inside[np.argsort(dense[inside, 2], kind="stable")]
    maps = np.zeros((height, width, 6), np.float32)
    ones = np.ones(len(inside), np.float32)
    maps[y[inside], x[inside]] = np.column_stack(
        [across.ravel()[inside], down.ravel()[inside], normals[inside], ones]
    )
    hit = maps[..., 5]
    near = cv2.blur(maps, (5, 5))
    full = np.where(hit[..., None] > 0, maps, near / np.maximum(near[..., 5:], 1e-3))
    covered = cv2.morphologyEx(hit, cv2.MORPH_CLOSE, np.ones((3, 3))).astype(np.float32)
    return Raster(full[..., 0], full[..., 1], full[..., 2:5], covered)
