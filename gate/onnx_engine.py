"""ExportedEngine by ONNX Runtime: runs an exported detector on the CPU; starts without torch."""

from __future__ import annotations

from pathlib import Path

from gate.errors import ModelError
from gate.exported_engine import ExportedEngine
from models.export_metadata import ExportedFileError
from models.onnx_file import OnnxFile


def open_onnx_engine(exported: Path, threads: int = 0) -> ExportedEngine:
    """The engine of an exported `.onnx`.

    Raises:
        ModelError: the file cannot be used.
    """
    try:
        return ExportedEngine(OnnxFile(exported, threads), "ONNX Runtime on cpu")
    except ExportedFileError as error:
        raise ModelError(str(error)) from error
