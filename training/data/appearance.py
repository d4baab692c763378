"""Ways a face can show itself to a camera at a door: turned, in other light, moving."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.models.letterbox import BORDER_GREY
from mask_gate.training.data.samples import Sample

Image = NDArray[np.uint8]

# Most heads lean a little; few people lie down or hang upside down.
TURN_SPREAD_DEG = 25.0
QUARTER_TURN_SHARE = 0.06


def turn(sample: Sample, degrees: float) -> Sample:
    """The sample turned about its middle, anticlockwise, on a canvas that holds all of it.

    A head is nearer to an ellipse than to its box: a box becomes that of the ellipse within it,
    turned, which keeps boxes from growing with the angle.
    """
    height, width = sample.size_hw
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cos, sin = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = int(height * sin + width * cos), int(height * cos + width * sin)
    matrix[:, 2] += (np.array(size) - np.array([width, height])) / 2
    grey = (BORDER_GREY,) * 3
    image = cv2.warpAffine(sample.image, matrix, size, borderValue=grey)
    middle = (sample.boxes_xyxy[:, :2] + sample.boxes_xyxy[:, 2:]) / 2
    half = (sample.boxes_xyxy[:, 2:] - sample.boxes_xyxy[:, :2]) / 2
    moved = middle @ matrix[:, :2].T + matrix[:, 2]
    reach = np.hypot(half * cos, half[:, ::-1] * sin)
    boxes = np.concatenate([moved - reach, moved + reach], 1).astype(np.float32)
    return replace(sample, image=np.asarray(image, np.uint8), boxes_xyxy=boxes)


def random_turn(sample: Sample, largest_deg: float, rng: np.random.Generator) -> Sample:
    """Turned by an angle as heads at a door have it, now and then by a quarter or a half."""
    if rng.random() < QUARTER_TURN_SHARE:
        return turn(sample, float(rng.choice([90, -90, 180])))
    return turn(sample, float(np.clip(rng.normal(0, TURN_SPREAD_DEG), -largest_deg, largest_deg)))


def relight(image: Image, rng: np.random.Generator) -> Image:
    """The image in another light: one of six, by chance."""
    kind = rng.choice(6, p=[0.4, 0.15, 0.15, 0.12, 0.09, 0.09])
    if kind == 0:
        return tint(image, np.exp(rng.normal(0, 0.28, 3)))
    if kind == 1:
        return gamma(image, float(np.exp(rng.normal(0, 0.5))))
    if kind == 2:
        lifted = float(rng.choice([1.0, rng.uniform(1.0, 6.0)]))
        return darken(image, float(rng.uniform(0.1, 0.5)), float(rng.uniform(2, 8)), lifted, rng)
    if kind == 3:
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        return np.asarray(cv2.merge([grey, grey, grey]), np.uint8)
    if kind == 4:
        return backlight(image, float(rng.uniform(0.25, 0.6)), float(rng.uniform(60, 160)))
    return shade(image, float(rng.uniform(0.25, 0.7)), float(rng.uniform(0, 2 * np.pi)))


def tint(image: Image, gains_bgr: NDArray[np.float64]) -> Image:
    """Each channel multiplied: coloured lamps, a wrong white balance."""
    tables = (np.arange(256)[:, None] * gains_bgr).clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, tables[:, None, :].transpose(1, 0, 2)), np.uint8)


def gamma(image: Image, exponent: float) -> Image:
    """Brightness to a power: darker above 1, washed out below."""
    table = (255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table), np.uint8)


def darken(
    image: Image, share: float, noise: float, gain: float, rng: np.random.Generator
) -> Image:
    """A dark room: `share` of the light, the sensor's noise, and what its gain makes of both."""
    grain = rng.standard_normal(image.shape, np.float32) * np.float32(noise)
    return np.asarray(((image * np.float32(share) + grain) * gain).clip(0, 255), np.uint8)


def backlight(image: Image, share: float, glare: float) -> Image:
    """A bright window behind: the picture dark, its upper part and edges glaring."""
    height, width = image.shape[:2]
    y = np.linspace(1, 0, height, dtype=np.float32)[:, None]
    x = np.abs(np.linspace(-1, 1, width, dtype=np.float32))[None]
    light = np.maximum(y, x) ** 2 * np.float32(glare)
    return np.asarray((image * np.float32(share) + light[..., None]).clip(0, 255), np.uint8)


def shade(image: Image, share: float, angle: float) -> Image:
    """Half of it in shadow: one side keeps `share` of its light, by a soft edge at `angle`."""
    height, width = image.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    edge = 1 / (1 + np.exp(-8 * (x * np.cos(angle) + y * np.sin(angle))))
    light = np.float32(share) + np.float32(1 - share) * edge
    return np.asarray(image * light[..., None], np.uint8)


def blur_by_motion(image: Image, length_px: int, angle: float) -> Image:
    """Moved by `length_px` along `angle` while the shutter was open."""
    side = max(3, length_px | 1)
    kernel = np.zeros((side, side), np.float32)
    reach = (side - 1) / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = (np.rint((side - 1) / 2 + sign * reach).astype(int) for sign in (-1, 1))
    cv2.line(kernel, tuple(map(int, start)), tuple(map(int, end)), 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.uint8)
