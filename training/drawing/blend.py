"""Blend: what is drawn takes on the light, the sharpness and the grain of its place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.drawing.head import CHIN, OVAL, Head
from mask_gate.training.drawing.landmarks import LEFT_EYE, RIGHT_EYE

Picture = NDArray[np.uint8]
Layer = NDArray[np.float32]
WHITE = 218.0  # what a white wall has in a well-lit picture


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """How the picture is lit and how sharp it is at a face.

    Attributes:
        shade: [H, W] light on the face against its median.
        gain: how bright white cloth would be, 1 in a well-lit picture.
        tint: [3] BGR colour of the light.
        skin: [3] BGR, 0 to 255.
        blur_px: sigma of the picture's own blur.
        grain: sigma of its noise, 0 to 255.
    """

    shade: Layer
    gain: float
    tint: NDArray[np.float64]
    skin: NDArray[np.float64]
    blur_px: float
    grain: float


def light_at(picture: Picture, head: Head) -> Light:
    """Measure light, blur and grain where the face is."""
    unit = head.unit_px
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.float32)
    face = head.filled(OVAL, picture.shape[:2]) > 0
    weight = face.astype(np.float32)
    throat = np.zeros_like(weight)
    x, y = head.points[CHIN, :2]
    axes = int(0.4 * unit), int(0.35 * unit)
    cv2.ellipse(throat, (int(x), int(y + 0.1 * unit)), axes, 0, 0, 360, 0.4, -1)
    weight = np.maximum(weight, throat) + np.float32(1e-3)
    low = cv2.GaussianBlur(grey * weight, (0, 0), 0.11 * unit)
    low = np.asarray(low / cv2.GaussianBlur(weight, (0, 0), 0.11 * unit), np.float32)
    reference = float(np.median(low[face])) if face.any() else 128.0
    brightest, tint = _white(picture, head)
    skin = np.median(picture[face], 0) if face.any() else np.full(3, 128.0)
    rough = np.abs(grey - cv2.medianBlur(cv2.convertScaleAbs(grey), 3).astype(np.float32))[face]
    return Light(
        (low / max(reference, 20)).clip(0.4, 1.45),
        float(np.clip(brightest / WHITE, 0.25, 1.08)),
        tint,
        skin,
        _blur_px(grey, head),
        float(np.clip(1.2 * np.median(rough), 0.6, 5)) if rough.size else 1.0,
    )


def _white(picture: Picture, head: Head) -> tuple[float, NDArray[np.float64]]:
    """How bright the brightest pixels around the face are, and their colour."""
    unit, xy = head.unit_px, head.points[:, :2]
    x0, y0 = np.maximum(xy.min(0) - 0.5 * unit, 0).astype(int)
    x1, y1 = (xy.max(0) + 0.8 * unit).astype(int)
    around = picture[y0:y1, x0:x1].reshape(-1, 3).astype(np.float32)
    if not len(around):
        return WHITE, np.ones(3)
    grey = around.mean(1)
    brightest = float(np.percentile(grey, 96))
    white = around[grey >= brightest].mean(0).astype(np.float64)
    return brightest, 1 + 0.5 * ((white / max(white.mean(), 1)).clip(0.85, 1.15) - 1)


def _blur_px(grey: Layer, head: Head) -> float:
    """The blur of the picture, from how steep the edges of the eyes are."""
    unit = head.unit_px
    (x0, y0), (x1, _) = head.points[LEFT_EYE, :2], head.points[RIGHT_EYE, :2]
    top, left = int(max(0, y0 - 0.15 * unit)), int(max(0, min(x0, x1) - 0.1 * unit))
    eyes = grey[top : int(y0 + 0.15 * unit), left : int(max(x0, x1) + 0.1 * unit)]
    if eyes.size < 50:
        return 0.5
    steepest = np.percentile(np.abs(cv2.Sobel(eyes, cv2.CV_32F, 1, 0, ksize=3)) / 4, 99)
    contrast = np.percentile(eyes, 98) - np.percentile(eyes, 2)
    return float(np.clip(contrast / (2.6 * steepest + 1) - 0.55, 0.25, 2.2))


def cast_shadow(
    canvas: Layer, cover: Layer, shift_px: tuple[int, int], blur_px: float, depth: float
) -> None:
    """Darken the canvas below what will be laid onto it.

    Args:
        canvas: [H, W, 3], changed in place.
        cover: [H, W] 0 to 1, what casts the shadow.
        shift_px: how far the shadow falls down and to the right.
        blur_px: sigma of its edge.
        depth: share of the light that it takes.
    """
    fallen = np.maximum(moved(cover, *shift_px), cover)
    canvas *= 1 - (depth * cv2.GaussianBlur(fallen, (0, 0), max(blur_px, 0.3)))[..., None]


def moved(layer: Layer, down: int, right: int) -> Layer:
    """The layer moved by whole pixels; what comes in from outside is 0."""
    to = np.array([[1, 0, right], [0, 1, down]], np.float64)
    return cv2.warpAffine(layer, to, layer.shape[1::-1]).astype(np.float32)


def lay_over(canvas: Layer, colour: Layer | NDArray[np.float64], cover: Layer) -> None:
    """Mix a colour into the canvas, in place."""
    canvas += (colour - canvas) * cover[..., None]


def grainy(colour: Layer, light: Light, rng: np.random.Generator) -> Layer:
    """The colour with the picture's grain, then its blur."""
    grain = rng.standard_normal(colour.shape[:2]).astype(np.float32) * light.grain * 0.9
    out = colour + grain[..., None]
    if light.blur_px > 0.35:
        out = cv2.GaussianBlur(out, (0, 0), light.blur_px)
    return np.asarray(out, np.float32)
