"""TorchEngine: runs a checkpoint with PyTorch, on CUDA where there is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mask_gate.gate.errors import ModelError
from mask_gate.models.files.checkpoint import Checkpoint, CheckpointError
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.networks.device import DeviceError, choose_device
from mask_gate.models.networks.fusion import fuse_norms

BATCH_SIZE_ON_CUDA = 16
"""As many cameras as one gate may have (`gate.config.schema`)."""

_RUNS_BEFORE_CAPTURE = 3  # libraries choose kernels and allocate in their first runs


def open_torch_engine(weights: Path, device: str, input_size: int | None = None) -> TorchEngine:
    """The engine of a weights file.

    Args:
        weights: a checkpoint.
        device: as in `Detector`.
        input_size: longer side of the pictures; None is that of the weights.

    Raises:
        ModelError: the weights cannot be used, or the device is not there.
    """
    try:
        checkpoint = open_weights(weights)
        checkpoint.input_size = input_size or checkpoint.input_size
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

    Norms are folded into convolutions. On CUDA squares that wait are run together, for one picture
    is far too little work for a GPU, and each batch size is captured once as a CUDA graph, whose
    replay is one launch. On a CPU a batch gains nothing (docs/benchmarks.md).
    """

    def __init__(self, checkpoint: Checkpoint, device: torch.device) -> None:
        self.input_size = checkpoint.input_size
        self.takes_trimmed = device.type != "cuda"  # captured graphs are of fixed sizes
        self.operating_point = checkpoint.operating_point
        self.name = f"{checkpoint.architecture} by torch on {device}, {self.input_size} px"
        self.batch_size = BATCH_SIZE_ON_CUDA if device.type == "cuda" else 1
        self._device = device
        self._dtype = torch.float16 if device.type == "cuda" else torch.float32
        network = checkpoint.network()
        fuse_norms(network)
        self._network = network.to(device, self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._graphs: dict[int, CapturedBatch] = {}
        self(np.zeros((self.input_size, self.input_size, 3), np.uint8))  # the first run is slow

    def __call__(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[H, W, 3] BGR to [N, 5 + C] predictions."""
        predictions: NDArray[np.float32] = self.run_batch(picture[None])[0]
        return predictions

    @torch.inference_mode()
    def run_batch(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[B, H, W, 3] BGR to [B, N, 5 + C] predictions."""
        if self._device.type == "cuda":
            return self._captured(len(pictures))(pictures)
        predictions: NDArray[np.float32] = self._predict(torch.from_numpy(pictures)).numpy()
        return predictions

    def _predict(self, pictures: Tensor) -> Tensor:
        """[B, H, W, 3] uint8 BGR to [B, N, 5 + C] float32, both on the device."""
        images = pictures.flip(-1).permute(0, 3, 1, 2).to(self._dtype).div_(255)
        predictions: Tensor = self._network.predict(images).float()
        return predictions

    def _captured(self, count: int) -> CapturedBatch:
        """The graph of the smallest power of two that holds `count` squares."""
        size = 1 << (count - 1).bit_length()
        if size not in self._graphs:
            shape = (size, self.input_size, self.input_size, 3)
            self._graphs[size] = CapturedBatch(self._predict, shape, self._device)
        return self._graphs[size]


class CapturedBatch:
    """One batch size as a CUDA graph, with pinned memory for the way up and down.

    Args:
        predict: from [B, S, S, 3] uint8 on the card to [B, N, 5 + C] there, of fixed shapes.
        shape: of the squares.
        device: the card.
    """

    def __init__(
        self, predict: Callable[[Tensor], Tensor], shape: tuple[int, ...], device: torch.device
    ) -> None:
        self._up = torch.zeros(shape, dtype=torch.uint8, pin_memory=True)
        self._squares = torch.zeros(shape, dtype=torch.uint8, device=device)
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(self._stream):
            for _ in range(_RUNS_BEFORE_CAPTURE):
                predict(self._squares)
            self._stream.synchronize()
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._predictions = predict(self._squares)
        self._down = torch.empty(self._predictions.shape, pin_memory=True)

    def __call__(self, squares: NDArray[np.uint8]) -> NDArray[np.float32]:
        """[b, S, S, 3] with b up to B, to [b, N, 5 + C]; what the rest of a batch says is left."""
        count = len(squares)
        self._up.numpy()[:count] = squares
        with torch.cuda.stream(self._stream):
            self._squares.copy_(self._up, non_blocking=True)
            self._graph.replay()
            self._down.copy_(self._predictions, non_blocking=True)
        self._stream.synchronize()
        predictions: NDArray[np.float32] = self._down.numpy()[:count].copy()
        return predictions
