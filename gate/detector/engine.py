"""Engine: what runs a network on one letterboxed picture, and the names of the kinds there are."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.operating_point import OperatingPoint


class EngineKind(StrEnum):
    """What `--engine` may say."""

    AUTO = "auto"
    ONNX = "onnx"
    OPENVINO = "openvino"
    OPENVINO_BF16 = "openvino-bf16"
    OPENVINO_INT8 = "openvino-int8"
    TORCH = "torch"


class Engine(Protocol):
    """Runs a network on one letterboxed picture.

    Attributes:
        input_size: longer side of the pictures in pixels.
        takes_trimmed: whether they may be oblong (see `models.letterbox.Letterbox`) or must be
            square.
        operating_point: of the weights, if they bring one.
        name: what runs it and where, for people.
        batch_size: of so many pictures that wait, one call is faster than a call for each.
    """

    input_size: int
    takes_trimmed: bool
    operating_point: OperatingPoint | None
    name: str
    batch_size: int

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[H, W, 3] BGR to [N, 5 + C] predictions (see `models.networks.anchors.decode`).

        The array may be written over by the next call.
        """
        ...

    def run_batch(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, H, W, 3] BGR to [B, N, 5 + C] predictions, as `__call__` gives them one by one."""
        ...
