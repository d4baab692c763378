"""Letterbox: one resize-and-pad rule for image and boxes, with its exact inverse."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

# Darknet fills the border with the middle of the range, which a trained trunk reads as nothing.
BORDER_GREY = 128

INPUT_STEP = 32
"""Sides of what a network takes are multiples of it, its coarsest stride."""

MAX_INPUT = 4096
"""Larger pictures are a slip: they would take all memory."""

# Shorter by longer side of the canvases there are: 16:9, 4:3 and square. Few, because some
# libraries compile a network anew, and keep it in memory, for each.
_CANVAS_SHAPES = (9 / 16, 3 / 4, 1.0)


class Letterbox:
    """Fit an image into a canvas without changing its shape, centred, grey bars around it.

    Training and the gate use this one object for pixels and boxes, so that they cannot drift apart.

    Args:
        source_hw: height and width of the images it takes.
        size: longer side of the canvas, in pixels; a multiple of `INPUT_STEP` where it is trimmed.
        trimmed: whether the canvas is the smallest of 16:9, 4:3 and square, lying or standing, that
            holds the image, instead of always the square: a network has less grey to compute.

    Attributes:
        source_hw: height and width of the images it takes.
        size: longer side of the canvas.
        canvas_hw: height and width of the canvas.

    Raises:
        ValueError: a side is not positive.
    """

    def __init__(self, source_hw: tuple[int, int], size: int, *, trimmed: bool = False) -> None:
        if min(*source_hw, size) < 1:
            raise ValueError(f"expected sides of at least 1 pixel, got {source_hw} into {size}")
        self.source_hw = source_hw
        self.size = size
        height, width = source_hw
        gain = size / max(source_hw)
        inner_h, inner_w = max(1, round(height * gain)), max(1, round(width * gain))
        self._inner_hw = inner_h, inner_w
        self.canvas_hw = size, size
        if trimmed:
            self.canvas_hw = _side_for(inner_h, size), _side_for(inner_w, size)
        canvas_h, canvas_w = self.canvas_hw
        self._top, self._left = (canvas_h - inner_h) // 2, (canvas_w - inner_w) // 2
        # Per axis, because rounding the inner size to whole pixels bends the two gains apart.
        self._gain = np.array([inner_w / width, inner_h / height] * 2, np.float32)
        self._shift = np.array([self._left, self._top] * 2, np.float32)

    @property
    def gain(self) -> float:
        """How many pixels of the canvas one source pixel becomes, along the width."""
        return float(self._gain[0])

    def canvas(self) -> NDArray[np.uint8]:
        """A grey [*canvas_hw, 3] to give to `image` again and again."""
        return np.full((*self.canvas_hw, 3), BORDER_GREY, np.uint8)

    def image(
        self, image: NDArray[np.uint8], canvas: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """[H, W, 3] to [*canvas_hw, 3].

        Args:
            image: of `source_hw`.
            canvas: made by `canvas`, written over and returned; a new one when None.

        Raises:
            ValueError: the image has another size than `source_hw`.
        """
        if image.shape[:2] != self.source_hw:
            raise ValueError(f"expected an image of {self.source_hw}, got {image.shape[:2]}")
        inner_h, inner_w = self._inner_hw
        canvas = self.canvas() if canvas is None else canvas
        inner = canvas[self._top : self._top + inner_h, self._left : self._left + inner_w]
        near = _halved(image, self.size)
        cv2.resize(near, (inner_w, inner_h), dst=inner, interpolation=cv2.INTER_LINEAR)
        return canvas

    def boxes(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, 4] in source pixels to [N, 4] in pixels of the canvas."""
        return np.asarray(boxes_xyxy * self._gain + self._shift, np.float32)

    def inverse_boxes(self, boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
        """[N, 4] in pixels of the canvas to [N, 4] in source pixels, clipped to the source."""
        height, width = self.source_hw
        boxes = (boxes_xyxy - self._shift) / self._gain
        return np.asarray(boxes.clip(0, np.array([width, height] * 2, np.float32)), np.float32)


def _side_for(inner: int, size: int) -> int:
    """The side of a canvas of that size which has room for `inner` pixels."""
    sides = (math.ceil(share * size / INPUT_STEP) * INPUT_STEP for share in _CANVAS_SHAPES)
    return next(side for side in sides if side >= inner)


def _halved(image: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The image, halved while it is twice as large as the square or more.

    So no pixel goes unread: halves are averages of four, and below a factor of two bilinear
    interpolation reaches every pixel. Averaging by that factor itself takes several times longer.
    """
    while max(image.shape[:2]) >= 2 * size and min(image.shape[:2]) >= 2:
        halves = image.shape[1] // 2, image.shape[0] // 2
        even = image[: 2 * halves[1], : 2 * halves[0]]
        image = np.asarray(cv2.resize(even, halves, interpolation=cv2.INTER_AREA), np.uint8)
    return image
