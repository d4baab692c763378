"""Masks: cloth with its loops, painted on a head the way somebody wears it."""

from __future__ import annotations

import cv2
import numpy as np

from mask_gate.training.drawing.blend import (
    Layer,
    Light,
    Picture,
    cast_shadow,
    grainy,
    lay_over,
    light_at,
    moved,
)
from mask_gate.training.drawing.head import LEFT_EAR, NOSE, OVAL, RIGHT_EAR, Head
from mask_gate.training.drawing.raster import Raster, rastered
from mask_gate.training.drawing.textures import WIDTH, Cloth, Random, Texture, crumpled
from mask_gate.training.drawing.wear import Surface, Way, surface

HIDDEN_EAR_DEG = 28  # turned further than this, the far ear is out of sight
WHITE_LOOP, BLACK_LOOP = np.array([0.93, 0.94, 0.95]), np.array([0.1, 0.1, 0.1])


def wear(
    picture: Picture, head: Head, way: Way, texture: Texture, rng: Random
) -> tuple[Picture, Layer]:
    """Put a mask on; returns the picture and how much of each pixel the cloth covers, 0 to 1."""
    light = light_at(picture, head)
    worn = surface(head, way.fit(head, rng), rng)
    raster = rastered(head, worn, picture.shape[:2])
    bgr = _creased(texture, way, rng)
    cover = _cover(raster, head, worn, light)
    sun = np.array([rng.normal(0, 0.25), -0.45, 0.85])
    cloth = _lit(_painted(bgr, raster), raster, cover, head, light, sun, worn, rng)
    canvas = picture.astype(np.float32)
    unit = head.unit_px
    if worn.fit.top > 0.4 and rng.random() < 0.4:
        gap = moved(cover, -max(1, int(rng.uniform(0.012, 0.035) * unit)), 0)
        slit = cv2.GaussianBlur((gap - cover).clip(0, 1), (0, 0), 0.010 * unit + 0.5)
        canvas *= 1 - (rng.uniform(0.25, 0.6) * slit)[..., None]
    fall = max(1, int(0.022 * unit)), int(sun[0] * 0.02 * unit)
    cast_shadow(canvas, cover, fall, 0.028 * unit, rng.uniform(0.25, 0.5))
    if rng.random() < 0.88:
        _paint_loops(canvas, head, worn, light, _loop_colour(bgr, rng), rng)
    lay_over(canvas, cloth, cover)
    return canvas.clip(0, 255).astype(np.uint8), cover


def _creased(texture: Texture, way: Way, rng: Random) -> Cloth:
    low, high = way.creased
    if texture.is_soft and (low > 0.1 or rng.random() < 0.75):
        return crumpled(texture.bgr, rng, rng.uniform(low, high))
    return texture.bgr


def _painted(bgr: Cloth, raster: Raster) -> Layer:
    """[H, W, 3] the texture where the raster shows it, 0 to 255."""
    seen = np.flatnonzero(raster.covered.any(0))
    width = seen[-1] - seen[0] if len(seen) else 1
    scale = float(np.clip(1.5 * width / WIDTH, 0.12, 1))
    small = cv2.resize(bgr, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    map_x, map_y = raster.across * (small.shape[1] - 1), raster.down * (small.shape[0] - 1)
    colour = cv2.remap(small, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(colour.clip(0, 1.05) * 255, np.float32)


def _cover(raster: Raster, head: Head, worn: Surface, light: Light) -> Layer:
    """Soft edges, and nothing over what stands before the mask."""
    soft = cv2.GaussianBlur(raster.covered, (0, 0), 0.9 + 0.5 * light.blur_px)
    cover = ((soft - 0.12) / 0.76).clip(0, 1)
    places = [] if worn.fit.hides_nose else NOSE
    places = places if worn.fit.hides_face else OVAL
    if places:
        free = head.filled(places, cover.shape)
        cover = cover * (1 - cv2.GaussianBlur(free, (0, 0), 0.8 + 0.5 * light.blur_px))
    return np.asarray(cover, np.float32)


def _lit(
    cloth: Layer,
    raster: Raster,
    cover: Layer,
    head: Head,
    light: Light,
    sun: Layer,
    worn: Surface,
    rng: Random,
) -> Layer:
    facing = np.abs(raster.normals @ (sun / np.linalg.norm(sun)))
    below_chin = worn.fit.top > 0.92
    shade = 0.57 + 0.42 * facing if below_chin else 0.64 + 0.44 * facing
    edge = cv2.GaussianBlur(cover, (0, 0), 0.035 * head.unit_px)
    shade = shade * (0.86 + 0.14 * (edge * 1.6 - 0.6).clip(0, 1))
    shade = shade * light.shade ** rng.uniform(0.45, 0.8) * light.gain * rng.uniform(0.93, 1.1)
    lit = cloth * shade[..., None] * light.tint
    lit = lit * 0.97 + 5 * light.gain  # no cloth is quite black
    lit += 0.04 * (light.skin - lit) * rng.uniform(0, 1)
    return grainy(lit.astype(np.float32), light, rng)


def _loop_colour(bgr: Cloth, rng: Random) -> Layer:
    own = bgr.mean((0, 1))
    if own.mean() < 0.22:
        return BLACK_LOOP
    if rng.random() < 0.72:
        return WHITE_LOOP
    return BLACK_LOOP if rng.random() < 0.6 else own


def _paint_loops(
    canvas: Layer, head: Head, worn: Surface, light: Light, colour: Layer, rng: Random
) -> None:
    """The bands from the corners of the mask to the ears that are in sight."""
    count, unit = 24, head.unit_px
    along = np.linspace(0, 1, count)[:, None]
    thick = max(1, round(unit * rng.uniform(0.010, 0.02)))
    under_hair = rng.random() < 0.35
    layer = np.zeros(canvas.shape[:2], np.float32)
    for side, column, ear in ((-1, 0, LEFT_EAR), (1, -1, RIGHT_EAR)):
        is_free = side < 0 and worn.fit.left_cut > -1
        if side * head.yaw_deg < -HIDDEN_EAR_DEG or is_free:
            continue
        heights = rng.uniform(-0.12, 0), rng.uniform(0.08, 0.25)
        for row, height, bow in ((0, heights[0], 0.03), (-1, heights[1], -0.03)):
            to = head.local[ear] + [side * rng.uniform(0.01, 0.05), height, -0.02]
            start = worn.grid[row, column] - [side * 0.02, 0, 0]
            middle = (start + to) / 2 + [side * 0.02, bow, 0.02]
            curve = (1 - along) ** 2 * start + 2 * along * (1 - along) * middle + along**2 * to
            if under_hair:
                curve = curve[: int(count * rng.uniform(0.35, 0.75))]
            xy = np.rint(head.to_picture(curve)[:, :2] * 8).astype(np.int32)
            cv2.polylines(layer, [xy], False, 1.0, thick, cv2.LINE_AA, 3)
    if not layer.any():
        return
    shadow = cv2.GaussianBlur(moved(layer, max(1, thick), 0), (0, 0), 0.8 + 0.4 * thick)
    canvas *= 1 - 0.28 * shadow[..., None]
    band = cv2.GaussianBlur(layer, (0, 0), max(0.4, light.blur_px * 0.8)) * 0.92
    lay_over(canvas, colour * 255 * light.gain * light.shade[..., None] ** 0.7, band)
