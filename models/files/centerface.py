"""CenterFace's published weights, an ONNX file, copied into a YOLOv3Lite; needs package onnx."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mask_gate.models.errors import ModelFileError
from mask_gate.models.networks.yolov3_lite import YOLOv3Lite

# CenterFace's offset o moves the centre by o cells around the cell's middle; sigmoid(t) does so
# by t / 4 where it is steepest.
OFFSET_GAIN = 4.0
# It was trained on RGB in 0..255, this family on 0..1.
INPUT_GAIN = 255.0


def load_centerface(model: YOLOv3Lite, path: Path) -> None:
    """Copy trunk, pyramid and face head into `model`; its class branch stays as it is.

    Args:
        model: changed in place.
        path: CenterFace's ONNX file.

    Raises:
        ModelFileError: the file's convolutions are not those of the published network.
    """
    convolutions = _convolutions(path)
    targets: list[nn.Module] = [m for m in model.trunk.modules() if isinstance(m, nn.Conv2d)]
    laterals, raises = (
        [m for m in part.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        for part in (model.pyramid.laterals, model.pyramid.raises)
    )
    targets.append(laterals[0])
    for raise_, lateral in zip(raises, laterals[1:], strict=True):
        targets += [raise_, lateral]
    targets.append(model.face_features.get_submodule("0"))
    heads = 4  # heat, size, offset and the landmarks, which nothing here needs
    if len(convolutions) != len(targets) + heads:
        raise ModelFileError(
            f"{path}: expected CenterFace's {len(targets) + heads} convolutions, "
            f"got {len(convolutions)}"
        )
    with torch.no_grad():
        for target, (weight, bias) in zip(targets, convolutions, strict=False):
            _copy(target, weight, bias)
        first = model.trunk.stem.get_submodule("0")
        first.get_parameter("weight").mul_(INPUT_GAIN)
        _copy_face_head(model.face, convolutions[len(targets) :])


def _copy(target: nn.Module, weight: Tensor, bias: Tensor) -> None:
    assert isinstance(target, nn.Conv2d | nn.ConvTranspose2d)
    assert target.bias is not None
    if target.weight.shape != weight.shape:
        raise ModelFileError(
            f"CenterFace: expected a weight of {tuple(target.weight.shape)}, "
            f"got {tuple(weight.shape)}"
        )
    target.weight.copy_(weight)
    target.bias.copy_(bias)


def _copy_face_head(face: nn.Conv2d, heads: list[tuple[Tensor, Tensor]]) -> None:
    """Heat [1], size [h, w] and offset [y, x] into YOLOv3's x, y, w, h, objectness."""
    assert face.bias is not None
    (heat, heat_bias), (size, size_bias), (offset, offset_bias) = heads[:3]
    face.weight.copy_(torch.cat((offset.flip(0) * OFFSET_GAIN, size.flip(0), heat)))
    face.bias.copy_(torch.cat((offset_bias.flip(0) * OFFSET_GAIN, size_bias.flip(0), heat_bias)))


def _convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution in the graph's order, batch norms folded in."""
    import onnx

    graph = onnx.load(str(path)).graph
    values: dict[str, NDArray[np.float32]] = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
    }
    found: list[tuple[Tensor, Tensor]] = []
    for node in graph.node:
        if node.op_type in ("Conv", "ConvTranspose"):
            weight = values[node.input[1]]
            outputs = weight.shape[1 if node.op_type == "ConvTranspose" else 0]
            bias = values[node.input[2]] if len(node.input) > 2 else np.zeros(outputs, np.float32)
            found.append((torch.tensor(weight), torch.tensor(bias)))
        elif node.op_type == "BatchNormalization":
            gamma, beta, mean, variance = (values[name] for name in node.input[1:5])
            epsilon = next(a.f for a in node.attribute if a.name == "epsilon")
            gain = torch.tensor(gamma / np.sqrt(variance + epsilon))
            kernel, offset = found[-1]
            # Only the transposed convolutions still carry a norm: their outputs are dimension 1.
            found[-1] = (
                kernel * gain.view(1, -1, 1, 1),
                (offset - torch.tensor(mean)) * gain + torch.tensor(beta),
            )
    return found
