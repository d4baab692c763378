"""Negatives: bare faces with what looks like a mask: hands, cups, scarves, a mask taken off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.drawing.blend import (
    Layer,
    Light,
    Picture,
    cast_shadow,
    grainy,
    lay_over,
    light_at,
)
from mask_gate.training.drawing.chest import MaskChest
from mask_gate.training.drawing.head import LEFT_EAR, OVAL, RIGHT_EAR, Head
from mask_gate.training.drawing.textures import (
    Cloth,
    Random,
    any_colour,
    cloth,
    crumpled,
    soft_noise,
    surgical,
)

Point = NDArray[np.float64]


@dataclass(slots=True, eq=False)
class Scene:
    """A picture that is being painted on.

    Attributes:
        canvas: [H, W, 3] float, 0 to 255.
        head: whose face it is.
        light: how the face is lit.
        chest: masks to be held or hung.
        rng: of everything drawn by chance.
        name: the mask in it, if any.
    """

    canvas: Layer
    head: Head
    light: Light
    chest: MaskChest
    rng: Random
    name: str = ""

    @property
    def unit(self) -> float:
        """Pixels from between the eyes to the chin."""
        return self.head.unit_px

    def at(self, x: float, y: float) -> Point:
        """Pixel of a place just before the face, in the head's frame."""
        return self.head.to_picture(np.array([x, y, 0.3]))[:2]

    def blank(self) -> Layer:
        """[H, W] zeros."""
        return np.zeros(self.canvas.shape[:2], np.float32)

    def put(self, colour: Layer | NDArray[np.float64], cover: Layer) -> None:
        """Lay an object before the face, with its shadow."""
        soft = cv2.GaussianBlur(cover, (0, 0), 0.8 + self.light.blur_px * 0.5)
        cover = soft.astype(np.float32)
        cast_shadow(self.canvas, cover, (int(0.03 * self.unit), 0), 0.04 * self.unit, 0.3)
        lit = np.ones_like(self.canvas) * colour * self.light.shade[..., None] ** 0.5
        lay_over(self.canvas, grainy(lit.astype(np.float32), self.light, self.rng), cover)


def draw_negative(
    picture: Picture, head: Head, kind: str, chest: MaskChest, rng: Random
) -> tuple[Picture, str]:
    """Draw one of `NEGATIVES`; returns the picture and the name of the mask in it, or ""."""
    canvas = picture.astype(np.float32)
    scene = Scene(canvas, head, light_at(picture, head), chest, rng)
    NEGATIVES[kind].draw(scene)
    return scene.canvas.clip(0, 255).astype(np.uint8), scene.name


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _pixel(point: Point) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _hand(scene: Scene) -> None:
    rng = scene.rng
    centre = scene.at(rng.normal(0, 0.08), rng.uniform(0.68, 0.95))
    _paint_hand(scene, centre, math.radians(rng.uniform(-70, 70)), int(rng.integers(3, 5)))


def _paint_hand(scene: Scene, centre: Point, angle: float, fingers: int) -> None:
    """Fingers side by side and the back of the hand, in the colour of the face."""
    rng, unit = scene.rng, scene.unit
    wide = unit * rng.uniform(0.075, 0.1)
    cover, gaps = scene.blank(), scene.blank()
    along = np.array([math.cos(angle), math.sin(angle)])
    aside = np.array([-along[1], along[0]])
    for k in range(fingers):
        at = centre + aside * (k - (fingers - 1) / 2) * wide * 1.9
        long = unit * rng.uniform(0.42, 0.55) * (1 - 0.08 * abs(k - 1.3))
        start, end = at - along * long * 0.6, at + along * long * 0.55
        cv2.line(cover, _pixel(start), _pixel(end), 1.0, max(1, int(2 * wide)), cv2.LINE_AA)
        edge, thin = aside * wide * 0.95, max(1, int(wide * 0.28))
        cv2.line(gaps, _pixel(start + edge), _pixel(end + edge), 1.0, thin, cv2.LINE_AA)
    palm = centre - along * unit * 0.5
    axes = int(unit * 0.38), int(wide * fingers * 1.02)
    cv2.ellipse(cover, _pixel(palm), axes, math.degrees(angle), 0, 360, 1.0, -1)
    round_ = 0.80 + 0.24 * cv2.GaussianBlur(cover, (0, 0), wide * 0.7)
    shade = round_ * (1 - 0.38 * cv2.GaussianBlur(gaps, (0, 0), 1.5))
    grain = soft_noise(rng, cover.shape[0], cover.shape[1], 6)[..., None] * 3
    colour = scene.light.skin * rng.uniform(0.95, 1.2) * shade[..., None] + grain
    scene.put(colour, cover)


