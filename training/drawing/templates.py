"""Templates: the cut-out picture of a mask, flattened to a texture."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.drawing.textures import HEIGHT, WIDTH, Cloth

WORKING_PX = 420


def flattened(path: Path) -> Cloth | None:
    """The mask of a picture as a texture, its edges straight; None where nothing is transparent."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim < 3 or picture.shape[2] < 4:
        return None
    scale = WORKING_PX / max(picture.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
    shape = _without_straps((picture[..., 3] > 128).astype(np.uint8))
    if shape is None:
        return None
    columns = np.flatnonzero(shape.sum(0) > 0.3 * shape.sum(0).max())
    x = np.linspace(columns[0] + 2, columns[-1] - 2, WIDTH)
    top = _smooth(shape[:, x.astype(int)].argmax(0)) + 2
    bottom = shape.shape[0] - 1 - _smooth(shape[::-1, x.astype(int)].argmax(0)) - 2
    down = np.linspace(0, 1, HEIGHT)[:, None]
    map_y = (top + down * (bottom - top)).astype(np.float32)
    map_x = np.repeat(x[None], HEIGHT, 0).astype(np.float32)
    flat = cv2.remap(_filled(picture.astype(np.uint8)), map_x, map_y, cv2.INTER_LINEAR)
    return np.asarray(flat / 255, np.float32)


def _without_straps(opaque: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The largest part that is left when everything thin is gone."""
    reach = max(5, int(0.07 * np.count_nonzero(opaque.any(0)))) | 1
    framed = cv2.copyMakeBorder(opaque, reach, reach, reach, reach, cv2.BORDER_CONSTANT)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    thick = cv2.morphologyEx(framed, cv2.MORPH_OPEN, disc)[reach:-reach, reach:-reach]
    count, parts, stats, _ = cv2.connectedComponentsWithStats(thick)
    if count < 2 or opaque.all():
        return None
    return np.asarray(parts == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]), np.uint8)


def _smooth(line: NDArray[np.int64]) -> NDArray[np.float32]:
    row = line.astype(np.float32)[None]
    soft = cv2.GaussianBlur(row, (0, 0), 4, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(soft[0], np.float32)


def _filled(bgra: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The colours, carried on into what is transparent."""
    opaque = cv2.erode((bgra[..., 3] > 200).astype(np.float32), np.ones((3, 3)))
    bgr = bgra[..., :3] * opaque[..., None]
    near = cv2.GaussianBlur(opaque, (0, 0), 5)[..., None] + 1e-3
    around = cv2.GaussianBlur(bgr, (0, 0), 5) / near
    return (bgr + around * (1 - opaque[..., None])).astype(np.float32)
