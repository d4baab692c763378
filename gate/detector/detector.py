"""Detector: a weights file and frames in, Detections in frame pixels out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.detector.engine import Engine, EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.nms import suppress

log = logging.getLogger(__name__)

# Used where the checkpoint brings none of its own. Low, because tracker and policy have thresholds
# of theirs, and an unsure face must reach them to count as doubt.
DEFAULT_SCORE_THRESHOLD = 0.1

_EXPORTED = (".onnx", ".xml")
_NEEDS_TORCH = "needs PyTorch: pip install 'mask-gate[cuda]'"
_SIZES_KEPT = 16  # of frames, with what is prepared for each; cameras seldom differ in more


def open_engine(
    weights: Path, device: str, wanted: EngineKind = EngineKind.AUTO
) -> tuple[Engine, str]:
    """What runs a weights file on a device, and the file's fingerprint.

    On a CPU, ONNX Runtime and OpenVINO run exported files, and checkpoints that have an exported
    twin beside them (same name, `.onnx`, made from this very file); torch runs checkpoints.

    Args:
        weights: a checkpoint, or an exported `.onnx` or `.xml`.
        device: as in `Detector`.
        wanted: AUTO takes the fastest, which is measured once (see `gate.detector.engine_choice`).

    Raises:
        ModelError: the weights cannot be used, or the engine or the device is not there.
    """
    if not weights.is_file():
        raise ModelError(f"{weights}: no such file; give a .pth checkpoint or an exported .onnx")
    identity = fingerprint(weights)
    is_exported = weights.suffix in _EXPORTED
    if device == "cpu" or (device == "auto" and (is_exported or not _cuda_wanted())):
        exported = weights if is_exported else _twin(weights, identity)
        kinds = _able(weights, exported)
        if wanted == EngineKind.AUTO:
            wanted = EngineChoice(choice_file())(weights, identity, kinds)
        elif wanted not in kinds:
            raise ModelError(_why_not(weights, wanted))
        if exported is not None and wanted != EngineKind.TORCH:
            return _open_exported(exported, wanted), identity
    elif is_exported:
        raise ModelError(f"{weights}: exported files run on the CPU; give a .pth for {device}")
    elif wanted not in (EngineKind.AUTO, EngineKind.TORCH):
        raise ModelError(f"engine {wanted} runs on the CPU; take torch for {device}")
    elif not _is_installed("torch"):
        raise ModelError(f"device {device} {_NEEDS_TORCH}")
    from mask_gate.gate.detector.torch_engine import (
        open_torch_engine,  # seconds to import, so only where needed
    )

    return open_torch_engine(weights, device), identity


def _twin(weights: Path, identity: str) -> Path | None:
    """The exported file made from these weights, if it lies beside them."""
    twin = weights.with_suffix(".onnx")
    if not twin.is_file():
        return None
    if identity.encode() in twin.read_bytes():  # its metadata names what it was made from
        return twin
    log.warning("%s was exported from another checkpoint and is left alone", twin)
    return None


def _able(weights: Path, exported: Path | None) -> tuple[EngineKind, ...]:
    """What can run a file on a CPU here, the default first."""
    kinds = []
    if exported is not None and exported.suffix == ".onnx":
        kinds.append(EngineKind.ONNX)
    if exported is not None and _is_installed("openvino"):
        kinds += [EngineKind.OPENVINO, EngineKind.OPENVINO_BF16]
    if weights.suffix not in _EXPORTED and _is_installed("torch"):
        kinds.append(EngineKind.TORCH)
    if not kinds:
        lacks = EngineKind.OPENVINO if weights.suffix in _EXPORTED else EngineKind.TORCH
        raise ModelError(_why_not(weights, lacks))
    return tuple(kinds)


def _why_not(weights: Path, wanted: EngineKind) -> str:
    if wanted == EngineKind.TORCH:
        if weights.suffix in _EXPORTED:
            return f"{weights}: exported files are not for engine torch; give the .pth checkpoint"
        return (
            f"{weights} {_NEEDS_TORCH}; or give the .onnx that mask-gate-export makes of it "
            "on another machine"
        )
    if wanted != EngineKind.ONNX and not _is_installed("openvino"):
        return f"engine {wanted} is not installed: pip install openvino"
    return (
        f"{weights}: engine {wanted} needs its exported twin: mask-gate-export --weights {weights}"
    )


def _open_exported(exported: Path, kind: EngineKind) -> Engine:
    # Each brings a library of its own, and only one is loaded.
    if kind == EngineKind.ONNX:
        from mask_gate.gate.detector.onnx_engine import open_onnx_engine

        return open_onnx_engine(exported)
    from mask_gate.gate.detector.openvino_engine import open_openvino_engine

    return open_openvino_engine(exported, "bf16" if kind == EngineKind.OPENVINO_BF16 else "f32")


def _is_installed(library: str) -> bool:
    return find_spec(library) is not None


def _cuda_wanted() -> bool:
    """Whether asking torch for CUDA is worth its import: there is a driver, and there is torch."""
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    if not _is_installed("torch"):
        log.warning("runs on the CPU, for CUDA %s", _NEEDS_TORCH)
        return False
    return True


class Detector:
    """The detector as the gate sees it.

    Args:
        weights: a checkpoint (see `models.files.open_weights`) or an exported `.onnx` or `.xml`.
        device: `auto` takes CUDA where there is one, else the CPU; or `cpu`, `cuda`, `cuda:N`.
        score_threshold: lowest score of a face that is told; by default half of the weights' own
            `face_score` or `DEFAULT_SCORE_THRESHOLD`, whichever is lower.
        engine: what runs it.

    Attributes:
        model_id: fingerprint of the weights file, for events and audit.

    Raises:
        ModelError: the weights cannot be used, or the device is not there.
    """

    def __init__(
        self,
        weights: Path,
        device: str = "auto",
        score_threshold: float | None = None,
        engine: EngineKind = EngineKind.AUTO,
    ) -> None:
        self.engine, self.model_id = open_engine(weights, device, engine)
        if score_threshold is None:
            score_threshold = DEFAULT_SCORE_THRESHOLD
            if (point := self.engine.operating_point) is not None:
                score_threshold = min(point.face_score / 2, score_threshold)
        self.score_threshold = score_threshold
        self._fits: dict[tuple[int, int], tuple[Letterbox, NDArray[np.uint8]]] = {}

    @property
    def at_once(self) -> int:
        """Of so many frames that wait, `together` makes one model call."""
        return self.engine.at_once

    def __call__(self, frame: Frame) -> Detections:
        """Faces in pixels of the frame, best first, one label each.

        Raises:
            ModelError: the network said something that is not a number; nothing of it counts.
        """
        box, square = self._fit(frame)
        return self._read(self.engine(box.image(frame.image, square)), box)

    def together(self, frames: Sequence[Frame]) -> list[Detections | ModelError]:
        """The same for at least one frame, in one model call; each its faces or why it has none."""
        boxes = [self._fit(frame)[0] for frame in frames]
        squares = [box.image(frame.image) for box, frame in zip(boxes, frames, strict=True)]
        found: list[Detections | ModelError] = []
        for predictions, box in zip(self.engine.together(np.stack(squares)), boxes, strict=True):
            try:
                found.append(self._read(predictions, box))
            except ModelError as error:
                found.append(error)
        return found

    def _fit(self, frame: Frame) -> tuple[Letterbox, NDArray[np.uint8]]:
        """What fits frames of this size into the network, and a square to be written over."""
        size_hw = frame.image.shape[0], frame.image.shape[1]
        if size_hw not in self._fits:
            if len(self._fits) >= _SIZES_KEPT:
                self._fits.clear()
            box = Letterbox(size_hw, self.engine.input_size)
            self._fits[size_hw] = box, box.square()
        return self._fits[size_hw]

    def _read(self, predictions: NDArray[np.float32], box: Letterbox) -> Detections:
        if not np.isfinite(predictions).all():
            raise ModelError("the network's output is not finite; this frame does not count")
        found = suppress(predictions, self.score_threshold)
        boxes = box.inverse_boxes(found.boxes_xyxy)
        # A box that lay in the grey bars has nothing left once it is clipped.
        inside = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        return Detections(boxes, found.scores, found.labels, found.margins)[inside]
