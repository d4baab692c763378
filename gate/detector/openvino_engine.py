"""ExportedEngine by OpenVINO: runs an exported detector on the CPU; needs the extra `openvino`."""

from __future__ import annotations

from pathlib import Path

from mask_gate.gate.detector.exported_engine import ExportedEngine
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.openvino_file import OpenVinoFile, Precision, has_bfloat16


def open_openvino_engine(
    exported: Path, precision: Precision = "f32", threads: int = 0
) -> ExportedEngine:
    """The engine of an exported `.onnx` or `.xml`.

    Raises:
        ModelError: the file cannot be used, or the processor lacks the precision.
    """
    if precision == "bf16" and not has_bfloat16():
        raise ModelError("engine openvino-bf16: this processor has no bfloat16; take openvino")
    ran_by = "OpenVINO on cpu" + (" in bfloat16" if precision == "bf16" else "")
    try:
        return ExportedEngine(OpenVinoFile(exported, threads, precision), ran_by)
    except ExportedFileError as error:
        raise ModelError(str(error)) from error
