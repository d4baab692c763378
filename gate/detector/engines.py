"""Engines: which of them runs a weights file on a device, and how it is opened."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from mask_gate.gate.detector.engine import Engine, EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file
from mask_gate.gate.detector.exported_engine import open_exported_engine
from mask_gate.gate.detector.processor import has_vnni
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.digest_file import check_digest, digest_file
from mask_gate.models.files.export_metadata import ExportedFileError, read_exported
from mask_gate.models.files.fingerprint import fingerprint, fingerprint_of, joined
from mask_gate.models.files.foreign_file import foreign
from mask_gate.models.letterbox import INPUT_STEP, MAX_INPUT

log = logging.getLogger(__name__)

_EXPORTED = (".onnx", ".xml")
_NEEDS_TORCH = "needs PyTorch: pip install 'mask-gate[cuda]'"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What can run a weights file on a device.

    Attributes:
        identity: fingerprint of the file.
        kinds: the engines, at least one, the default first.
        exported: what ONNX Runtime and OpenVINO run: the file itself, or its exported twin.
        quantized: the twin that calculates in 8 bits.
    """

    identity: str
    kinds: tuple[EngineKind, ...]
    exported: Path | None = None
    quantized: Path | None = None

    def file_of(self, kind: EngineKind) -> Path | None:
        """What an engine runs; None for torch, which runs the weights themselves."""
        if kind == EngineKind.TORCH:
            return None
        return self.quantized if kind == EngineKind.OPENVINO_INT8 else self.exported


def engine_options(weights: Path, device: str, wanted: EngineKind) -> EngineOptions:
    """What can run a weights file on a device, loading nothing.

    On a CPU, ONNX Runtime and OpenVINO run exported files, and checkpoints that have an exported
    twin beside them (same name, `.onnx`, made from this very file, with its digest beside it);
    OpenVINO also a twin that calculates in 8 bits (`.int8.onnx`), on a processor that can; torch
    runs checkpoints.

    Args:
        weights: a checkpoint, or an exported `.onnx` or `.xml`.
        device: as in `Detector`.
        wanted: AUTO, or the only one that will do.

    Raises:
        ModelError: the weights cannot be used, or the engine or the device is not there.
    """
    if not weights.is_file():
        what = foreign(weights) or "no such file; give a .pth checkpoint or an exported .onnx"
        raise ModelError(f"{weights}: {what}")
    identity = _fingerprint(weights)
    is_exported = weights.suffix.lower() in _EXPORTED
    if device == "cpu" or (device == "auto" and (is_exported or not _cuda_wanted())):
        needs_twin = not is_exported and wanted != EngineKind.TORCH
        exported = _twin(weights, identity) if needs_twin else weights if is_exported else None
        may_quantize = needs_twin and wanted in (EngineKind.AUTO, EngineKind.OPENVINO_INT8)
        quantized = _twin(weights, identity, ".int8.onnx") if may_quantize else None
        kinds = _kinds_for(weights, exported, quantized)
        if wanted not in (EngineKind.AUTO, *kinds):
            raise ModelError(_why_not(weights, wanted))
        kinds = kinds if wanted == EngineKind.AUTO else (wanted,)
        return EngineOptions(identity, kinds, exported, quantized)
    if is_exported:
        raise ModelError(f"{weights}: exported files run on the CPU; give a .pth for {device}")
    if wanted not in (EngineKind.AUTO, EngineKind.TORCH):
        raise ModelError(f"engine {wanted} runs on the CPU; take torch for {device}")
    if not _is_installed("torch"):
        raise ModelError(f"device {device} {_NEEDS_TORCH}")
    return EngineOptions(identity, (EngineKind.TORCH,))


