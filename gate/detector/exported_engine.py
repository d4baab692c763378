"""ExportedEngine: an exported detector, run on the CPU by ONNX Runtime or by OpenVINO."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.processor import has_vnni
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.export_metadata import ExportedFileError, ExportMetadata
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.files.openvino_file import OpenVinoFile, Precision, has_bfloat16


class ExportedFile(Protocol):
    """`models.files.onnx_file.OnnxFile` or `models.files.openvino_file.OpenVinoFile`."""

    about: ExportMetadata
    identity: str
    takes_trimmed: bool

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[1, H, W, 3] BGR to predictions [1, N, 5 + C]."""
        ...


def open_exported_engine(
    exported: Path, kind: EngineKind, input_size: int | None = None
) -> ExportedEngine:
    """The engine of an exported `.onnx` or `.xml`, which fits the digest beside it if there is one.

    Args:
        exported: the file.
        kind: ONNX, which reads `.onnx` only, or one of OpenVINO's.
        input_size: longer side of the pictures; None is that of the file.

    Raises:
        ModelError: the file cannot be used, or not at that size, or the processor lacks the
            precision.
    """
    if kind == EngineKind.OPENVINO_BF16 and not has_bfloat16():
        raise ModelError("engine openvino-bf16: this processor has no bfloat16; take openvino")
    threads = threads_wanted(os.environ)
    try:
        file: ExportedFile
        if kind == EngineKind.ONNX:
            file, ran_by = OnnxFile(exported, threads), "ONNX Runtime on cpu"
        elif kind == EngineKind.OPENVINO_BF16:
            file, ran_by = OpenVinoFile(exported, threads, "bf16"), "OpenVINO on cpu in bfloat16"
        elif kind == EngineKind.OPENVINO_INT8:
            # What is left in floating point may take bfloat16: it costs as little as by itself.
            rest: Precision = "bf16" if has_bfloat16() else "f32"
            file, ran_by = OpenVinoFile(exported, threads, rest), "OpenVINO on cpu in 8 bits"
        else:
            file, ran_by = OpenVinoFile(exported, threads), "OpenVINO on cpu"
    except ExportedFileError as error:
        raise ModelError(str(error)) from error
    if file.about.is_quantized and not has_vnni():
        raise ModelError(
            f"{exported}: calculates in 8 bits, wrongly on a processor without VNNI; give the "
            ".onnx or the .pth"
        )
    own = file.about.input_size
    if input_size not in (None, own) and not file.takes_trimmed:
        raise ModelError(
            f"{exported}: was exported for {own} px alone; export it again: mask-gate-export "
            "--weights FILE.pth"
        )
    return ExportedEngine(file, ran_by, input_size or own)


def threads_wanted(environment: Mapping[str, str]) -> int:
    """How many threads OMP_NUM_THREADS allows, as numeric libraries read it; 0 is their own choice.

    An idle thread of ONNX Runtime waits for the next picture by spinning, so that several gates on
    one machine are better off with one thread each.
    """
    said = environment.get("OMP_NUM_THREADS", "")
    return int(said) if said.isascii() and said.isdigit() else 0


class ExportedEngine:
    """See `gate.detector.engine.Engine`.

    Args:
        file: the opened file.
        ran_by: the library and device, for people.
        input_size: longer side of the pictures it is to be given.

    Attributes:
        identity: fingerprint of what was loaded.
        made_from: fingerprint of the checkpoint that it says to be made from.
    """

    def __init__(self, file: ExportedFile, ran_by: str, input_size: int) -> None:
        self.input_size = input_size
        self.takes_trimmed = file.takes_trimmed
        self.operating_point = file.about.operating_point
        self.identity = file.identity
        self.made_from = file.about.made_from
        self.name = f"{file.about.architecture} by {ran_by}, {input_size} px"
        self.batch_size = 1  # a batch gains nothing on a CPU, as measured in docs/benchmarks.md
        self._file = file
        self(np.zeros((self.input_size, self.input_size, 3), np.uint8))  # the first run is slow

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[H, W, 3] BGR to [N, 5 + C] predictions."""
        predictions: NDArray[np.float32] = self._file(picture[None])[0]
        return predictions

    def run_batch(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, H, W, 3] BGR to [B, N, 5 + C] predictions, one after the other."""
        return np.stack([self(picture).copy() for picture in pictures])