def _box(scene: Scene, centre: Point, half: tuple[float, float], taper: float) -> Point:
    """[4, 2] corners of an upright thing, turned a little; halves in the head's unit."""
    w, h = half
    corners = np.array([[-w, -h], [w, -h], [w * taper, h], [-w * taper, h]]) * scene.unit
    return corners @ _rotation(math.radians(scene.rng.normal(0, 12))).T + centre


def _before_mouth(scene: Scene) -> Point:
    return scene.at(scene.rng.normal(0, 0.12), scene.rng.uniform(0.75, 1.0))


def _cup(scene: Scene) -> None:
    rng, centre = scene.rng, _before_mouth(scene)
    corners = _box(scene, centre, (0.22, 0.34), 0.8)
    cover, lid = scene.blank(), scene.blank()
    cv2.fillConvexPoly(cover, corners.astype(np.int32), 1.0, cv2.LINE_AA)
    rim = corners[[0, 1, 1, 0]] + 0.08 * (corners[[3, 2, 2, 3]] - corners[[0, 1, 1, 0]]) * [
        [0], [0], [1], [1]
    ]  # fmt: skip
    rim = rim.mean(0) + (rim - rim.mean(0)) * [1.08, 1]
    cv2.fillConvexPoly(lid, rim.astype(np.int32), 1.0)
    away = ((np.arange(cover.shape[1]) - centre[0]) / (0.22 * scene.unit)).clip(-1, 1)
    colour = any_colour(rng) * 255 * (1 - 0.25 * away[None, :, None] ** 2)
    top = 240.0 if rng.random() < 0.6 else 40.0
    colour = colour * (1 - lid[..., None]) + lid[..., None] * top
    scene.put(colour * scene.light.gain, np.maximum(cover, lid))


def _phone(scene: Scene) -> None:
    cover = scene.blank()
    corners = _box(scene, _before_mouth(scene), (0.2, 0.4), 1)
    cv2.fillConvexPoly(cover, corners.astype(np.int32), 1.0, cv2.LINE_AA)
    scene.put(np.array([32.0, 30, 30]) * scene.light.gain, cover)


def _paper(scene: Scene) -> None:
    rng, cover = scene.rng, scene.blank()
    half = rng.uniform(0.35, 0.6), rng.uniform(0.3, 0.5)
    corners = _box(scene, _before_mouth(scene), half, 1)
    cv2.fillConvexPoly(cover, corners.astype(np.int32), 1.0, cv2.LINE_AA)
    colour = np.full(scene.canvas.shape, 238.0, np.float32)
    across, down = corners[1] - corners[0], corners[3] - corners[0]
    for line in range(int(rng.integers(3, 8))):
        start = corners[0] + 0.12 * across + (0.12 + 0.1 * line) * down
        end = start + across * rng.uniform(0.4, 0.75)
        cv2.line(colour, _pixel(start), _pixel(end), (110, 105, 105), 1, cv2.LINE_AA)
    scene.put(colour * scene.light.gain, cover)


