"""Darknet weight files: a header and every layer's floats in order, used up to the last one."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mask_gate.models.errors import ModelFileError
from mask_gate.models.files.foreign_file import refuse_foreign
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import build

# major, minor, revision as int32, then the number of images seen as int64 (version 0.2 and later).
HEADER_BYTES = 20
# The COCO networks these files come from.
PUBLISHED_CLASSES = 80
MOST_CLASSES = 1000

# What the authors publish, each as its page, size and SHA-256 of their file say.
_PUBLISHED = {
    "darknet53.conv.74": (
        162_482_580,
        "2495c2690283e4e0bc2050cbd4660b77a8074e14e9c11150c6412fd63db496a7",
    ),
    "yolov3-tiny.weights": (
        35_434_956,
        "dccea06f59b781ec1234ddf8d1e94b9519a97f4245748a7d4db75d5b7080a42c",
    ),
}
_PUBLISHED_AT = "https://data.pjreddie.com/files"

_Layer = tuple[nn.Conv2d, nn.BatchNorm2d | None]


class DarknetWeightsError(ModelFileError):
    """The file does not hold what the network needs; the message gives both numbers."""


def is_darknet_file(path: Path) -> bool:
    """Whether the file is called like Darknet's, or begins like them and not like others."""
    name = path.name.lower()
    if name.endswith(".weights") or re.search(r"\.conv\.\d+$", name):
        return True
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES)
    except OSError:
        return False
    return len(head) == HEADER_BYTES and _version(head) in ((0, 1), (0, 2))


def load_darknet(model: DetectionNetwork, architecture: str, path: Path) -> str:
    """Copy a `.weights` file into `model`.

    A full file, of the model's own class count or of another, and a file that ends after some of
    the layers (`darknet53.conv.74`, `yolov3-tiny.conv.15`) are told apart by their length alone.
    With another class count all layers but each head's last convolution are taken.

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
        _assign(own, values, path)
        return f"{path.name}: all {len(values):,} values taken"
    classes = _classes_of(model, own, len(values))
    whole = None if classes is None else build(architecture, classes, model.scales)
    if whole is not None and len(values) == _count(_layers(whole)):
        _assign(_layers(whole), values, path)
        taken = _copy_all_but_heads(whole, model)
        return (
            f"{path.name}: all {len(values):,} values read, {taken:,} taken; it tells "
            f"{classes} classes apart and this network {model.num_classes}, "
            "so each head's last layer starts new"
        )
    ends = [output.weight for output in model.head_outputs()]
    before_heads = next(i for i, (c, _) in enumerate(own) if any(c.weight is end for end in ends))
    for layers in range(1, before_heads + 1):
        if len(values) == _count(own[:layers]):
            _assign(own[:layers], values, path)
            return (
                f"{path.name}: {len(values):,} values are the first {layers} of the "
                f"{len(own)} convolutions; the others start new"
            )
    published = _count(_layers(build(architecture, PUBLISHED_CLASSES, model.scales)))
    raise DarknetWeightsError(
        f"{path}: expected {_count(own):,} ({model.num_classes} classes) or {published:,} "
        f"({PUBLISHED_CLASSES} classes) values for {architecture}, or those of its first layers, "
        f"got {len(values):,}; take the file that belongs to this network, and all of it"
    )


def _classes_of(model: DetectionNetwork, own: list[_Layer], count: int) -> int | None:
    """The number of classes with which the network may hold so many values."""
    per_class = sum(
        len(scale.anchors_wh) * (output.in_channels + 1)
        for output, scale in zip(model.head_outputs(), model.scales, strict=True)
    )
    more, rest = divmod(count - _count(own), per_class)
    classes = model.num_classes + more
    return classes if rest == 0 and 1 <= classes <= MOST_CLASSES else None


def _read(path: Path) -> NDArray[np.float32]:
    try:
        refuse_foreign(path)
        content = path.read_bytes()
    except OSError as error:
        raise DarknetWeightsError(
            f"{path}: cannot be read: {error.strerror}{_where_published(path)}"
        ) from error
    except ModelFileError as error:
        raise DarknetWeightsError(f"{error}{_where_published(path)}") from None
    body = len(content) - HEADER_BYTES
    if body < 4 or body % 4:
        raise DarknetWeightsError(
            f"{path}: expected a {HEADER_BYTES}-byte header and float32 values, "
            f"got {len(content)} bytes"
        )
    major, minor = _version(content)
    if (major, minor) < (0, 2) or major > 10 or minor > 1000:
        raise DarknetWeightsError(f"{path}: expected version 0.2 or later, got {major}.{minor}")
    values = np.frombuffer(content, "<f4", offset=HEADER_BYTES)
    if not np.isfinite(values).all():
        raise DarknetWeightsError(f"{path}: {np.sum(~np.isfinite(values)):,} values are not finite")
    return values


def _version(content: bytes) -> tuple[int, int]:
    major, minor = np.frombuffer(content, "<i4", 2).tolist()
    return major, minor


def _where_published(path: Path) -> str:
    """Where a file that is not there, or not what it is called, can be had."""
    if path.name not in _PUBLISHED:
        return ""
    size, digest = _PUBLISHED[path.name]
    return (
        f"; its authors publish it at {_PUBLISHED_AT}/{path.name} ({size:,} bytes, "
        f"SHA-256 {digest})"
    )


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


def _assign(layers: list[_Layer], values: NDArray[np.float32], path: Path) -> None:
    """Deal the values out; a negative variance shows that they are not of these layers."""
    parts = np.split(values, np.cumsum([tensor.numel() for tensor in _tensors(layers)])[:-1])
    variances = {id(norm.running_var) for _, norm in layers if norm is not None}
    for tensor, part in zip(_tensors(layers), parts, strict=True):
        if id(tensor) in variances and part.min() < 0:
            raise DarknetWeightsError(
                f"{path}: a variance in it is below zero, so its layers are not those of this "
                "network; take the file that belongs to it, and all of it"
            )
    with torch.no_grad():
        for tensor, part in zip(_tensors(layers), parts, strict=True):
            tensor.copy_(torch.from_numpy(part.copy()).view_as(tensor))


def _copy_all_but_heads(source: nn.Module, target: nn.Module) -> int:
    """Copy tensors of equal shape; only the heads' last layers differ between class counts."""
    state = target.state_dict()
    taken = {name: t for name, t in source.state_dict().items() if t.shape == state[name].shape}
    target.load_state_dict(state | taken)
    return sum(t.numel() for name, t in taken.items() if not name.endswith("num_batches_tracked"))
