"""Weights files: whatever a user calls weights, told apart and opened as a checked Checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mask_gate.models.files.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from mask_gate.models.files.darknet_weights import (
    DarknetWeightsError,
    is_darknet_file,
    load_darknet,
)
from mask_gate.models.files.pytorch_layout import PytorchLayoutError, load_state, read_state
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.zoo import ARCHITECTURES, build

# The published networks' own, and the report's; neither kind of file says it.
FOREIGN_INPUT_SIZE = 416

Loader = Callable[[DetectionNetwork, str], str]


def open_weights(path: Path) -> Checkpoint:
    """Open a checkpoint of ours, or other files of a three-class YOLOv3 or YOLOv3-tiny.

    Those are Darknet's, told by their content, and state dicts: of the widespread PyTorch layout or
    of a network here. They say nothing of their classes, which are taken to be ours in our order.

    Raises:
        CheckpointError: nothing this project can run.
    """
    if path.suffix.lower() in (".onnx", ".xml"):
        raise CheckpointError(
            f"{path}: is an exported file, which only the gate runs; give the .pth checkpoint"
        )
    if is_darknet_file(path):
        return _first_fit(path, lambda network, name: load_darknet(network, name, path))
    try:
        return load_checkpoint(path)
    except CheckpointError:
        state = read_state(path)
        if state is None:
            raise
    return _first_fit(path, lambda network, name: load_state(network, name, state))


def _first_fit(path: Path, load: Loader) -> Checkpoint:
    """The first architecture that takes all of the file."""
    reasons = []
    for architecture in ARCHITECTURES:
        network = build(architecture)
        before = network.head_state()
        try:
            said = load(network, architecture)
        except (DarknetWeightsError, PytorchLayoutError) as error:
            reasons.append(str(error).removeprefix(f"{path}: "))
            continue
        if all((a == b).all() for a, b in zip(before, network.head_state(), strict=True)):
            said = said.removeprefix(f"{path.name}: ")
            raise CheckpointError(
                f"{path}: has no heads for the three mask classes {', '.join(CLASS_NAMES)} "
                f"({said}); train from it first: mask-gate-train --config ... --set start={path}"
            )
        return Checkpoint(architecture, network.state_dict(), network.scales, FOREIGN_INPUT_SIZE)
    *others, last = dict.fromkeys(reasons)
    if not others:
        raise CheckpointError(f"{path}: {last}")
    raise CheckpointError(f"{path}: fits no network here: {'; '.join((*others, last))}")
