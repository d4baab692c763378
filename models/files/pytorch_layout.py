"""The widespread PyTorch layout of YOLOv3: state dicts of nets built layer by layer from a .cfg.

Layer N of the .cfg, counted without `[net]`, keeps its tensors as `module_list.N.conv_N.weight`
with `module_list.N.batch_norm_N.{weight,bias,running_mean,running_var,num_batches_tracked}`, or
with `module_list.N.conv_N.bias` where it ends a head. Such a file says nothing of classes or input
size: its classes are taken to be ours in our order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from mask_gate.models.files.checkpoint import CheckpointError, read_plain
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import ARCHITECTURES, build

_ENTRY = re.compile(r"module_list\.(\d+)\.(conv|batch_norm)_\1\.(\w+)")
# Newer code keeps each [yolo] layer's anchors beside the weights, in pixels.
_ANCHORS = re.compile(r"module_list\.(\d+)\.yolo_\1\.(anchors|anchor_grid)")
# The order within a layer, which is also that of our own modules.
_KINDS = (
    "conv.weight",
    "conv.bias",
    "batch_norm.weight",
    "batch_norm.bias",
    "batch_norm.running_mean",
    "batch_norm.running_var",
)
_COUNTER = "num_batches_tracked"
# What that code adds to a variance before it takes the root.
NORM_EPS = 1e-5


class PytorchLayoutError(CheckpointError):
    """The state dict is not of the network asked for; the message gives both sides."""


def is_torch_file(path: Path) -> bool:
    """Whether the file begins like one written by `torch.save`, of today or of old."""
    try:
        with path.open("rb") as file:
            return file.read(2) in (b"PK", b"\x80\x02")
    except OSError:
        return False


def read_state(path: Path) -> dict[str, Tensor] | None:
    """The state dict in a file, or None where the file holds anything else or cannot be read.

    Nothing in the file is ever executed.
    """
    try:
        state = _bare_state(read_plain(path))
    except CheckpointError:
        return None
    if state is None or all(name.startswith("module_list.") for name in state):
        return state
    with torch.device("meta"):  # names only
        networks = [build(architecture).state_dict() for architecture in ARCHITECTURES]
    return state if any(state.keys() == network.keys() for network in networks) else None


def _bare_state(content: object) -> dict[str, Tensor] | None:
    """The state dict in what a training loop saved: alone, or beside an epoch and the like.

    `DataParallel` and `torch.compile` put a word before every name; it is taken off.
    """
    if not isinstance(content, dict) or "format" in content:  # that one is a checkpoint of ours
        return None
    for key in ("state_dict", "model_state_dict", "model"):
        if isinstance(content.get(key), dict):
            return _bare_state(content[key])
    state = content
    for word in ("module.", "_orig_mod.", "module."):
        if state and all(isinstance(name, str) and name.startswith(word) for name in state):
            state = {name.removeprefix(word): tensor for name, tensor in state.items()}
    tensors = all(isinstance(n, str) and isinstance(t, Tensor) for n, t in state.items())
    return state if state and tensors else None


def load_state(model: DetectionNetwork, architecture: str, state: Mapping[str, Tensor]) -> str:
    """Copy a state dict into `model`: one of its own, or one of the PyTorch layout in its order.

    Where it tells another number of classes apart, all layers but each head's last are taken.

    Args:
        model: changed in place, only once all of `state` has been checked.
        architecture: its name in `models.networks.zoo`, for messages.
        state: as `read_state` found it.

    Returns:
        One sentence that says what was taken and what starts new.

    Raises:
        PytorchLayoutError: one layer too few or too many, another shape, other anchors, or values
            that are not finite.
    """
    own = {n: t for n, t in model.state_dict().items() if not n.endswith(_COUNTER)}
    is_own = state.keys() == model.state_dict().keys()
    if is_own:
        theirs = {name: state[name] for name in own}
    else:
        theirs = _in_order(state)
        _check_anchors(model, state)
        _check_count(architecture, list(own), list(theirs))
    anchors_of = _head_entries(model)
    classes = _class_count(list(own), theirs, anchors_of)
    taken: dict[str, Tensor] = {}
    for (name, tensor), (key, value) in zip(own.items(), theirs.items(), strict=True):
        wanted = list(tensor.shape)
        if name in anchors_of:
            wanted[0] = anchors_of[name] * (5 + classes)
        _check_tensor(architecture, name, wanted, key, value)
        if value.shape == tensor.shape:
            taken[name] = value
    if not is_own:
        _move_eps(model, taken)
    model.load_state_dict(model.state_dict() | taken)
    layout = f"its {'own' if is_own else 'PyTorch'} layout"
    if classes == model.num_classes:
        return f"all {len(theirs)} tensors of {layout} taken"
    return (
        f"{len(taken)} of {len(theirs)} tensors of {layout} taken; it tells {classes} "
        f"classes apart and this network {model.num_classes}, so each head's last layer starts new"
    )


def _in_order(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that count, by layer and then by kind."""
    found: dict[tuple[int, int], str] = {}
    for key in state:
        entry = _ENTRY.fullmatch(key)
        kind = f"{entry[2]}.{entry[3]}" if entry else ""
        if entry and kind in _KINDS:
            found[int(entry[1]), _KINDS.index(kind)] = key
        elif kind != f"batch_norm.{_COUNTER}" and not _ANCHORS.fullmatch(key):
            raise PytorchLayoutError(
                f"{key}: no entry of the PyTorch layout of YOLOv3, whose layers hold "
                "module_list.N.conv_N and module_list.N.batch_norm_N only"
            )
    return {found[place]: state[found[place]] for place in sorted(found)}


