"""ExportedEngine by ONNX Runtime: runs an exported detector on the CPU; starts without torch."""

from __future__ import annotations

from pathlib import Path

from mask_gate.gate.detector.exported_engine import ExportedEngine
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.onnx_file import OnnxFile


def open_onnx_engine(exported: Path, threads: int = 0) -> ExportedEngine:
    """The engine of an exported `.onnx`.

    Raises:
        ModelError: the file cannot be used.
    """
    try:
        return ExportedEngine(OnnxFile(exported, threads), "ONNX Runtime on cpu")
    except ExportedFileError as error:
        raise ModelError(str(error)) from error
