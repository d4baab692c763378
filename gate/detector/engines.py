"""Engines: which of them runs a weights file on a device, and how it is opened."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from mask_gate.gate.detector.engine import Engine, EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file
from mask_gate.gate.detector.exported_engine import open_exported_engine
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.fingerprint import fingerprint

log = logging.getLogger(__name__)

_EXPORTED = (".onnx", ".xml")
_NEEDS_TORCH = "needs PyTorch: pip install 'mask-gate[cuda]'"


def open_engine(
    weights: Path,
    device: str,
    wanted: EngineKind = EngineKind.AUTO,
    input_size: int | None = None,
) -> tuple[Engine, str]:
    """What runs a weights file on a device, and the file's fingerprint.

    On a CPU, ONNX Runtime and OpenVINO run exported files, and checkpoints that have an exported
    twin beside them (same name, `.onnx`, made from this very file); torch runs checkpoints.

    Args:
        weights: a checkpoint, or an exported `.onnx` or `.xml`.
        device: as in `Detector`.
        wanted: AUTO takes the fastest, which is measured once (see `gate.detector.engine_choice`).
        input_size: side of the square in pixels, where it is to be another than that of the
            weights; needs PyTorch and a checkpoint, for exported files have theirs for good.

    Raises:
        ModelError: the weights cannot be used, or the engine or the device is not there.
    """
    if not weights.is_file():
        raise ModelError(f"{weights}: no such file; give a .pth checkpoint or an exported .onnx")
    identity = fingerprint(weights)
    is_exported = weights.suffix in _EXPORTED
    if input_size is not None:
        return _open_resized(weights, device, input_size), identity
    if device == "cpu" or (device == "auto" and (is_exported or not _cuda_wanted())):
        exported = weights if is_exported else _twin(weights, identity)
        kinds = _kinds_for(weights, exported)
        if wanted == EngineKind.AUTO:
            wanted = EngineChoice(choice_file())(weights, identity, kinds)
        elif wanted not in kinds:
            raise ModelError(_why_not(weights, wanted))
        if exported is not None and wanted != EngineKind.TORCH:
            return open_exported_engine(exported, wanted), identity
    elif is_exported:
        raise ModelError(f"{weights}: exported files run on the CPU; give a .pth for {device}")
    elif wanted not in (EngineKind.AUTO, EngineKind.TORCH):
        raise ModelError(f"engine {wanted} runs on the CPU; take torch for {device}")
    elif not _is_installed("torch"):
        raise ModelError(f"device {device} {_NEEDS_TORCH}")
    from mask_gate.gate.detector.torch_engine import open_torch_engine  # takes seconds to import

    return open_torch_engine(weights, device), identity


def _open_resized(weights: Path, device: str, input_size: int) -> Engine:
    if weights.suffix in _EXPORTED:
        raise ModelError(f"{weights}: an exported file has one input size; give the .pth")
    if not _is_installed("torch"):
        raise ModelError(f"another input size {_NEEDS_TORCH}")
    from mask_gate.gate.detector.torch_engine import open_torch_engine  # takes seconds to import

    return open_torch_engine(weights, device, input_size)


def _twin(weights: Path, identity: str) -> Path | None:
    """The exported file made from these weights, if it lies beside them."""
    twin = weights.with_suffix(".onnx")
    if not twin.is_file():
        return None
    if identity.encode() in twin.read_bytes():  # its metadata names what it was made from
        return twin
    log.warning("%s was exported from another checkpoint and is left alone", twin)
    return None


def _kinds_for(weights: Path, exported: Path | None) -> tuple[EngineKind, ...]:
    """What can run a file on a CPU here, the default first."""
    kinds = []
    if exported is not None and exported.suffix == ".onnx":
        kinds.append(EngineKind.ONNX)
    if exported is not None and _is_installed("openvino"):
        kinds += [EngineKind.OPENVINO, EngineKind.OPENVINO_BF16]
    if weights.suffix not in _EXPORTED and _is_installed("torch"):
        kinds.append(EngineKind.TORCH)
    if not kinds:
        missing = EngineKind.OPENVINO if weights.suffix in _EXPORTED else EngineKind.TORCH
        raise ModelError(_why_not(weights, missing))
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