def _check_anchors(model: DetectionNetwork, state: Mapping[str, Tensor]) -> None:
    """Boxes read with other anchors than they were learnt with would all be wrong."""
    keys = [key for key in state if key.endswith(".anchors")]
    keys.sort(key=lambda key: int(key.split(".")[1]))
    for key, scale in zip(keys, model.scales, strict=False):
        said, ours = state[key].flatten().tolist(), [v for pair in scale.anchors_wh for v in pair]
        if said != ours:
            raise PytorchLayoutError(f"{key}: expected {ours}, got {said}; train with our anchors")


def _check_count(architecture: str, own: list[str], theirs: list[str]) -> None:
    """Heads, neck and trunk have as many tensors of each kind, in the same order."""
    kinds = [[name.rsplit(".", 1)[1] for name in names] for names in (own, theirs)]
    if kinds[0] != kinds[1]:
        layers = [sum(kind == "bias" for kind in each) for each in kinds]
        raise PytorchLayoutError(
            f"expected the {layers[0]} convolutions of {architecture} with {len(own)} tensors, got "
            f"{layers[1]} with {len(theirs)}; take the file that belongs to this network"
        )


def _check_tensor(architecture: str, name: str, wanted: list[int], key: str, value: Tensor) -> None:
    if list(value.shape) != wanted:
        raise PytorchLayoutError(
            f"{key}: expected {wanted} for {name} of {architecture}, got {list(value.shape)}"
        )
    if not bool(torch.isfinite(value).all()):
        raise PytorchLayoutError(f"{key}: holds values that are not finite")


def _head_entries(model: DetectionNetwork) -> dict[str, int]:
    """Names of the entries whose first size depends on the number of classes; their anchors."""
    name_of = {id(module): name for name, module in model.named_modules()}
    return {
        f"{name_of[id(output)]}.{kind}": len(scale.anchors_wh)
        for output, scale in zip(model.head_outputs(), model.scales, strict=True)
        for kind in ("weight", "bias")
    }


def _class_count(
    own: list[str], theirs: Mapping[str, Tensor], anchors_of: Mapping[str, int]
) -> int:
    """Classes the first head of the file tells apart."""
    first = next(iter(anchors_of))
    tensor = list(theirs.values())[own.index(first)]
    return max(1, len(tensor) // anchors_of[first] - 5)


def _move_eps(model: nn.Module, taken: dict[str, Tensor]) -> None:
    """Put the difference of the norms' eps into the variance: every output stays what it was."""
    for name, module in model.named_modules():
        if isinstance(module, nn.BatchNorm2d):
            key = f"{name}.running_var"
            taken[key] = taken[key].float() + (NORM_EPS - module.eps)
