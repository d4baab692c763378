"""Presentations: the ways in which a face can show itself to a camera, as functions on pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.models.letterbox import BORDER_GREY
from mask_gate.training.data.samples import Sample

Image = NDArray[np.uint8]
Floats = NDArray[np.floating]
Light = Callable[[Floats, Floats, np.random.Generator], Floats]
"""(picture [S, S, 3] in 0..255 BGR, box xyxy of the face, chance) to the picture in that light."""

FACE = 0.25
"""Longer side of a face in parts of the picture, unless the way says another."""


def _as_it_is(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    return image


@dataclass(frozen=True, slots=True)
class Presentation:
    """One way.

    Attributes:
        name: what tables call it.
        degrees: by which the picture is turned about the face, counter-clockwise.
        face: longer side of the upright face, in parts of the picture's side.
        light: what light and camera make of the picture.
        is_core: whether it is one of the thirteen that every gate meets, which have totals of
            their own.
    """

    name: str
    degrees: float = 0.0
    face: float = FACE
    light: Light = _as_it_is
    is_core: bool = False


def present(
    sample: Sample, face: int, way: Presentation, size: int, rng: np.random.Generator
) -> Sample:
    """A square picture with one face of a sample in its middle, shown in one way.

    Where the sample ends there is the grey of a letterbox: a mirrored rest would show more faces.
    The box is that of the ellipse in the
    labelled box, turned with the picture.

    Args:
        sample: the picture it comes from.
        face: which of its faces.
        way: how it is shown.
        size: side of the square in pixels.
        rng: for grain.
    """
    x1, y1, x2, y2 = (float(corner) for corner in sample.boxes_xyxy[face])
    gain = way.face * size / max(x2 - x1, y2 - y1)
    image, scale = sample.image, 1.0
    if gain < 1.0:  # sampling alone would skip pixels and alias
        scale = gain
        image = np.asarray(
            cv2.resize(image, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA), np.uint8
        )
    centre = (x1 + x2) / 2 * scale, (y1 + y2) / 2 * scale
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, way.degrees, gain / scale), np.float64)
    matrix[:, 2] += size / 2 - np.array(centre)
    turned = cv2.warpAffine(
        image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(BORDER_GREY,) * 3
    )
    angle = np.radians(way.degrees)
    half_wh = np.array([x2 - x1, y2 - y1]) / 2 * gain
    half = np.hypot(half_wh * np.cos(angle), half_wh[::-1] * np.sin(angle))
    box = np.concatenate([size / 2 - half, size / 2 + half])
    lit = way.light(np.asarray(turned, np.float32), box, rng).clip(0, 255).astype(np.uint8)
    name = f"{sample.name}_{face} {way.name}"
    return Sample(lit, box[None].astype(np.float32), sample.labels[face : face + 1], name)


def colour_cast(blue: float, green: float, red: float) -> Light:
    """Light of one colour: a factor for each channel."""
    factors = np.array([blue, green, red], np.float32)
    return lambda image, box_xyxy, rng: image * factors


def grey(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """A camera without colours."""
    return _weighted(image, (0.114, 0.587, 0.299))


def infrared(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """A night camera with a lamp: skin is light, the edges are dark, there is grain."""
    lit = 255 * (_weighted(image, (0.05, 0.15, 0.8)) / 255) ** 0.7
    y, x = np.mgrid[-1 : 1 : image.shape[0] * 1j, -1 : 1 : image.shape[1] * 1j]
    return np.asarray(lit * (1.1 - 0.5 * (x**2 + y**2))[..., None] + _grain(image, 5, rng))


def dark(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """A seventh of the light, and the sensor's noise in it."""
    return np.asarray(image * 0.15 + _grain(image, 3, rng))


