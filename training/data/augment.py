"""Augmentation: samples to one training image, every choice drawn from a given generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import MaskLabel
from mask_gate.models.letterbox import BORDER_GREY
from mask_gate.training.config import AugmentConfig
from mask_gate.training.data.appearance import blur_by_motion, random_turn, relight
from mask_gate.training.data.report_augment import gaussian_noise, scale_rotate
from mask_gate.training.data.samples import Sample

# A face of which less is left after cropping is no example of its class any more.
MIN_VISIBLE = 0.4
MIN_SIDE_PX = 4.0
# How far a pasted face may be scaled before it looks pasted.
PASTE_MAX_GAIN = 1.8

Image = NDArray[np.uint8]
Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels of the canvas


class Augmenter:
    """Makes training images of one square size out of samples.

    Args:
        config: what to do and how often.
        rare_faces: samples cropped around one face each, for `config.paste`.
    """

    def __init__(self, config: AugmentConfig, rare_faces: Sequence[Sample] = ()) -> None:
        self.config = config
        self.rare_faces = rare_faces

    def __call__(
        self,
        sample: Sample,
        others: Callable[[], Sample],
        size: int,
        rng: np.random.Generator,
        plain: bool = False,
    ) -> Sample:
        """One image [size, size, 3] with its faces.

        Args:
            sample: the image whose turn it is.
            others: draws a further image, for the mosaic.
            size: side in pixels.
            rng: the only source of chance.
            plain: leave out mosaic, focus and paste.
        """
        config = self.config
        large = not plain and config.large > 0 and rng.random() < config.large
        mosaic = not plain and not large and rng.random() < config.mosaic
        if config.report:
            sample = (sample, scale_rotate(sample), gaussian_noise(sample, rng))[rng.integers(3)]
        tiles = [sample] + [others() for _ in range(3 if mosaic else 0)]
        if config.turn:
            tiles = [
                random_turn(t, config.turn_deg, rng) if rng.random() < config.turn else t
                for t in tiles
            ]
        if not plain and self.rare_faces:
            tiles = [self._paste(t, rng) if rng.random() < config.paste else t for t in tiles]
        focus = 0.0 if plain else config.focus
        if mosaic:
            made = self._mosaic(tiles, size, focus, rng)
        elif large:
            low, high = (size * part for part in config.large_part)
            made = self._single(tiles[0], size, 1.0, rng, (low, high))
        else:
            made = self._single(tiles[0], size, focus, rng)
        if rng.random() < config.flip:
            made = flip(made)
        image = jitter_colour(made.image, config, rng)
        if rng.random() < config.degrade:
            image = degrade(image, rng)
        if config.light and rng.random() < config.light:
            image = relight(image, rng)
        return replace(made, image=image)

    def _single(
        self,
        sample: Sample,
        size: int,
        focus: float,
        rng: np.random.Generator,
        focus_px: tuple[float, float] | None = None,
    ) -> Sample:
        place = self._place(sample, (0, 0, size, size), size, focus, rng, focus_px)
        return compose([(sample, place)], size)

    def _mosaic(
        self, tiles: Sequence[Sample], size: int, focus: float, rng: np.random.Generator
    ) -> Sample:
        x, y = (int(v) for v in rng.uniform(0.3, 0.7, 2) * size)
        windows = ((0, 0, x, y), (x, 0, size, y), (0, y, x, size), (x, y, size, size))
        return compose(
            [(t, self._place(t, w, size, focus, rng)) for t, w in zip(tiles, windows, strict=True)],
            size,
        )

    def _place(
        self,
        sample: Sample,
        window: Window,
        size: int,
        focus: float,
        rng: np.random.Generator,
        focus_px: tuple[float, float] | None = None,
    ) -> tuple[Window, float, float, float]:
        """Where a sample goes: its window, zoom, and the shift of its origin on the canvas."""
        height, width = sample.size_hw
        gain = size / max(height, width) * float(np.exp(rng.uniform(*np.log(self.config.scale))))
        anchor = np.array([width, height]) / 2
        if len(sample.boxes_xyxy) and rng.random() < focus:
            box = sample.boxes_xyxy[rng.integers(len(sample.boxes_xyxy))]
            anchor = (box[:2] + box[2:]) / 2
            side = float(np.sqrt(max(1.0, np.prod(box[2:] - box[:2]))))
            sides_px = np.log(focus_px or self.config.focus_px)
            gain = float(np.exp(rng.uniform(*sides_px))) / side
            gain = min(gain, 4 * size / max(height, width))  # beyond, only blur is left to see
        middle = np.array([window[0] + window[2], window[1] + window[3]]) / 2
        shift = middle + rng.uniform(-1, 1, 2) * self.config.translate * size - anchor * gain
        return window, gain, float(shift[0]), float(shift[1])

    def _paste(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Replace one well-masked face by a rare one of like size."""
        slots = np.flatnonzero(sample.labels == MaskLabel.WITH_MASK)
        if not len(slots):
            return sample
        slot = int(rng.choice(slots))
        donor = self.rare_faces[int(rng.integers(len(self.rare_faces)))]
        return paste_face(sample, slot, donor)