def open_engine(
    weights: Path,
    device: str,
    wanted: EngineKind = EngineKind.AUTO,
    input_size: int | None = None,
) -> tuple[Engine, str]:
    """What runs a weights file on a device, and the identity of the model.

    That is the file's fingerprint; where its exported twin runs, followed by the twin's own.

    Args:
        weights: as in `engine_options`.
        device: as in `Detector`.
        wanted: AUTO takes the fastest that is known (see `gate.detector.engine_choice`).
        input_size: longer side of the pictures; None is that of the weights.

    Raises:
        ModelError: the weights cannot be used, or not at that size, or the engine or the device is
            not there.
    """
    if input_size is not None and input_size not in range(INPUT_STEP, MAX_INPUT + 1, INPUT_STEP):
        raise ModelError(
            f"input size {input_size}: expected a multiple of {INPUT_STEP} up to {MAX_INPUT}"
        )
    options = engine_options(weights, device, wanted)
    kind = EngineChoice(choice_file()).known(options.identity, options.kinds)
    file = options.file_of(kind)
    if file is not None:
        engine = open_exported_engine(file, kind, input_size)
        if file == weights:
            return engine, engine.identity
        if engine.made_from != options.identity:
            raise ModelError(f"{file}: was exchanged while it was read; start again")
        return engine, joined(options.identity, engine.identity)
    from mask_gate.gate.detector.torch_engine import open_torch_engine  # takes seconds to import

    loaded = open_torch_engine(weights, device, input_size)
    if _fingerprint(weights) != options.identity:
        raise ModelError(f"{weights}: was exchanged while it was read; start again")
    return loaded, options.identity


def _fingerprint(path: Path) -> str:
    try:
        return fingerprint(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check its rights") from None


def _twin(weights: Path, identity: str, suffix: str = ".onnx") -> Path | None:
    """The exported file made from these weights, if it lies beside them with its digest.

    Raises:
        ModelError: it does not fit its digest.
    """
    twin = weights.with_suffix(suffix)
    if not twin.is_file():
        return None
    try:
        content = read_exported(twin)
        if identity.encode() not in content:  # its metadata names what it was made from
            log.warning("%s was exported from another checkpoint and is left alone", twin)
            return None
        if check_digest(twin, fingerprint_of(content)):
            return twin
    except ExportedFileError as error:
        raise ModelError(str(error)) from error
    log.warning(
        "%s has no %s beside it and is left alone; mask-gate-export writes both",
        twin,
        digest_file(twin).name,
    )
    return None


def _kinds_for(
    weights: Path, exported: Path | None, quantized: Path | None
) -> tuple[EngineKind, ...]:
    """What can run a file on a CPU here, the default first."""
    kinds = []
    if exported is not None and exported.suffix.lower() == ".onnx":
        kinds.append(EngineKind.ONNX)
    if exported is not None and _is_installed("openvino"):
        kinds += [EngineKind.OPENVINO, EngineKind.OPENVINO_BF16]
    if quantized is not None and _is_installed("openvino") and has_vnni():
        kinds.append(EngineKind.OPENVINO_INT8)
    if weights.suffix.lower() not in _EXPORTED and _is_installed("torch"):
        kinds.append(EngineKind.TORCH)
    if not kinds:
        missing = EngineKind.OPENVINO if weights.suffix.lower() in _EXPORTED else EngineKind.TORCH
        raise ModelError(_why_not(weights, missing))
    return tuple(kinds)


def _why_not(weights: Path, wanted: EngineKind) -> str:
    if wanted == EngineKind.TORCH:
        if weights.suffix.lower() in _EXPORTED:
            return f"{weights}: exported files are not for engine torch; give the .pth checkpoint"
        return (
            f"{weights} {_NEEDS_TORCH}; or give the .onnx that mask-gate-export makes of it "
            "on another machine"
        )
    if wanted != EngineKind.ONNX and not _is_installed("openvino"):
        return f"engine {wanted} is not installed: pip install openvino"
    if wanted == EngineKind.OPENVINO_INT8:
        if not has_vnni():
            return f"engine {wanted}: this processor has no VNNI; take openvino"
        return (
            f"{weights}: engine {wanted} needs its twin in 8 bits: mask-gate-export --int8 "
            f"--weights {weights.with_suffix('.pth')} --data DATA"
        )
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