def _draped(scene: Scene, bgr: Cloth, top: float, width: float, deep: float, over: bool) -> None:
    """Cloth around the neck from `top` at the middle line down.

    Args:
        scene: what to paint on.
        bgr: the flat cloth.
        top: height of its edge under the middle of the face, in the head's frame.
        width: half of its width.
        deep: how much higher it ends at the sides.
        over: whether it lies over the chin or behind it.
    """
    rng, unit = scene.rng, scene.unit
    outline = [(-width, top - deep), (-width * 0.6, top - deep * 0.4), (0, top),
               (width * 0.6, top - deep * 0.4), (width, top - deep),
               (width * 1.15, top + rng.uniform(0.4, 0.7)),
               (-width * 1.15, top + rng.uniform(0.4, 0.7))]  # fmt: skip
    cover = scene.blank()
    corners = np.array([scene.at(x, y) for x, y in outline])
    cv2.fillPoly(cover, [corners.astype(np.int32)], 1.0, cv2.LINE_AA)
    sheet = cv2.resize(bgr, (max(8, int(2.4 * width * unit)), max(8, int(unit))))
    x, y = scene.at(0, top - 0.25) - [1.2 * width * unit, 0]
    to = np.array([[1, 0, x], [0, 1, y]], np.float64)
    size_wh = cover.shape[1::-1]
    colour = cv2.warpAffine(sheet, to, size_wh, borderMode=cv2.BORDER_REFLECT)
    edge = cv2.GaussianBlur(cover, (0, 0), 0.05 * unit)
    colour = colour * (0.75 + 0.25 * edge[..., None]) * 255 * scene.light.gain * 0.9
    if not over:
        cover *= 1 - cv2.GaussianBlur(scene.head.filled(OVAL, cover.shape), (0, 0), 1.0)
    scene.put(colour, cover)


def _any_cloth(rng: Random) -> Cloth:
    bgr = (cloth(rng) if rng.random() < 0.8 else surgical(rng)).bgr
    return crumpled(crumpled(bgr, rng, 0.35), rng, 0.2)


def _scarf(scene: Scene) -> None:
    """Around the neck, or up to the lower lip."""
    rng = scene.rng
    over = rng.random() < 0.5
    top = rng.uniform(0.86, 1.05) if over else rng.uniform(1.05, 1.2)
    width, deep = rng.uniform(0.65, 0.9), rng.uniform(0.05, 0.25)
    _draped(scene, _any_cloth(rng), top, width, deep, over)


def _collar(scene: Scene) -> None:
    """A turtleneck or a stand-up collar: narrow, one colour, behind the chin."""
    rng = scene.rng
    bgr = any_colour(rng) * np.ones((224, 320, 1), np.float32)
    if rng.random() < 0.6:  # ribs
        bgr = bgr * (1 + 0.06 * np.sin(np.arange(320) * rng.uniform(0.4, 0.9)))[None, :, None]
    bgr = crumpled(bgr.astype(np.float32), rng, 0.2)
    over = rng.random() < 0.25
    top = rng.uniform(0.92, 1.02) if over else rng.uniform(1.0, 1.2)
    _draped(scene, bgr, top, rng.uniform(0.55, 0.75), rng.uniform(0.05, 0.2), over)


