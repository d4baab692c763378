"""The device torch runs on, by the name people give it."""

from __future__ import annotations

import torch

from mask_gate.models.errors import MaskGateError


class DeviceError(MaskGateError, ValueError):
    """The device that was asked for is not there, or its name means nothing."""


def choose_device(name: str) -> torch.device:
    """`auto` takes CUDA where there is one.

    Raises:
        DeviceError: CUDA was asked for and is not there, or the name means nothing.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"device {name}: expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise DeviceError(
            f"device {name}: {torch.cuda.device_count()} CUDA devices are there; try cpu"
        )
    return device
