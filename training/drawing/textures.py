"""Textures: the flat cloth of masks that nobody photographed, drawn by chance.

A texture is [H, W, 3] float32 BGR from 0 to about 1; its rows run from a mask's upper edge to its
lower one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 224
Cloth = NDArray[np.float32]
Random = np.random.Generator

SURGICAL = {
    "white": "f2f4f4", "lightblue": "9fcbe6", "blue": "5fa6d6", "green": "8fc9b4",
    "teal": "5fb7b0", "black": "26272a", "pink": "efb3c2", "grey": "a3a7ab", "lilac": "b9a6d9",
    "navy": "2b3a63",
}  # fmt: skip
SURGICAL_SHARES = [0.15, 0.15, 0.13, 0.09, 0.07, 0.13, 0.08, 0.08, 0.06, 0.06]
CLOTH = [
    "f4f4f0", "1d1d20", "23345f", "7d1f2c", "9b9ca0", "d9c7a8", "2f5a45", "c23b3b", "e0a63a",
    "4f86b8", "6b4a8a", "e6a0b4", "5c4636", "87a08b", "3f4348", "f0e2d0", "0f6e74", "d5d9dd",
]  # fmt: skip
RESPIRATORS = ["f3f3f1", "f3f3f1", "f3f3f1", "2b2b2e", "b7babd", "e9b9c6", "7fa9c9", "e8ddc8"]


@dataclass(frozen=True, slots=True, eq=False)
class Texture:
    """The flat picture of a mask.

    Attributes:
        name: what it is, as `labels.json` tells it.
        bgr: its pixels.
        is_soft: cloth that can be crumpled, not a stiff respirator.
    """

    name: str
    bgr: Cloth
    is_soft: bool = True


def colour(code: str) -> Cloth:
    """[3] BGR, 0 to 1, of six hexadecimal digits RRGGBB."""
    return np.array([int(code[i : i + 2], 16) / 255 for i in (4, 2, 0)], np.float32)


def any_colour(rng: Random) -> Cloth:
    """One of the colours that cloth has."""
    return colour(CLOTH[int(rng.integers(len(CLOTH)))])


def soft_noise(rng: Random, height: int, width: int, cell_px: float) -> Cloth:
    """[H, W] noise of about unit strength whose grains are `cell_px` large."""
    size = max(2, int(height / cell_px) + 2), max(2, int(width / cell_px) + 2)
    grains = rng.standard_normal(size).astype(np.float32)
    return cv2.resize(grains, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def surgical(rng: Random) -> Texture:
    """A pleated mask of fleece with pressed edges."""
    names = list(SURGICAL)
    name = names[int(rng.choice(len(names), p=SURGICAL_SHARES))]
    tint = colour(SURGICAL[name]) * rng.uniform(0.95, 1.08) + rng.normal(0, 0.015, 3)
    u, v = _across(), _down()
    shade = np.ones((HEIGHT, WIDTH))
    pleats, apart = int(rng.integers(2, 5)), rng.uniform(0.15, 0.24)
    downwards = 1 if rng.random() < 0.8 else -1
    for i in range(pleats):
        off = i - (pleats - 1) / 2
        y = 0.5 + off * apart + 0.035 * u**2 * np.sign(off + 0.01) + rng.uniform(-0.01, 0.01)
        below = (v - y) * downwards
        shade *= (
            1
            - rng.uniform(0.10, 0.22) * np.exp(-((below / 0.012) ** 2))
            - rng.uniform(0.05, 0.11) * np.where(below > 0, np.exp(-below.clip(0) / 0.05), 0)
            + 0.05 * np.where(below < 0, np.exp(below.clip(None, 0) / 0.03), 0)
        )
    for distance, depth, width in (
        (v - 0.045, 0.07, 0.012), (v - 0.09, 0.06, 0.006), (v - 0.96, 0.06, 0.008),
        (np.abs(u) - 0.955, 0.10, 0.008), (np.abs(u) - 0.93, 0.05, 0.006),
    ):  # fmt: skip
        shade = shade * (1 - depth * np.exp(-((distance / width) ** 2)))
    shade += 0.012 * soft_noise(rng, HEIGHT, WIDTH, 3) + 0.02 * soft_noise(rng, HEIGHT, WIDTH, 40)
    cloth = tint.clip(0, 1) * shade[..., None]
    if rng.random() < 0.45 and name not in ("white", "black"):
        border = (v < 0.055) | (np.abs(u) > 0.965) | (v > 0.965)
        cloth = np.where(border[..., None], cloth * 0.35 + 0.62, cloth)
    return Texture(f"surgical {name}", cloth.astype(np.float32))


def cloth(rng: Random) -> Texture:
    """A sewn mask of plain or printed cloth."""
    kind = list(PRINTS)[int(rng.integers(len(PRINTS)))]
    ground, print_ = any_colour(rng), any_colour(rng)
    while np.abs(ground - print_).sum() < 0.5:
        print_ = any_colour(rng)
    pattern = PRINTS[kind](rng)
    bgr = ground * (1 - pattern[..., None]) + print_ * pattern[..., None]
    bgr = cv2.GaussianBlur(bgr.astype(np.float32), (0, 0), 0.7) * _sewn(rng)[..., None]
    return Texture(f"cloth {kind}", bgr.astype(np.float32))


def respirator(rng: Random) -> Texture:
    """A stiff mask: folded along the middle (KN95) or of three panels (FFP2)."""
    tint = colour(RESPIRATORS[int(rng.integers(len(RESPIRATORS)))])
    u, v = _across(), _down()
    shade = (
        1 + 0.012 * soft_noise(rng, HEIGHT, WIDTH, 2) + 0.02 * soft_noise(rng, HEIGHT, WIDTH, 60)
    )
    if rng.random() < 0.6:
        name, side = "kn95", rng.choice([-1, 1])
        shade = shade * (1 - 0.10 * np.tanh(u * side / 0.05))
        seam = 0.10 * np.exp(-((u / 0.01) ** 2)) - 0.12 * np.exp(
            -(((np.abs(u) - 0.04) / 0.008) ** 2)
        )
        welds = (np.mod(v * HEIGHT, 5) < 2) * np.exp(-(((np.abs(u) - 0.8) / 0.012) ** 2))
        shade = shade * (1 + seam) * (1 - 0.07 * welds)
    else:
        name, upper, lower = "ffp2", rng.uniform(0.27, 0.36), rng.uniform(0.62, 0.72)
        for y in (upper + 0.06 * u**2, lower - 0.06 * u**2):
            shade = shade * (1 - 0.22 * np.exp(-(((v - y) / 0.012) ** 2)))
        shade = shade * np.where(v < upper, 1.03, np.where(v > lower, 0.84, 1.0))
    stitches = (np.mod(u * 60, 2) < 1) * np.exp(-(((v - 0.06) / 0.01) ** 2))
    bgr = tint * (shade * (1 - 0.09 * stitches))[..., None]
    if rng.random() < 0.4:
        bgr = bgr * (1 - 0.6 * _stamp(rng)[..., None])
    return Texture(f"respirator {name}", bgr.astype(np.float32), is_soft=False)


def crumpled(bgr: Cloth, rng: Random, amount: float) -> Cloth:
    """The same cloth with curved soft creases, mostly across."""
    height, width = bgr.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shade = np.ones((height, width))
    for _ in range(int(rng.integers(2, 6))):
        slope, at = math.tan(rng.normal(0, 0.25)), rng.uniform(0.1, 0.9) * height
        bend = rng.uniform(-1, 1) * 0.0012
        off = x - width / 2
        d = (y - at - slope * off - bend * off**2) / rng.uniform(6, 16)
        reach = np.exp(
            -(((x - rng.uniform(0.1, 0.9) * width) / (rng.uniform(0.25, 0.9) * width)) ** 2)
        )
        fold = np.exp(-(d**2)) * np.tanh(d * 1.5) * 1.6 - 0.35 * np.exp(-((d * 2) ** 2))
        shade += amount * rng.uniform(0.4, 1) * reach * fold
    shade += amount * 0.25 * soft_noise(rng, height, width, 30)
    return np.asarray(bgr * shade.clip(0.45, 1.3)[..., None], np.float32)


def _across() -> NDArray[np.float64]:
    return np.linspace(-1, 1, WIDTH)[None]


def _down() -> NDArray[np.float64]:
    return np.linspace(0, 1, HEIGHT)[:, None]


def _sewn(rng: Random) -> Cloth:
    u, v = _across(), _down()
    shade = (
        1 + 0.025 * soft_noise(rng, HEIGHT, WIDTH, 2.2) + 0.03 * soft_noise(rng, HEIGHT, WIDTH, 50)
    )
    if rng.random() < 0.5:
        seam = -0.16 * np.exp(-((u / 0.012) ** 2)) + 0.06 * np.exp(-(((u - 0.03) / 0.02) ** 2))
        shade = shade * (1 + seam)
    pleats = (0.33, 0.58) if rng.random() < 0.35 else ()
    for distance, depth in [(v - y, 0.17) for y in pleats] + [(v - 0.05, 0.12), (v - 0.95, 0.12)]:
        shade = shade * (1 - depth * np.exp(-((distance / 0.012) ** 2)))
    return shade.astype(np.float32)


def _stamp(rng: Random) -> Cloth:
    ink = np.zeros((HEIGHT, WIDTH), np.uint8)
    for line in range(2):
        text = ("FFP2 NR", "KN95", "CE 2163", "GB2626")[int(rng.integers(4))]
        at = int(rng.uniform(195, 225)), 110 + 14 * line
        cv2.putText(ink, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.38, 255, 1, cv2.LINE_AA)
    return np.asarray(ink / 255, np.float32)


def _turned(rng: Random) -> tuple[Cloth, Cloth]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    a = rng.uniform(-0.5, 0.5)
    return x * math.cos(a) + y * math.sin(a), -x * math.sin(a) + y * math.cos(a)


def _plain(rng: Random) -> Cloth:
    return np.zeros((HEIGHT, WIDTH), np.float32)


def _stripes(rng: Random) -> Cloth:
    along = _turned(rng)[int(rng.random() < 0.6)]
    wave = np.sin(along * 2 * math.pi / rng.uniform(10, 34))
    return np.asarray(wave > rng.uniform(-0.3, 0.7), np.float32)


def _check(rng: Random) -> Cloth:
    x, y = _turned(rng)
    period = rng.uniform(10, 34)
    waves = [np.sin(axis * 2 * math.pi / period) > 0 for axis in (x, y)]
    return np.asarray(0.5 * waves[0] + 0.5 * waves[1], np.float32)


def _dots(rng: Random) -> Cloth:
    x, y = _turned(rng)
    period = rng.uniform(10, 34)
    row = np.floor(x / period) % 2
    dx, dy = np.mod(x, period) - period / 2, np.mod(y + row * period / 2, period) - period / 2
    return np.asarray(dx**2 + dy**2 < (period * rng.uniform(0.15, 0.36)) ** 2, np.float32)


def _flowers(rng: Random) -> Cloth:
    layer = np.zeros((HEIGHT, WIDTH), np.float32)
    for _ in range(int(rng.integers(15, 50))):
        x, y, r = rng.uniform(0, WIDTH), rng.uniform(0, HEIGHT), rng.uniform(5, 13)
        strength, turned = rng.uniform(0.4, 1), rng.uniform(0, 6)
        for petal in range(5):
            a = turned + petal * 2 * math.pi / 5
            at = int(x + 0.8 * r * math.cos(a)), int(y + 0.8 * r * math.sin(a))
            cv2.circle(layer, at, int(r * 0.5), strength, -1, cv2.LINE_AA)
        cv2.circle(layer, (int(x), int(y)), max(1, int(r * 0.3)), 0.2, -1, cv2.LINE_AA)
    return layer


def _camouflage(rng: Random) -> Cloth:
    large, small = (soft_noise(rng, HEIGHT, WIDTH, cell) for cell in (26, 20))
    return ((large > 0.2) * 0.6 + (small > 0.7) * 0.4).astype(np.float32)


def _melange(rng: Random) -> Cloth:
    return (0.5 + 0.35 * soft_noise(rng, HEIGHT, WIDTH, 3)).clip(0, 1).astype(np.float32)


def _halves(rng: Random) -> Cloth:
    """Two colours that meet across or along the mask."""
    x, y = _turned(rng)
    axis = (x, y)[int(rng.random() < 0.6)]
    return (axis > np.quantile(axis, rng.uniform(0.3, 0.7))).astype(np.float32)


PRINTS: dict[str, Callable[[Random], Cloth]] = {
    "plain": _plain,
    "stripes": _stripes,
    "check": _check,
    "dots": _dots,
    "flowers": _flowers,
    "camouflage": _camouflage,
    "melange": _melange,
    "halves": _halves,
}
