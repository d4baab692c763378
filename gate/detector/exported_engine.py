"""ExportedEngine: an exported detector as the gate's engine, whatever library runs it."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.files.export_metadata import ExportMetadata


class ExportedFile(Protocol):
    """`models.files.onnx_file.OnnxFile` or `models.files.openvino_file.OpenVinoFile`."""

    about: ExportMetadata

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, S, S, 3] BGR to predictions [B, N, 5 + C]."""
        ...


class ExportedEngine:
    """See `gate.detector.engine.Engine`.

    Args:
        file: the opened file.
        ran_by: the library and device, for people.
    """

    def __init__(self, file: ExportedFile, ran_by: str) -> None:
        self.input_size = file.about.input_size
        self.operating_point = file.about.operating_point
        self.name = f"{file.about.architecture} by {ran_by}"
        self.at_once = 1  # a batch gains nothing on a CPU, as measured in docs/benchmarks.md
        self._file = file
        self(np.zeros((self.input_size, self.input_size, 3), np.uint8))  # the first run is slow

    def __call__(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[S, S, 3] BGR to [N, 5 + C] predictions."""
        predictions: NDArray[np.float32] = self._file(square[None])[0]
        return predictions

    def together(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, S, S, 3] BGR to [B, N, 5 + C] predictions, one after the other."""
        return np.stack([self(square).copy() for square in squares])
