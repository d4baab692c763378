"""Weights files: whatever a user calls weights, told apart and opened as a checked Checkpoint."""

from __future__ import annotations

from pathlib import Path

from models.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from models.darknet_weights import DarknetWeightsError, load_darknet
from models.zoo import ARCHITECTURES, build

DARKNET_INPUT_SIZE = 416


def open_weights(path: Path) -> Checkpoint:
    """Open a checkpoint of ours, or a Darknet file of a three-class YOLOv3 or YOLOv3-tiny.

    Raises:
        CheckpointError: nothing this project can run.
    """
    if path.suffix != ".weights":
        return load_checkpoint(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a .pth checkpoint or .weights file")
    reasons = []
    for architecture in ARCHITECTURES:
        network = build(architecture)
        before = network.head_state()
        try:
            load_darknet(network, architecture, path)
        except DarknetWeightsError as error:
            reasons.append(str(error).removeprefix(f"{path}: "))
            continue
        if all((a == b).all() for a, b in zip(before, network.head_state(), strict=True)):
            raise CheckpointError(
                f"{path}: has no heads for the three mask classes; train from it first: "
                f"mask-gate-train --set start={path}"
            )
        return Checkpoint(architecture, network.state_dict(), network.scales, DARKNET_INPUT_SIZE)
    raise CheckpointError(f"{path}: fits no network here: {'; '.join(reasons)}")
