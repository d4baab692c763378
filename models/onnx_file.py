"""OnnxFile: an exported detector, opened with ONNX Runtime and checked; torch is not needed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from models.labels import CLASS_NAMES

FORMAT = "mask-gate onnx 1"
METADATA_KEY = "mask_gate"


class OnnxFileError(ValueError):
    """The file is not an exported detector that can be trusted; the message says why."""


class OnnxFile:
    """A detector ready to run on the CPU.

    Args:
        path: written by `models.export`.
        threads: how many ONNX Runtime may use; its own choice when 0.

    Attributes:
        input_size: side of the square it takes, in pixels.
        score_threshold: its operating point, if it brings one.
        architecture: a name of `models.zoo`.
        made_from: fingerprint of the checkpoint it was exported from.

    Raises:
        OnnxFileError: missing, damaged, not written by this project, or with other classes.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        if not path.is_file():
            raise OnnxFileError(
                f"{path}: no such file; give an exported .onnx or a .pth checkpoint"
            )
        onnxruntime = _runtime()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise OnnxFileError(f"{path}: damaged or not an ONNX file; copy it again") from error
        stored = self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)
        try:
            about = json.loads(stored or "{}")
            self.input_size = int(about["input_size"])
            self.architecture = str(about["architecture"])
            self.made_from = str(about["made_from"])
            classes = tuple(about["classes"])
            threshold = about["thresholds"].get("score")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise OnnxFileError(
                f"{path}: not exported by this project: it says nothing of classes and input size"
            ) from error
        if about.get("format") != FORMAT:
            raise OnnxFileError(f"{path}: expected {FORMAT!r}, got {about.get('format')!r}")
        if classes != CLASS_NAMES:
            # A swapped order would open the door to the wrong people.
            raise OnnxFileError(f"{path}: expected the classes {CLASS_NAMES}, got {classes}")
        self.score_threshold = None if threshold is None else float(threshold)

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, S, S, 3] BGR to predictions [B, N, 5 + C]."""
        predictions: NDArray[np.float32] = self._session.run(None, {"squares": squares})[0]
        return predictions


def _runtime() -> ModuleType:
    """ONNX Runtime, kept from reporting to its makers, which it otherwise does from its import on.

    Its `disable_telemetry_events` comes too late: by then it has given the machine a number.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    module: ModuleType = onnxruntime
    return module
