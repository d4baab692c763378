"""TorchEngine: runs a checkpoint with PyTorch, on CUDA where there is one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.gate.errors import ModelError
from mask_gate.models.files.checkpoint import (
    INPUT_STEP,
    MAX_INPUT,
    Checkpoint,
    CheckpointError,
)
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.networks.device import DeviceError, choose_device
from mask_gate.models.networks.fusion import fuse_norms

BATCH_SIZE_ON_CUDA = 16
"""As many cameras as one gate may have (`gate.config.schema`)."""


def open_torch_engine(weights: Path, device: str, input_size: int | None = None) -> TorchEngine:
    """The engine of a weights file.

    Args:
        weights: a checkpoint.
        device: as in `Detector`.
        input_size: side of the square in pixels; None is that of the weights.

    Raises:
        ModelError: the weights cannot be used, the device is not there, or the size does not fit.
    """
    try:
        checkpoint = open_weights(weights)
        if input_size is not None:
            if input_size not in range(INPUT_STEP, MAX_INPUT + 1, INPUT_STEP):
                raise ModelError(
                    f"input size {input_size}: expected a multiple of {INPUT_STEP} up to "
                    f"{MAX_INPUT}"
                )
            checkpoint.input_size = input_size
        return TorchEngine(checkpoint, choose_device(device))
    except (CheckpointError, DeviceError) as error:
        raise ModelError(str(error)) from error
    except (MemoryError, RuntimeError) as error:  # torch's own errors are RuntimeErrors
        why = next(iter(str(error).splitlines()), "out of memory")
        raise ModelError(
            f"{weights}: does not run on {device} ({why}); give another checkpoint or device"
        ) from error


class TorchEngine:
    """An `Engine`: half precision on CUDA, float32 on a CPU, channels last on both.

    Norms are folded into convolutions. A CUDA graph would save launches too; it is left out until
    somebody can test it on a GPU. There, squares that wait are run together: one picture of this
    size is far too little work for a GPU. On a CPU a batch gains nothing (docs/benchmarks.md).
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.input_size = checkpoint.input_size
        self.operating_point = checkpoint.operating_point
        self.name = f"{checkpoint.architecture} by torch on {device}"
        self.batch_size = BATCH_SIZE_ON_CUDA if device.type == "cuda" else 1
        self._device = device
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        network = checkpoint.network()
        fuse_norms(network)
        self._network = network.to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self(np.zeros((self.input_size, self.input_size, 3), np.uint8))  # the first run is slow

    def __call__(self, square: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[S, S, 3] BGR to [N, 5 + C] predictions."""
        predictions: NDArray[np.float32] = self.run_batch(square[None])[0]
        return predictions

    @torch.inference_mode()
    def run_batch(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, S, S, 3] BGR to [B, N, 5 + C] predictions."""
        rgb = torch.from_numpy(squares[..., ::-1].copy()).to(self._device)
        images = rgb.permute(0, 3, 1, 2).to(self._dtype).div_(255)
        predictions: NDArray[np.float32] = self._network.predict(images).float().cpu().numpy()
        return predictions
