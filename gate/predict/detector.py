"""Detector: weights and pictures in, Faces out; the part of mask-gate that other programs use."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mask_gate.gate.detector.detector import Detector as FrameDetector
from mask_gate.gate.domain import Frame, Image
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.predict.faces import Faces
from mask_gate.gate.predict.pictures import read_picture
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint
from mask_gate.models.shipped import BUNDLED_WEIGHTS

DEFAULT_SCORE = 0.3
"""Lowest score of a face that is shown, where weights say nothing of that."""


class Detector:
    """Finds faces in pictures and says how each wears its mask.

    It passes no self-test: half-trained weights, which a gate refuses, may be looked at.

    Args:
        weights: a checkpoint or an exported file; those that come with mask-gate by default.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        min_score: lowest score of a face; by default what the weights call a face, or .3.
        input_size: side in pixels of the square that the network looks at, a multiple of 32; by
            default the one it was trained for.

    Raises:
        ModelError: the weights cannot be used, the device is not there, or the size does not fit.
        ConfigError: `min_score` is not in 0..1.
    """

    def __init__(
        self,
        weights: str | Path | None = None,
        *,
        device: str = "auto",
        min_score: float | None = None,
        input_size: int | None = None,
    ) -> None:
        if min_score is not None and not 0 <= min_score <= 1:
            raise ConfigError(f"min_score: expected a number in 0..1, got {min_score}")
        path = BUNDLED_WEIGHTS if weights is None else Path(weights)
        self._detector = FrameDetector(path, device, input_size=input_size)
        if min_score is None:
            point = self._detector.engine.operating_point
            min_score = DEFAULT_SCORE if point is None else point.face_score
        self.min_score = min_score
        # A gate's tracker weighs faces that are too unsure to be shown.
        self._detector.score_threshold = min(self._detector.score_threshold, min_score)

    @property
    def name(self) -> str:
        """What runs it, for people."""
        return self._detector.engine.name

    @property
    def model_id(self) -> str:
        """Fingerprint of the weights file."""
        return self._detector.model_id

    @property
    def operating_point(self) -> OperatingPoint | None:
        """The thresholds that the weights bring, if they do."""
        return self._detector.engine.operating_point

    def __call__(self, image: Image | str | Path) -> Faces:
        """The faces of a picture.

        Args:
            image: [H, W, 3] uint8 BGR as OpenCV reads it (RGB: `image[..., ::-1]`), or a file.

        Raises:
            CameraError: the file cannot be read.
            ValueError: the array is of another shape or type.
        """
        if isinstance(image, str | Path):
            image = read_picture(Path(image))
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise ValueError(
                f"expected a picture [H, W, 3] of uint8, BGR; got {image.shape} of {image.dtype}"
            )
        found = self.detect(Frame(image, 0.0, 0))
        return Faces(image, found[found.scores >= self.min_score])

    def detect(self, frame: Frame) -> Detections:
        """All that a gate wants to know of a frame, also faces below `min_score`."""
        return self._detector(frame)
