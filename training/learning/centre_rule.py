"""Centre rule: CenterNet's assignment (Zhou et al., 2019, section 3) for one anchor a cell.

The cell of a face's middle is the object. Around it "no face here" counts less, by (1 - g)^4 of a
Gaussian g as wide as the face allows. Cells a peak may slip to answer for the box too, and a wider
neighbourhood for the class, so that a peak one cell off still brings a good box and the right
class.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.models.networks.anchors import Scale
from mask_gate.training.learning.targets import (
    MapShape,
    ScaleTargets,
    Truth,
    cells_of,
    face_middles,
    face_sizes,
    smallest_first,
    without_repeats,
)

# CornerNet (Law and Deng, 2018, section 3.2): a box this good still counts; sets how wide the
# reward spreads around a face's middle.
MIN_IOU = 0.7
# How far from a face's middle, as a part of its shorter side, cells answer for its class.
CLASS_SPREAD = 0.12

Floats = NDArray[np.float32]


def centre_rule(shape: MapShape, scale: Scale, truth: Truth) -> ScaleTargets:
    """Targets of the one map."""
    spread = np.zeros((shape.batch, shape.height, shape.width), np.float32)
    own = cells_of(face_middles(truth), scale.stride, shape).numpy()
    sizes = (face_sizes(truth) / scale.stride).tolist()
    images = truth.image.tolist()
    parts = []
    for face in smallest_first(truth).tolist():
        sigma = centre_sigma(*sizes[face])
        class_sigma = max(sigma, CLASS_SPREAD * min(sizes[face]))
        rows, columns, away = _neighbourhood(own[face], round(3 * class_sigma) + 1, shape)
        patch = spread[images[face], rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        near = _bell(away, sigma)
        np.maximum(patch, near, out=patch)
        parts.append(_face_cells(images[face], face, rows, columns, near, _bell(away, class_sigma)))
    negative = torch.from_numpy((1 - spread) ** 4)[:, None]
    if not parts:
        none, empty = torch.zeros(0, dtype=torch.long), torch.zeros(0)
        return ScaleTargets(none.view(0, 4), none, empty, empty, none.bool(), negative)
    cells, faces, for_box, for_class = (
        torch.from_numpy(np.concatenate(column)) for column in zip(*parts, strict=True)
    )
    middles = torch.from_numpy(own)[faces]
    is_object = (cells[:, 2:] == middles).all(1)
    return _settled(ScaleTargets(cells, faces, for_box, for_class, is_object, negative))


def centre_sigma(width: float, height: float) -> float:
    """Width of the Gaussian, in cells, for a face of this size in cells.

    A box of the face's size shifted by r along both axes has IoU (w-r)(h-r) / (2wh - (w-r)(h-r));
    r is where that is MIN_IOU, and the Gaussian is a third of it wide, as in CornerNet.
    """
    shared = 2 * MIN_IOU / (1 + MIN_IOU) * width * height
    total = width + height
    radius = (total - max(0.0, total * total - 4 * (width * height - shared)) ** 0.5) / 2
    return float(max(radius, 1.0) * 2 + 1) / 6


def _neighbourhood(
    cell: NDArray[np.int64], reach: int, shape: MapShape
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Rows and columns within `reach` of a cell, and [R, C] squared distances to it."""
    row, column = cell.tolist()
    rows = np.arange(max(0, row - reach), min(shape.height, row + reach + 1))
    columns = np.arange(max(0, column - reach), min(shape.width, column + reach + 1))
    away = (rows - row)[:, None] ** 2 + (columns - column)[None] ** 2
    return rows, columns, away.astype(np.float32)


def _bell(squared: Floats, sigma: float) -> Floats:
    return np.asarray(np.exp(squared / np.float32(-2 * sigma * sigma)))


def _face_cells(
    image: int,
    face: int,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    near: Floats,
    wider: Floats,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats, Floats]:
    """Cells [P, 4], face [P], box and class weights [P] of one face."""
    for_box, for_class = near * (near >= 0.5), wider * (wider >= 0.5)
    row, column = np.nonzero(for_class)
    count = len(row)
    cells = np.stack(
        (np.full(count, image), np.zeros(count, np.int64), rows[row], columns[column]), 1
    )
    weights = [kind[row, column] / kind.sum() for kind in (for_box, for_class)]
    return cells, np.full(count, face), weights[0], weights[1]


def _settled(claims: ScaleTargets) -> ScaleTargets:
    """A cell claimed by two faces answers for the one it is the middle of, else for the smaller."""
    order = claims.is_object.to(torch.int8).argsort(descending=True, stable=True)
    cells, first = without_repeats(claims.cells[order])
    kept = order[first]
    is_object = claims.is_object[kept]
    claims.negative_weight[tuple(cells[is_object].T)] = 0.0
    return ScaleTargets(
        cells,
        claims.truth[kept],
        claims.box_weight[kept],
        claims.class_weight[kept],
        is_object,
        claims.negative_weight,
    )
