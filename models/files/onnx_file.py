"""OnnxFile: an exported detector, opened with ONNX Runtime and checked; torch is not needed."""

from __future__ import annotations

import os
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.files.digest_file import check_digest
from mask_gate.models.files.export_metadata import (
    INPUT_NAME,
    METADATA_KEY,
    ExportedFileError,
    ExportMetadata,
    read_exported,
)
from mask_gate.models.files.fingerprint import fingerprint_of
from mask_gate.models.files.foreign_file import foreign


class OnnxFile:
    """A detector ready to run on the CPU.

    Args:
        path: written by `models.files.onnx_export`.
        threads: how many ONNX Runtime may use; its own choice when 0.

    Attributes:
        about: what the file says of itself.
        identity: fingerprint of what was read; later changes of the file change nothing here.
        takes_trimmed: whether pictures may be oblong; files of earlier versions take squares only.

    Raises:
        ExportedFileError: missing, damaged, other than the digest beside it says, not written by
            this project, or with other classes.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        if not path.is_file():
            raise ExportedFileError(
                f"{path}: no such file; give an exported .onnx or a .pth checkpoint"
            )
        content = read_exported(path)
        self.identity = fingerprint_of(content)
        check_digest(path, self.identity)
        onnxruntime = _runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            what = foreign(path) or "damaged or not an ONNX file; copy it again"
            raise ExportedFileError(f"{path}: {what}") from error
        stored = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        self.about = ExportMetadata.from_json(stored, path)
        # A side that any picture may have is a name there.
        self.takes_trimmed = isinstance(self._session.get_inputs()[0].shape[1], str)

    def __call__(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, H, W, 3] BGR to predictions [B, N, 5 + C]."""
        predictions: NDArray[np.float32] = self._session.run(None, {INPUT_NAME: pictures})[0]
        return predictions


def _runtime() -> ModuleType:
    """ONNX Runtime, kept from reporting to its makers, which it otherwise does from its import on.

    Its `disable_telemetry_events` comes too late: by then it has given the machine a number.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    module: ModuleType = onnxruntime
    return module
