"""Detector: a weights file and frames in, Detections in frame pixels out."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gate.domain import Frame
from gate.errors import ModelError
from gate.onnx_engine import open_onnx_engine
from models.detections import Detections
from models.fingerprint import fingerprint
from models.letterbox import Letterbox
from models.nms import suppress

log = logging.getLogger(__name__)

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


def open_engine(weights: Path, device: str) -> tuple[Engine, str]:
    """What runs a weights file fastest on a device, and the file's fingerprint.

    On a CPU that is ONNX Runtime, where the file is an exported one or has an exported twin beside
    it (same name, `.onnx`, made from this very file); else torch.

    Raises:
        ModelError: the weights cannot be used, or the device is not there.
    """
    if not weights.is_file():
        raise ModelError(f"{weights}: no such file; give a .pth checkpoint or an exported .onnx")
    identity = fingerprint(weights)
    on_cpu = device == "cpu" or (device == "auto" and not _cuda_driver_present())
    if weights.suffix == ".onnx":
        if not on_cpu and device != "auto":
            raise ModelError(f"{weights}: exported files run on the CPU; give a .pth for {device}")
        return open_onnx_engine(weights), identity
    twin = weights.with_suffix(".onnx")
    if on_cpu and twin.is_file():
        engine = open_onnx_engine(twin)
        if engine.made_from == identity:
            return engine, identity
        log.warning("%s was exported from another checkpoint and is left alone", twin)
    from gate.torch_engine import open_torch_engine  # seconds to import, so only where needed

    return open_torch_engine(weights, device), identity


def _cuda_driver_present() -> bool:
    """Whether asking torch for CUDA is worth its import."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


class Detector:
    """The detector as the gate sees it.

    Args:
        weights: a checkpoint (see `models.weights_file`) or an exported `.onnx`.
        device: `auto` takes CUDA where there is one, else the CPU; or `cpu`, `cuda`, `cuda:N`.
        score_threshold: lowest score of a face that is told; by default the checkpoint's own or
            `DEFAULT_SCORE_THRESHOLD`, whichever is lower.

    Attributes:
        model_id: fingerprint of the weights file, for events and audit.

    Raises:
        ModelError: the weights cannot be used, or the device is not there.
    """

    def __init__(
        self, weights: Path, device: str = "auto", score_threshold: float | None = None
    ) -> None:
        self.engine, self.model_id = open_engine(weights, device)
        if score_threshold is None:
            own = self.engine.score_threshold
            score_threshold = min(own or DEFAULT_SCORE_THRESHOLD, DEFAULT_SCORE_THRESHOLD)
        self.score_threshold = score_threshold
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
        # A box that lay in the grey bars has nothing left once it is clipped.
        inside = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return Detections(boxes, found.scores, found.labels, found.margins)[inside]