def _flat_mask(scene: Scene, corners: Point, crease: float) -> None:
    """A mask that nobody wears, between four corners from its upper left one clockwise."""
    texture = scene.chest.draw(scene.rng)
    scene.name = texture.name
    bgr = crumpled(texture.bgr, scene.rng, crease)
    height, width = bgr.shape[:2]
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    to = cv2.getPerspectiveTransform(source, corners.astype(np.float32))
    size_wh = scene.canvas.shape[1::-1]
    rounded = np.zeros((height, width), np.float32)
    cv2.rectangle(rounded, (12, 12), (width - 13, height - 13), 1.0, -1)
    rounded = (cv2.GaussianBlur(rounded, (0, 0), 8) > 0.3).astype(np.float32)
    colour = cv2.warpPerspective(bgr, to, size_wh, flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(rounded, to, size_wh, flags=cv2.INTER_AREA)
    lit = colour.clip(0, 1) * 255 * scene.light.gain * 0.92
    scene.put(lit, cover.astype(np.float32))


def _line(scene: Scene, start: Point, end: Point) -> None:
    layer = scene.blank()
    thick = max(1, int(0.012 * scene.unit))
    cv2.line(layer, _pixel(start), _pixel(end), 1.0, thick, cv2.LINE_AA)
    lay_over(scene.canvas, np.full(3, 235.0) * scene.light.gain, layer)


def _hanging(scene: Scene) -> None:
    """On one ear, beside the face."""
    rng, unit, head = scene.rng, scene.unit, scene.head
    near = 0 if abs(head.yaw_deg) < 15 else int(np.sign(head.yaw_deg))
    side = near or int(rng.choice([-1, 1]))
    ear_local = head.local[LEFT_EAR if side < 0 else RIGHT_EAR]
    ear = head.to_picture(ear_local + np.array([side * 0.05, 0.25, 0]))[:2]
    w, h = unit * rng.uniform(0.28, 0.5), unit * rng.uniform(0.55, 0.9)
    corners = np.array(
        [[0, 0], [w, rng.uniform(-0.06, 0.06) * h], [w * rng.uniform(0.8, 1), h],
         [rng.uniform(0, 0.15) * w, h * rng.uniform(0.9, 1)]]
    ) @ _rotation(rng.normal(0, 0.12)).T  # fmt: skip
    corners += ear + np.array([-w / 2 + side * w * 0.35, unit * rng.uniform(0.12, 0.3)])
    for corner in corners[:2]:
        _line(scene, corner, ear - [0, 0.25 * unit])
    turned = corners[[1, 2, 3, 0]] if rng.random() < 0.8 else corners
    _flat_mask(scene, turned, 0.25)


def _held(scene: Scene) -> None:
    """In a hand before or beside the face, away from it."""
    rng, unit = scene.rng, scene.unit
    side = int(rng.choice([-1, 1]))
    centre = scene.at(side * rng.uniform(0.05, 0.70), rng.uniform(0.50, 1.15))
    w, h = unit * rng.uniform(0.45, 0.65), unit * rng.uniform(0.30, 0.42)
    turn = _rotation(rng.normal(0, 0.35))
    corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) * rng.uniform(0.85, 1.1, (4, 1))
    corners[[0, 3] if side > 0 else [1, 2]] *= [[rng.uniform(0.7, 1), rng.uniform(0.8, 1.1)]]
    for corner in corners[:2] if rng.random() < 0.6 else []:
        bow = corner + np.array([np.sign(corner[0]) * 0.25 * unit, 0.15 * unit])
        _line(scene, corner @ turn.T + centre, bow @ turn.T + centre)
    _flat_mask(scene, corners @ turn.T + centre, rng.uniform(0.08, 0.3))
    grip = np.array([side * w * rng.uniform(0.85, 1.05), h * rng.uniform(-0.3, 0.8)])
    angle = math.pi * (side > 0) + rng.normal(0, 0.3) - side * rng.uniform(0, 0.9) * -1
    from_ = grip @ turn.T + centre + np.array([math.cos(angle), math.sin(angle)]) * -0.12 * unit
    _paint_hand(scene, from_, angle, int(rng.integers(2, 5)))


@dataclass(frozen=True, slots=True)
class Negative:
    """One kind: how it is drawn, and how often against the other variants."""

    draw: Callable[[Scene], None]
    share: float


NEGATIVES: dict[str, Negative] = {
    "hanging": Negative(_hanging, 0.02),
    "held": Negative(_held, 0.05),
    "hand": Negative(_hand, 0.025),
    "cup": Negative(_cup, 0.01),
    "phone": Negative(_phone, 0.01),
    "paper": Negative(_paper, 0.015),
    "scarf": Negative(_scarf, 0.03),
    "collar": Negative(_collar, 0.025),
}