def bright(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """Overexposed: what was lighter than the middle is white."""
    return image * 1.2 + 90


def backlight(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """A bright door behind: the face is dark, and the light spills over its edge."""
    shade = _on_face(image, box_xyxy, 1.3, softness=0.12)
    return np.asarray(shade * image * 0.3 + (1 - shade) * (0.4 * image + 165) + 12)


def half_in_shadow(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """Light from one side: one half of the face keeps a fifth of it."""
    left, _, right, _ = box_xyxy
    across = (np.arange(image.shape[1]) - (left + right) / 2) / (0.06 * (right - left))
    light = 0.2 + 0.9 / (1 + np.exp(-across.clip(-30, 30)))
    return np.asarray(image * light[None, :, None])


def glasses_glare(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """Two lenses that mirror a window, each with its dark frame."""
    left, top, right, bottom = box_xyxy
    width, height = right - left, bottom - top
    drawn = image.copy()
    for side in (-1, 1):
        at = (round((left + right) / 2 + side * 0.22 * width), round(top + 0.38 * height))
        axes = (round(0.17 * width), round(0.11 * height))
        lens = np.zeros(image.shape[:2], np.float32)
        cv2.ellipse(lens, at, axes, 0, 0, 360, 0.8, cv2.FILLED)
        lens = np.asarray(cv2.GaussianBlur(lens, (0, 0), max(0.5, 0.03 * width)))
        drawn = drawn + lens[..., None] * (np.float32(245) - drawn)
        cv2.ellipse(drawn, at, axes, 0, 0, 360, (30, 30, 30), max(1, round(0.025 * width)))
    return drawn


def blurred(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """Out of focus."""
    sigma = 0.025 * float(box_xyxy[3] - box_xyxy[1])
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma))


def in_motion(image: Floats, box_xyxy: Floats, rng: np.random.Generator) -> Floats:
    """Smeared sideways by an eighth of the face."""
    length = max(3, round(0.125 * float(box_xyxy[2] - box_xyxy[0])))
    return np.asarray(cv2.blur(image, (length, 1)))


def _weighted(image: Floats, weights_bgr: tuple[float, float, float]) -> Floats:
    one = image @ np.array(weights_bgr, np.float32)
    return np.repeat(one[..., None], 3, 2)


def _grain(image: Floats, deviation: float, rng: np.random.Generator) -> Floats:
    return rng.standard_normal(image.shape, np.float32) * np.float32(deviation)


def _on_face(image: Floats, box_xyxy: Floats, reach: float, softness: float) -> Floats:
    """[S, S, 1] opacity: 1 on the ellipse in the box, made larger by `reach`, 0 far from it."""
    left, top, right, bottom = box_xyxy
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    away = np.hypot(
        (x - (left + right) / 2) / ((right - left) / 2 * reach),
        (y - (top + bottom) / 2) / ((bottom - top) / 2 * reach),
    )
    return np.asarray(1 / (1 + np.exp(((away - 1) / softness).clip(-30, 30))))[..., None]


WAYS: tuple[Presentation, ...] = (
    Presentation("upright", is_core=True),
    *(
        Presentation(f"tilted by {degrees:+d}", degrees, is_core=True)
        for degrees in (-60, -45, -30, 30, 45, 60)
    ),
    Presentation("turned by +90", 90),
    Presentation("turned by -90", -90),
    Presentation("upside down", 180),
    Presentation("blue light", light=colour_cast(1.5, 0.9, 0.6), is_core=True),
    Presentation("red light", light=colour_cast(0.6, 0.8, 1.5), is_core=True),
    Presentation("green light", light=colour_cast(0.7, 1.3, 0.7)),
    Presentation("grey", light=grey),
    Presentation("dark", light=dark, is_core=True),
    Presentation("infrared", light=infrared, is_core=True),
    Presentation("overexposed", light=bright),
    Presentation("backlight", light=backlight),
    Presentation("half in shadow", light=half_in_shadow),
    Presentation("glasses glare", light=glasses_glare),
    Presentation("blurred", light=blurred, is_core=True),
    Presentation("in motion", light=in_motion),
    Presentation("36 of 512 px", face=36 / 512, is_core=True),
    Presentation("far", face=0.053),  # the smallest that the gate heeds, in a picture of 4:3
    Presentation("near", face=0.7),
)