def _image(array: NDArray[Any] | None) -> Image:
    """OpenCV's stubs know no element types; this says what comes back."""
    return np.asarray(array, np.uint8)


def compose(
    parts: Sequence[tuple[Sample, tuple[Window, float, float, float]]], size: int
) -> Sample:
    """Lay samples on one grey square, each zoomed, shifted and cut to its window."""
    canvas = np.full((size, size, 3), BORDER_GREY, np.uint8)
    boxes, labels, unknown = [], [], []
    for sample, (window, gain, shift_x, shift_y) in parts:
        left, top, right, bottom = window
        if right <= left or bottom <= top:
            continue
        image: Image = sample.image
        own_gain = gain
        if gain < 0.6:  # bilinear sampling alone would skip pixels and alias
            image = _image(cv2.resize(image, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA))
            own_gain = 1.0
        matrix = np.array([[own_gain, 0, shift_x - left], [0, own_gain, shift_y - top]], np.float64)
        cv2.warpAffine(
            image,
            matrix,
            (right - left, bottom - top),
            dst=canvas[top:bottom, left:right],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_TRANSPARENT,
        )
        moved = sample.boxes_xyxy * gain + np.array([shift_x, shift_y] * 2, np.float32)
        kept_boxes, kept = crop_boxes(moved, window)
        _cover(canvas, moved[~kept], window)
        boxes.append(kept_boxes)
        labels.append(sample.labels[kept])
        unknown.append(sample.unknown_of_each[kept])
    return Sample(
        canvas,
        np.concatenate(boxes) if boxes else np.zeros((0, 4), np.float32),
        np.concatenate(labels) if labels else np.zeros(0, np.int64),
        parts[0][0].name if parts else "",
        np.concatenate(unknown) if unknown else None,
    )


def _cover(canvas: NDArray[np.uint8], boxes_xyxy: NDArray[np.float32], window: Window) -> None:
    """Hide what is left of faces that are no examples: visible, they would teach "no face"."""
    left, top, right, bottom = window
    for box in boxes_xyxy.clip([left, top, left, top], [right, bottom, right, bottom]):
        x1, y1, x2, y2 = box.round().astype(int).tolist()
        canvas[y1:y2, x1:x2] = BORDER_GREY


def crop_boxes(
    boxes_xyxy: NDArray[np.float32], window: Window
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Clip boxes [N, 4] to a window; returns those still worth learning and the mask of them."""
    left, top, right, bottom = window
    clipped = boxes_xyxy.clip([left, top, left, top], [right, bottom, right, bottom])
    sides = clipped[:, 2:] - clipped[:, :2]
    whole = np.maximum((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1), 1e-6)
    kept = (sides.min(1, initial=np.inf) >= MIN_SIDE_PX) & (sides.prod(1) / whole >= MIN_VISIBLE)
    return clipped[kept].astype(np.float32), kept


def flip(sample: Sample) -> Sample:
    """Left becomes right, in pixels and boxes."""
    width = sample.image.shape[1]
    boxes = sample.boxes_xyxy.copy()
    boxes[:, [0, 2]] = width - sample.boxes_xyxy[:, [2, 0]]
    return replace(sample, image=_image(cv2.flip(sample.image, 1)), boxes_xyxy=boxes)


def jitter_colour(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Shift hue, stretch saturation and brightness, by look-up tables in HSV."""
    if not (config.hue or config.saturation or config.brightness):
        return image
    limits = np.array([config.hue, config.saturation, config.brightness])
    hue, saturation, value = rng.uniform(-1, 1, 3) * limits
    steps = np.arange(256)
    tables = (
        ((steps + hue * 180) % 180).astype(np.uint8),
        (steps * (1 + saturation)).clip(0, 255).astype(np.uint8),
        (steps * (1 + value)).clip(0, 255).astype(np.uint8),
    )
    moved = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_BGR2HSV), np.stack(tables, 1)[None])
    return _image(cv2.cvtColor(moved, cv2.COLOR_HSV2BGR))


