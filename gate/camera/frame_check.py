"""FrameCheck: says whether a frame is a live picture that evidence may be taken from."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mask_gate.gate.domain import Frame, Reason
from mask_gate.gate.picture_measure import measure
from mask_gate.models.section import Section

_ROW_WORDS = 256  # the fingerprint reads rows of so many 64-bit words
_Fingerprint = tuple[int, bytes]
_Weights = NDArray[np.uint64]


class FrameCheckConfig(Section):
    """What is still a picture; grey levels are 0..255 of the grey, downscaled frame."""

    min_side_px: int = Field(default=64, ge=1, description="a frame with a shorter side is refused")
    max_pixels: int = Field(
        default=3840 * 2160, ge=1, description="a frame with more pixels is refused"
    )
    black_level: float = Field(
        default=8.0, ge=0, le=255, description="mean grey at or below which a frame is black"
    )
    white_level: float = Field(
        default=247.0, ge=0, le=255, description="mean grey at or above which it is white"
    )
    flat_deviation: float = Field(
        default=3.0, ge=0, le=128, description="standard deviation of grey up to which it is flat"
    )
    min_sharpness: float = Field(
        default=5.0,
        ge=0,
        description="variance of the Laplacian below which it is blurred or covered",
    )
    bad_image_s: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="blurred for so long is BAD_IMAGE; the rest is at once",
    )
    frozen_s: float = Field(
        default=1.0, gt=0, le=60, description="the same pixels for longer is FROZEN"
    )
    loop_window_s: float = Field(
        default=600.0,
        ge=0,
        le=3600,
        description="a frame whose very pixels were seen within so many seconds is a repeat, and "
        "no evidence; 0: nothing is, for a clip that plays in a loop on purpose",
    )
    loop_frames: int = Field(
        default=3,
        ge=1,
        le=1000,
        description="so many repeats in a row are FROZEN: a recording played to the camera",
    )
    loop_memory: int = Field(
        default=65536, ge=1, le=1_000_000, description="frames remembered at most, the newest"
    )

    @model_validator(mode="after")
    def _ordered(self) -> FrameCheckConfig:
        if self.black_level >= self.white_level:
            raise ValueError(f"black_level: expected less than white_level ({self.white_level})")
        return self


class FrameCheck:
    """Looks at every frame before the detector does.

    Three answers, from worst to best:

    - a `Reason`: the frame is a fault (`FROZEN`, `BAD_IMAGE`); decide FAULT, detect nothing.
    - None with `repeated`: not a new picture, so no evidence; skip it, which renews no lease.
      Seen too often it becomes FROZEN.
    - None: a live picture.

    Black, white and flat frames, wrong shapes, a change of size and a time stamp that does not
    advance are faults at once, each by itself; blur is one only when it lasts.
    """

    def __init__(self, config: FrameCheckConfig) -> None:
        self._config = config
        self._time_s = -math.inf
        self._size_hw: tuple[int, int] | None = None
        self._weights = _fingerprint_weights(0)
        self._newest: _Fingerprint | None = None
        self._unchanged_since_s = -math.inf
        self._blurred_since_s: float | None = None
        self._seen_s: dict[_Fingerprint, float] = {}  # oldest first
        self._repeats = 0
        self._repeated = False

    @property
    def repeated(self) -> bool:
        """Whether the frame last inspected was, pixel for pixel, one already seen."""
        return self._repeated

    def inspect(self, frame: Frame) -> Reason | None:
        """Judge one frame, in the order in which the camera gave them.

        Returns:
            BAD_IMAGE or FROZEN for a fault, else None; then see `repeated`.
        """
        self._repeated = False
        if not (math.isfinite(frame.time_s) and frame.time_s > self._time_s):
            return Reason.FROZEN
        self._time_s = frame.time_s
        image = frame.image
        if not self._is_picture(image) or self._has_new_size(image) or self._is_dull(image):
            return Reason.BAD_IMAGE
        return self._liveness(_fingerprint(image, self._weights))

    def _is_picture(self, image: NDArray[np.uint8]) -> bool:
        """Whether the array is what a camera gives: [H, W, 3] uint8 of a sensible size."""
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            return False
        if image.ndim != 3 or image.shape[2] != 3 or min(image.shape) == 0:
            return False
        height, width, _ = image.shape
        large_enough = min(height, width) >= self._config.min_side_px
        return bool(large_enough and height * width <= self._config.max_pixels)

    def _has_new_size(self, image: NDArray[np.uint8]) -> bool:
        """Whether the camera changed its picture size; patience with blur begins anew then."""
        size_hw = image.shape[0], image.shape[1]
        if size_hw == self._size_hw:
            return False
        is_first = self._size_hw is None
        self._size_hw = size_hw
        self._weights = _fingerprint_weights(image.size)
        self._blurred_since_s = None
        return not is_first

    def _is_dull(self, image: NDArray[np.uint8]) -> bool:
        """Whether the frame is black, white or flat, or has long been blurred or covered."""
        brightness, deviation, sharpness = measure(image)
        if (
            not self._config.black_level < brightness < self._config.white_level
            or deviation <= self._config.flat_deviation
        ):
            return True
        if sharpness >= self._config.min_sharpness:
            self._blurred_since_s = None
            return False
        if self._blurred_since_s is None:
            self._blurred_since_s = self._time_s
        return self._time_s - self._blurred_since_s >= self._config.bad_image_s

    def _liveness(self, fingerprint: _Fingerprint) -> Reason | None:
        """Tell a frozen or replayed picture from a live one."""
        now_s = self._time_s
        known = self._has_seen(fingerprint, now_s)
        if fingerprint == self._newest:
            self._repeated = True
            frozen = now_s - self._unchanged_since_s > self._config.frozen_s
            return Reason.FROZEN if frozen else None
        self._newest, self._unchanged_since_s = fingerprint, now_s
        self._repeated = known
        self._repeats = self._repeats + 1 if known else 0
        return Reason.FROZEN if self._repeats >= self._config.loop_frames else None

    def _has_seen(self, fingerprint: _Fingerprint, now_s: float) -> bool:
        """Whether the frame came within the loop window; remembers it, forgets the oldest."""
        if self._config.loop_window_s == 0:
            return False
        known = self._seen_s.pop(fingerprint, -math.inf) >= now_s - self._config.loop_window_s
        self._seen_s[fingerprint] = now_s
        oldest, oldest_s = next(iter(self._seen_s.items()))
        while (
            now_s - oldest_s > self._config.loop_window_s
            or len(self._seen_s) > self._config.loop_memory
        ):
            del self._seen_s[oldest]
            oldest, oldest_s = next(iter(self._seen_s.items()))
        return known


def _fingerprint_weights(count: int) -> tuple[_Weights, _Weights]:
    """Fixed odd weights for the 64-bit words of `count` bytes: of a word in its row, of a row."""
    rows = count // (8 * _ROW_WORDS) + 1  # the last one is cut short
    words = np.random.default_rng(0).integers(0, 2**64, _ROW_WORDS + rows, np.uint64) | np.uint64(1)
    return words[:_ROW_WORDS], words[_ROW_WORDS:]


def _fingerprint(image: NDArray[np.uint8], weights: tuple[_Weights, _Weights]) -> _Fingerprint:
    """A number for these exact pixels: their 64-bit words, weighted and summed modulo 2**64.

    Equal pixels always have equal fingerprints. A word's weight is that of its place in a row of
    words times that of the row; as both are odd, a change within one word always shows, and changes
    all over the picture go unseen once in about 2**60. A weight of its own for each word would
    double what is read, and reading is what takes the time.
    """
    in_row, of_row = weights
    pixels = np.ascontiguousarray(image).reshape(-1)
    words = pixels[: pixels.size // 8 * 8].view(np.uint64)
    whole = (len(of_row) - 1) * _ROW_WORDS
    sums = np.empty_like(of_row)
    np.einsum("ij,j->i", words[:whole].reshape(-1, _ROW_WORDS), in_row, out=sums[:-1])
    sums[-1] = np.dot(words[whole:], in_row[: len(words) - whole])
    return int(np.dot(sums, of_row)), pixels[words.size * 8 :].tobytes()
