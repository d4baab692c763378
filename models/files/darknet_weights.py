"""Darknet weight files: a header and every layer's floats in order, used up to the last one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mask_gate.models.errors import ModelFileError
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import build

# major, minor, revision as int32, then the number of images seen as int64 (version 0.2 and later).
HEADER_BYTES = 20
# The COCO networks these files come from.
PUBLISHED_CLASSES = 80


class DarknetWeightsError(ModelFileError):
    """The file does not hold what the network needs; the message gives both numbers."""


def load_darknet(model: DetectionNetwork, architecture: str, path: Path) -> str:
    """Copy a `.weights` file into `model`.

    A full file of the published 80 classes, or of the model's own class count, and a file that
    ends after the trunk (`darknet53.conv.74`) are told apart by their length alone. With another
    class count all layers but each head's last convolution are taken.

    Args:
        model: changed in place, only once the whole file has been checked.
        architecture: its name in `models.networks.zoo`.
        path: the file.

    Returns:
        One sentence that says what was taken and what starts new.

    Raises:
        DarknetWeightsError: one float short or long, not finite, or no known length.
    """
    values = _read(path)
    own = _layers(model)
    if len(values) == _count(own):
        _assign(own, values)
        return f"{path.name}: all {len(values):,} values taken"
    published = build(architecture, PUBLISHED_CLASSES, model.scales)
    if len(values) == _count(_layers(published)):
        _assign(_layers(published), values)
        taken = _copy_all_but_heads(published, model)
        return (
            f"{path.name}: all {len(values):,} values read, {taken:,} taken; it tells "
            f"{PUBLISHED_CLASSES} classes apart and this network {model.num_classes}, "
            "so each head's last layer starts new"
        )
    trunk = getattr(model, "trunk", None)
    if trunk is not None and len(values) == _count(_layers(trunk)):
        _assign(_layers(trunk), values)
        return f"{path.name}: {len(values):,} values are the whole trunk; neck and heads start new"
    expected = [f"{_count(own):,} ({model.num_classes} classes)"]
    expected.append(f"{_count(_layers(published)):,} ({PUBLISHED_CLASSES} classes)")
    if trunk is not None:
        expected.append(f"{_count(_layers(trunk)):,} (the trunk alone)")
    raise DarknetWeightsError(
        f"{path}: expected {' or '.join(expected)} values for {architecture}, got {len(values):,}; "
        "take the file that belongs to this network"
    )


def _read(path: Path) -> NDArray[np.float32]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DarknetWeightsError(f"{path}: cannot be read: {error.strerror}") from error
    body = len(content) - HEADER_BYTES
    if body < 4 or body % 4:
        raise DarknetWeightsError(
            f"{path}: expected a {HEADER_BYTES}-byte header and float32 values, "
            f"got {len(content)} bytes"
        )
    major, minor = np.frombuffer(content, "<i4", 2)
    if (major, minor) < (0, 2) or major > 10 or minor > 1000:
        raise DarknetWeightsError(f"{path}: expected version 0.2 or later, got {major}.{minor}")
    values = np.frombuffer(content, "<f4", offset=HEADER_BYTES)
    if not np.isfinite(values).all():
        raise DarknetWeightsError(f"{path}: {np.sum(~np.isfinite(values)):,} values are not finite")
    return values


_Layer = tuple[nn.Conv2d, nn.BatchNorm2d | None]


def _layers(model: nn.Module) -> list[_Layer]:
    """Each convolution with its norm, in the order of the file: the order modules were made in."""
    found: list[_Layer] = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            found.append((module, None))
        elif isinstance(module, nn.BatchNorm2d):
            found[-1] = (found[-1][0], module)
    return found


def _tensors(layers: list[_Layer]) -> list[Tensor]:
    """The tensors of the file in its order: norm or bias first, then the kernel."""
    tensors: list[Tensor] = []
    for convolution, norm in layers:
        if norm is not None:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            tensors += [norm.bias, norm.weight, norm.running_mean, norm.running_var]
        else:
            assert convolution.bias is not None
            tensors.append(convolution.bias)
        tensors.append(convolution.weight)
    return tensors


def _count(layers: list[_Layer]) -> int:
    return sum(tensor.numel() for tensor in _tensors(layers))


def _assign(layers: list[_Layer], values: NDArray[np.float32]) -> None:
    position = 0
    with torch.no_grad():
        for tensor in _tensors(layers):
            part = values[position : position + tensor.numel()]
            tensor.copy_(torch.from_numpy(part.copy()).view_as(tensor))
            position += tensor.numel()


def _copy_all_but_heads(source: nn.Module, target: nn.Module) -> int:
    """Copy tensors of equal shape; only the heads' last layers differ between class counts."""
    state = target.state_dict()
    taken = {name: t for name, t in source.state_dict().items() if t.shape == state[name].shape}
    target.load_state_dict(state | taken)
    return sum(t.numel() for name, t in taken.items() if not name.endswith("num_batches_tracked"))