def degrade(image: Image, rng: np.random.Generator) -> Image:
    """One of five faults of cheap cameras, by chance."""
    fault = int(rng.integers(5))
    if fault == 4:
        length_px = int(rng.integers(3, 14))
        return blur_by_motion(image, length_px, float(rng.uniform(0, np.pi)))
    if fault == 0:
        sigma = float(rng.uniform(0.5, 1.6))
        return _image(cv2.GaussianBlur(image, (0, 0), sigma))
    if fault == 1:
        noise = rng.normal(0, rng.uniform(3, 14), image.shape[:2])[..., None]
        return np.asarray((image + noise).clip(0, 255), np.uint8)
    if fault == 2:
        quality = int(rng.integers(25, 70))
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return _image(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
    height, width = image.shape[:2]
    gain = float(rng.uniform(0.4, 0.8))
    small = cv2.resize(image, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA)
    return _image(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def crop_face(sample: Sample, face: int, context: float = 0.15) -> Sample:
    """The image around one face, with that face only."""
    height, width = sample.size_hw
    x1, y1, x2, y2 = sample.boxes_xyxy[face]
    dx, dy = (x2 - x1) * context, (y2 - y1) * context
    left, top = int(max(0, x1 - dx)), int(max(0, y1 - dy))
    right, bottom = int(min(width, x2 + dx + 1)), int(min(height, y2 + dy + 1))
    box = sample.boxes_xyxy[face : face + 1] - np.array([left, top] * 2, np.float32)
    image = sample.image[top:bottom, left:right].copy()
    one = slice(face, face + 1)
    labels, unknown = sample.labels[one], sample.unknown_of_each[one]
    return Sample(image, box.astype(np.float32), labels, sample.name, unknown)


def paste_face(sample: Sample, slot: int, donor: Sample) -> Sample:
    """Lay a donor's face over the face at `slot`, edges feathered; unlike sizes change nothing."""
    x1, y1, x2, y2 = sample.boxes_xyxy[slot]
    donor_box = donor.boxes_xyxy[0]
    gain = float(np.sqrt(((x2 - x1) * (y2 - y1)) / np.prod(donor_box[2:] - donor_box[:2])))
    if not 1 / PASTE_MAX_GAIN <= gain <= PASTE_MAX_GAIN:
        return sample
    method = cv2.INTER_AREA if gain < 1 else cv2.INTER_LINEAR
    face = cv2.resize(donor.image, None, fx=gain, fy=gain, interpolation=method)
    box = donor_box * gain
    left = round(float((x1 + x2) / 2 - (box[0] + box[2]) / 2))
    top = round(float((y1 + y2) / 2 - (box[1] + box[3]) / 2))
    height, width = sample.size_hw
    if left < 0 or top < 0 or left + face.shape[1] > width or top + face.shape[0] > height:
        return sample
    image = sample.image.copy()
    region = image[top : top + face.shape[0], left : left + face.shape[1]]
    opacity = _oval(face.shape[0], face.shape[1])
    region[:] = (region + opacity * (face.astype(np.float32) - region)).astype(np.uint8)
    boxes, labels = sample.boxes_xyxy.copy(), sample.labels.copy()
    boxes[slot] = box + np.array([left, top] * 2, np.float32)
    unknown = sample.unknown_of_each.copy()
    labels[slot], unknown[slot] = donor.labels[0], donor.unknown_of_each[0]
    return Sample(image, boxes, labels, sample.name, unknown)


def _oval(height: int, width: int) -> NDArray[np.float32]:
    """Opacity [H, W, 1]: 1 inside an ellipse, falling to 0 at the edges."""
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None]
    distance = np.sqrt(x * x + y * y)
    return np.asarray(((1.05 - distance) / 0.25).clip(0, 1)[..., None], np.float32)
