"""OnnxEngine: runs an exported detector with ONNX Runtime on the CPU; starts without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gate.errors import ModelError
from models.onnx_file import OnnxFile, OnnxFileError


def open_onnx_engine(weights: Path) -> OnnxEngine:
    """The engine of an exported file.

    Raises:
        ModelError: the file cannot be used.
    """
    try:
        return OnnxEngine(OnnxFile(weights))
    except OnnxFileError as error:
        raise ModelError(str(error)) from error


class OnnxEngine:
    """See `gate.detector.Engine`."""

    def __init__(self, model: OnnxFile) -> None:
        self.input_size = model.input_size
        self.score_threshold = model.score_threshold
        self.name = f"{model.architecture} by ONNX Runtime on cpu"
        self.made_from = model.made_from
        self._model = model
        self(np.zeros((self.input_size, self.input_size, 3), np.uint8))  # the first run is slow

    def __call__(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[S, S, 3] BGR to [N, 5 + C] predictions."""
        predictions: NDArray[np.float32] = self._model(square[None])[0]
        return predictions
