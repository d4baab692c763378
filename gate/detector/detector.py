"""Detector: a weights file and frames in, Detections in frame pixels out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engines import open_engine
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.nms import suppress

# Used where the checkpoint brings none of its own. Low, because tracker and policy have thresholds
# of theirs, and an unsure face must reach them to count as doubt.
DEFAULT_SCORE_THRESHOLD = 0.1

_SIZES_KEPT = 16  # of frames, with what is prepared for each; cameras seldom differ in more


class Detector:
    """The detector as the gate sees it.

    Args:
        weights: a checkpoint (see `models.files.open_weights`) or an exported `.onnx` or `.xml`.
        device: `auto` takes CUDA where there is one, else the CPU; or `cpu`, `cuda`, `cuda:N`.
        score_threshold: lowest score of a face that counts as found; by default half of the
            weights' own `face_score` or `DEFAULT_SCORE_THRESHOLD`, whichever is lower.
        engine: what runs it.
        input_size: longer side of what it takes in pixels; by default that of the weights.

    Attributes:
        model_id: identity of the weights (see `gate.detector.engines`), for events and audit.

    Raises:
        ModelError: the weights cannot be used, or the device is not there.
    """

    def __init__(
        self,
        weights: Path,
        device: str = "auto",
        score_threshold: float | None = None,
        engine: EngineKind = EngineKind.AUTO,
        *,
        input_size: int | None = None,
    ) -> None:
        self.engine, self.model_id = open_engine(weights, device, engine, input_size)
        if score_threshold is None:
            score_threshold = DEFAULT_SCORE_THRESHOLD
            if (point := self.engine.operating_point) is not None:
                score_threshold = min(point.face_score / 2, score_threshold)
        self.score_threshold = score_threshold
        self._fits: dict[tuple[int, int], tuple[Letterbox, NDArray[np.uint8]]] = {}

    @property
    def batch_size(self) -> int:
        """Of so many frames that wait, `run_batch` makes one model call."""
        return self.engine.batch_size

    def __call__(self, frame: Frame) -> Detections:
        """Faces in pixels of the frame, best first, one label each.

        Raises:
            ModelError: the network said something that is not a number; nothing of it counts.
        """
        box, canvas = self._fit(frame)
        return self._read(self.engine(box.image(frame.image, canvas)), box)

    def run_batch(self, frames: Sequence[Frame]) -> list[Detections | ModelError]:
        """The same for at least one frame, in one model call; each its faces or why it has none."""
        boxes = [self._fit(frame)[0] for frame in frames]
        pictures = [box.image(frame.image) for box, frame in zip(boxes, frames, strict=True)]
        # Trimmed ones may differ in size; what takes them gains nothing by a batch.
        told: Iterable[NDArray[np.float32]] = map(self.engine, pictures)
        if not self.engine.takes_trimmed:
            told = self.engine.run_batch(np.stack(pictures))
        found: list[Detections | ModelError] = []
        for predictions, box in zip(told, boxes, strict=True):
            try:
                found.append(self._read(predictions, box))
            except ModelError as error:
                found.append(error)
        return found

    def _fit(self, frame: Frame) -> tuple[Letterbox, NDArray[np.uint8]]:
        """What fits frames of this size into the network, and a canvas to be written over."""
        size_hw = frame.image.shape[0], frame.image.shape[1]
        if size_hw not in self._fits:
            if len(self._fits) >= _SIZES_KEPT:
                self._fits.clear()
            trimmed = self.engine.takes_trimmed
            box = Letterbox(size_hw, self.engine.input_size, trimmed=trimmed)
            self._fits[size_hw] = box, box.canvas()
        return self._fits[size_hw]

    def _read(self, predictions: NDArray[np.float32], box: Letterbox) -> Detections:
        if not np.isfinite(predictions).all():
            raise ModelError("the network's output is not finite; this frame does not count")
        found = suppress(predictions, self.score_threshold)
        boxes = box.inverse_boxes(found.boxes_xyxy)
        # A box that lay in the grey bars has nothing left once it is clipped.
        inside = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return Detections(boxes, found.scores, found.labels, found.margins)[inside]
