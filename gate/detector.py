"""Detector: a weights file and frames in, Detections in frame pixels out."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gate.domain import Frame
from gate.errors import ModelError
from models.detections import Detections
from models.letterbox import Letterbox
from models.nms import suppress

# Used where the checkpoint brings none of its own. Low, because tracker and policy have thresholds
# of theirs, and an unsure face must reach them to count as doubt.
DEFAULT_SCORE_THRESHOLD = 0.1


class Engine(Protocol):
    """Runs a network on one letterboxed square.

    Attributes:
        input_size: side of the square in pixels.
        score_threshold: the checkpoint's operating point, if it brings one.
        name: what runs it and where, for people.
    """

    input_size: int
    score_threshold: float | None
    name: str

    def __call__(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[S, S, 3] BGR to [N, 5 + C] predictions (see `models.anchors.decode`)."""
        ...


class Detector:
    """The detector as the gate sees it.

    Args:
        weights: a checkpoint (see `models.weights_file`).
        device: `auto` takes CUDA where there is one, else the CPU; or `cpu`, `cuda`, `cuda:N`.
        score_threshold: lowest score of a face; the checkpoint's own when None.

    Attributes:
        model_id: fingerprint of the weights file, for events and audit.

    Raises:
        ModelError: the weights cannot be used, or the device is not there.
    """

    def __init__(
        self, weights: Path, device: str = "auto", score_threshold: float | None = None
    ) -> None:
        from gate.torch_engine import open_torch_engine  # slow to import; not needed for --help

        self.engine: Engine
        self.engine, self.model_id = open_torch_engine(weights, device)
        own = self.engine.score_threshold
        self.score_threshold = score_threshold or own or DEFAULT_SCORE_THRESHOLD
        self._letterbox: Letterbox | None = None

    def __call__(self, frame: Frame) -> Detections:
        """Faces in pixels of the frame, best first, one label each.

        Raises:
            ModelError: the network said something that is not a number; nothing of it counts.
        """
        size_hw = frame.image.shape[0], frame.image.shape[1]
        if self._letterbox is None or self._letterbox.source_hw != size_hw:
            self._letterbox = Letterbox(size_hw, self.engine.input_size)
        predictions = self.engine(self._letterbox.image(frame.image))
        if not np.isfinite(predictions).all():
            raise ModelError("the network's output is not finite; this frame does not count")
        found = suppress(predictions, self.score_threshold)
        boxes = self._letterbox.inverse_boxes(found.boxes_xyxy)
        return Detections(boxes, found.scores, found.labels, found.margins)
