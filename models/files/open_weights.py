"""Weights files: whatever a user calls weights, told apart and opened as a checked Checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mask_gate.models.files.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from mask_gate.models.files.darknet_weights import DarknetWeightsError, load_darknet
from mask_gate.models.files.pytorch_layout import (
    PytorchLayoutError,
    load_pytorch_layout,
    read_pytorch_layout,
)
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import ARCHITECTURES, build

# The published networks' own, and the report's; neither kind of file says it.
FOREIGN_INPUT_SIZE = 416

Loader = Callable[[DetectionNetwork, str], str]


def open_weights(path: Path) -> Checkpoint:
    """Open a checkpoint of ours, or other files of a three-class YOLOv3 or YOLOv3-tiny.

    Those are Darknet's (`.weights`) and state dicts of the widespread PyTorch layout. They say
    nothing of their classes, which are taken to be ours in our order.

    Raises:
        CheckpointError: nothing this project can run.
    """
    if path.suffix == ".weights":
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file; give a .pth checkpoint or .weights file")
        return _first_fit(path, lambda network, name: load_darknet(network, name, path))
    try:
        return load_checkpoint(path)
    except CheckpointError:
        state = read_pytorch_layout(path)
        if state is None:
            raise
    return _first_fit(path, lambda network, name: load_pytorch_layout(network, name, state))


def _first_fit(path: Path, load: Loader) -> Checkpoint:
    """The first architecture that takes all of the file."""
    reasons = []
    for architecture in ARCHITECTURES:
        network = build(architecture)
        before = network.head_state()
        try:
            load(network, architecture)
        except (DarknetWeightsError, PytorchLayoutError) as error:
            reasons.append(str(error).removeprefix(f"{path}: "))
            continue
        if all((a == b).all() for a, b in zip(before, network.head_state(), strict=True)):
            raise CheckpointError(
                f"{path}: has no heads for the three mask classes; train from it first: "
                f"mask-gate-train --set start={path}"
            )
        return Checkpoint(architecture, network.state_dict(), network.scales, FOREIGN_INPUT_SIZE)
    raise CheckpointError(f"{path}: fits no network here: {'; '.join(reasons)}")
