"""The report's two augmentations: smaller and turned, and noisy; boxes follow the pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.data.box_rules import MIN_SIDE_PX
from mask_gate.training.data.samples import Sample

SCALE = 0.7
ROTATION_DEG = 15.0
MAX_NOISE_SIGMA = 0.15 * 255
MIN_VISIBLE_SHARE = 0.4  # a face of which less is left in the picture is a sliver, no example

Outline = Literal["ellipse", "corners"]


def scale_rotate(
    sample: Sample,
    scale: float = SCALE,
    rotation_deg: float = ROTATION_DEG,
    outline: Outline = "ellipse",
) -> Sample:
    """Scale and turn the image about its centre, on black, in the same canvas.

    Args:
        sample: left as it is.
        scale: factor for both axes.
        rotation_deg: clockwise, in degrees.
        outline: what is turned inside a box to find its new one: "ellipse", the shape of a face,
            keeps boxes tight; "corners" encloses the turned rectangle, as the report's tool did
            (about a fifth too wide at 15 degrees).

    Returns:
        The new sample; faces that left the picture by more than 60 % are not in it.
    """
    height, width = sample.size_hw
    turn = _rotation(scale, rotation_deg)  # [2, 2]
    centre = np.array([width / 2, height / 2])
    # Box corners are continuous, pixel i covering i to i + 1; cv2 puts pixel centres on integers.
    pixel_centre = centre - 0.5
    matrix = np.column_stack([turn, pixel_centre - turn @ pixel_centre])
    image = cv2.warpAffine(sample.image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    boxes = _turned_boxes(sample.boxes_xyxy.astype(np.float64), turn, centre, outline)
    boxes_xyxy, keep = _visible(boxes, (width, height))
    labels, unknown = sample.labels[keep], sample.unknown_of_each[keep]
    return Sample(np.asarray(image, np.uint8), boxes_xyxy[keep], labels, sample.name, unknown)


def gaussian_noise(
    sample: Sample, rng: np.random.Generator, max_sigma: float = MAX_NOISE_SIGMA
) -> Sample:
    """Add Gaussian noise, the same to all three channels as in the report's tool.

    Args:
        sample: left as it is.
        rng: draws sigma evenly from 0 to `max_sigma`, then the noise.
        max_sigma: in grey levels of 255.
    """
    sigma = rng.uniform(0, max_sigma)
    noise = rng.normal(0, sigma, (*sample.size_hw, 1))
    image = np.clip(np.rint(sample.image + noise), 0, 255).astype(np.uint8)
    return replace(sample, image=image)


def _rotation(scale: float, rotation_deg: float) -> NDArray[np.float64]:
    """[2, 2] in image axes, y down, in which positive angles turn clockwise."""
    angle = np.deg2rad(rotation_deg)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _turned_boxes(
    boxes_xyxy: NDArray[np.float64],
    turn: NDArray[np.float64],
    centre: NDArray[np.float64],
    outline: Outline,
) -> NDArray[np.float64]:
    """The boxes [N, 4] around what was inside the given ones, turned about `centre` [2]."""
    middles = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    halves = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]) / 2
    middles = (middles - centre) @ turn.T + centre
    if outline == "ellipse":
        halves = np.sqrt(halves**2 @ (turn**2).T)
    else:
        halves = halves @ np.abs(turn).T
    return np.hstack([middles - halves, middles + halves])


def _visible(
    boxes_xyxy: NDArray[np.float64], size_wh: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The boxes cut at the picture's edge, to hundredths of a pixel, and which of them to keep."""
    limit = np.array(size_wh * 2, np.float64)
    cut = np.clip(boxes_xyxy, 0, limit).round(2)
    area = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    sides = cut[:, 2:] - cut[:, :2]
    keep = (sides >= MIN_SIDE_PX).all(axis=1) & (
        np.prod(sides, axis=1) >= MIN_VISIBLE_SHARE * np.maximum(area, 1e-9)
    )
    return cut.astype(np.float32), keep
