"""Camera: the view, the light and the sensor that a drawn picture is seen through."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.drawing.blend import Layer, Picture
from mask_gate.training.drawing.head import OVAL
from mask_gate.training.drawing.landmarks import Points
from mask_gate.training.drawing.textures import Random

# The box that annotators draw against the hull of the landmarks, in sizes of the hull: medians of
# the bare faces of 40 px or more among the training images of "Face Mask Detection".
BOX_OFFSETS = np.array([0.004, 0.092, -0.004, 0.068])
LONGEST_PX = 448
DARK_SHARE = 0.14
DARK_MEAN = 22, 60  # of a picture taken in a dark room, 0 to 255

Boxes = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Shot:
    """What the camera took.

    Attributes:
        picture: [H, W, 3] BGR.
        box_xyxy: the face that was drawn on, in pixels.
        others_xyxy: [N, 4] the other faces.
        shown: cloth in sight, in areas of the face's box.
        light: "day" or "dark".
    """

    picture: Picture
    box_xyxy: Boxes
    others_xyxy: Boxes
    shown: float
    light: str


def face_box(xy: NDArray[np.floating]) -> Boxes:
    """[4] xyxy: the box that an annotator would draw around landmarks."""
    low, high = xy.min(0), xy.max(0)
    return np.asarray(np.concatenate([low, high]) + BOX_OFFSETS * np.tile(high - low, 2))


def shoot(picture: Picture, points: Points, cover: Layer, others_xyxy: Boxes, rng: Random) -> Shot:
    """Frame the face, alone or with everybody else in the picture, and expose it."""
    to, size_wh, scale = _view(picture.shape[:2], points, len(others_xyxy) > 0, rng)
    if scale < 0.75:
        picture = cv2.GaussianBlur(picture, (0, 0), 0.42 / scale).astype(np.uint8)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR
    seen = cv2.warpPerspective(
        picture, to, size_wh, flags=how, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)
    box = face_box(_moved(points[:, :2], to))
    corners = others_xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = _moved(corners.reshape(-1, 2), to).reshape(-1, 4, 2)
    others = np.concatenate([moved.min(1), moved.max(1)], 1)
    cloth = float(cv2.warpPerspective(cover, to, size_wh).sum())
    limits = np.tile(np.array(size_wh, np.float64), 2)
    light = "dark" if rng.random() < DARK_SHARE else "day"
    seen = _dark(seen, rng) if light == "dark" else _day(seen, rng)
    return Shot(
        _developed(seen, rng), box.clip(0, limits), others.clip(0, limits),
        cloth / max(1.0, float(np.prod(box[2:] - box[:2]))), light,
    )  # fmt: skip


def turned(
    picture: Picture, cover: Layer, points: Points, rng: Random
) -> tuple[Picture, Layer, Points]:
    """Turn the head by parallax: pixels move with their depth, up to about 20 degrees."""
    yaw = float(np.clip(rng.normal(0, 0.19), -0.38, 0.38))
    pitch = float(np.clip(rng.normal(0, 0.12), -0.25, 0.25))
    height, width = picture.shape[:2]
    depth = _depth(points, (height, width))
    y, x = np.mgrid[:height, :width].astype(np.float32)
    map_x, map_y = x - yaw * depth, y - pitch * depth
    mirror = cv2.BORDER_REFLECT_101
    out = cv2.remap(picture, map_x, map_y, cv2.INTER_CUBIC, borderMode=mirror).astype(np.uint8)
    cover = cv2.remap(cover, map_x, map_y, cv2.INTER_LINEAR).astype(np.float32)
    moved = points.copy()
    row, column = points[:, 1].astype(int), points[:, 0].astype(int)
    own = depth[row.clip(0, height - 1), column.clip(0, width - 1)]
    moved[:, 0] += yaw * own
    moved[:, 1] += pitch * own
    off = points[:, :2] - points[OVAL, :2].mean(0)
    moved[:, 2] += off @ np.array([yaw, pitch], np.float32)  # the far side of the head goes back
    return out, cover, moved


def _depth(points: Points, size_hw: tuple[int, int]) -> Layer:
    """[H, W] how far each pixel of the head stands out, smooth, 0 far from the face."""
    step = 4
    near = -points[:, 2] + np.median(points[OVAL, 2])
    size = size_hw[0] // step + 1, size_hw[1] // step + 1
    total, count, face = (np.zeros(size, np.float32) for _ in range(3))
    row = (points[:, 1] / step).astype(int).clip(0, size[0] - 1)
    column = (points[:, 0] / step).astype(int).clip(0, size[1] - 1)
    np.add.at(total, (row, column), near.astype(np.float32))
    np.add.at(count, (row, column), 1)
    wide = float(np.ptp(points[:, 0])) / step

    def blurred(layer: Layer, sigma: float) -> Layer:
        return cv2.GaussianBlur(layer, (0, 0), max(sigma * wide, 0.3)).astype(np.float32)

    hull = cv2.convexHull((points[OVAL, :2] / step).astype(np.int32))
    cv2.fillConvexPoly(face, hull, 1.0)
    depth = blurred(total, 0.05) / (blurred(count, 0.05) + 1e-4) * blurred(face, 0.10)
    large = cv2.resize(blurred(depth, 0.03), (size[1] * step, size[0] * step))
    return large[: size_hw[0], : size_hw[1]].astype(np.float32)


def _view(
    size_hw: tuple[int, int], points: Points, whole: bool, rng: Random
) -> tuple[NDArray[np.float64], tuple[int, int], float]:
    """The transform into the new picture, its size, and how much larger things get."""
    height, width = size_hw
    if whole:
        corner, size = np.zeros(2), np.array([width, height], np.float64)
        turn, lean = math.radians(rng.uniform(-4, 4)), 0.0
        scale = min(rng.uniform(0.75, 1) * 1.4 * LONGEST_PX / max(size), 1.0)
    else:
        corner, size = _crop(size_hw, face_box(points[:, :2]), rng)
        turn, lean = math.radians(np.clip(rng.normal(0, 9), -20, 20)), rng.normal(0, 0.09)
        scale = min(rng.triangular(110, 240, LONGEST_PX) / max(size), 1.6)
    out = np.maximum(np.rint(size * scale), 16)
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float64)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    source = (square - 0.5) * size @ rotation.T + corner + size / 2
    target = square * out
    edge = [1, 2] if lean > 0 else [0, 3]
    target[edge, 1] += np.array([-0.5, 0.5]) * abs(lean) * out[1]
    to = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
    if rng.random() < 0.5:
        to = np.array([[-1, 0, out[0] - 1], [0, 1, 0], [0, 0, 1]]) @ to
    return np.asarray(to, np.float64), (int(out[0]), int(out[1])), float(scale)


def _crop(size_hw: tuple[int, int], box: Boxes, rng: Random) -> tuple[Boxes, Boxes]:
    """Corner and size of a part of the picture in which the face is 20 to 85 % high."""
    height, width = size_hw
    face = box[2:] - box[:2]
    tall = face[1] / rng.triangular(0.2, 0.42, 0.85)
    size = np.maximum([tall * rng.uniform(0.75, 1.1), tall], face * 1.15)
    size = np.minimum(size, [width * 1.06, height * 1.06])
    place = np.array([rng.uniform(0.40, 0.60), rng.uniform(0.36, 0.54)])
    corner = (box[:2] + box[2:]) / 2 - size * place
    least = np.array([-0.04 * width, -0.02 * height])
    most = np.array([1.04 * width, 1.04 * height]) - size
    return np.clip(corner, least, np.maximum(least, most)), size


def _moved(xy: NDArray[np.floating], to: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(xy):
        return np.zeros((0, 2))
    return np.asarray(cv2.perspectiveTransform(xy[None].astype(np.float64), to)[0])


def _day(seen: Layer, rng: Random) -> Layer:
    if rng.random() < 0.2:
        return seen
    value = (seen.clip(0, 255) / 255) ** rng.uniform(0.75, 1.35) * rng.uniform(0.85, 1.1)
    value = value * (1 + rng.normal(0, 0.05, 3))
    if rng.random() < 0.45:
        value = value * (1 + rng.uniform(0.1, 0.38) * _slope(seen.shape[:2], rng))[..., None]
    middle = value.mean()
    value = (value - middle) * rng.uniform(0.82, 1.15) + middle
    if rng.random() < 0.03:
        value = np.repeat(value.mean(2, keepdims=True), 3, 2)
    return np.asarray(value * 255, np.float32)


def _dark(seen: Layer, rng: Random) -> Layer:
    """A room with little light, perhaps coloured and from one side, and the noise of its sensor."""
    linear = (seen.clip(0, 255) / 255) ** 2.2
    sideways = 1 + rng.uniform(0.2, 0.9) * _slope(seen.shape[:2], rng)
    linear = linear * sideways.clip(0.05)[..., None] * np.exp(rng.normal(0, 0.22, 3)) + 0.002
    electrons = rng.uniform(60, 1500)  # that a white pixel of the scene gives
    linear = linear + rng.standard_normal(seen.shape) * np.sqrt(linear.clip(0) / electrons)
    linear = (linear + rng.standard_normal(seen.shape) * 0.004).clip(0)
    value = linear ** (1 / 2.2)
    return np.asarray(value / max(value.mean(), 1e-3) * rng.uniform(*DARK_MEAN), np.float32)


def _slope(size_hw: tuple[int, int], rng: Random) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * math.pi)
    y = np.linspace(-1, 1, size_hw[0])[:, None]
    x = np.linspace(-1, 1, size_hw[1])[None]
    return np.asarray(x * math.cos(angle) + y * math.sin(angle))


def _developed(seen: Layer, rng: Random) -> Picture:
    """Lens, movement, noise and compression."""
    chance = rng.random()
    if chance < 0.22:
        seen = cv2.GaussianBlur(seen, (0, 0), rng.uniform(0.5, 1.5)).astype(np.float32)
    elif chance < 0.32:
        length = int(rng.integers(3, 7))
        kernel = np.full((1, length), 1 / length)
        kernel = kernel.T if rng.random() < 0.3 else kernel
        seen = cv2.filter2D(seen, -1, kernel).astype(np.float32)
    if rng.random() < 0.3:
        seen = seen + rng.standard_normal(seen.shape).astype(np.float32) * rng.uniform(1, 7)
    picture = seen.clip(0, 255).astype(np.uint8)
    if rng.random() >= 0.2:
        return picture
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 75))]
    squeezed = cv2.imencode(".jpg", picture, quality)[1]
    return np.asarray(cv2.imdecode(squeezed, cv2.IMREAD_COLOR), np.uint8)
