"""Export: a checkpoint as an ONNX file that carries everything needed to run it without torch."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from mask_gate.models.files.checkpoint import Checkpoint
from mask_gate.models.files.digest_file import write_digest
from mask_gate.models.files.export_metadata import INPUT_NAME, METADATA_KEY, ExportMetadata
from mask_gate.models.networks.network import DetectionNetwork

if TYPE_CHECKING:
    import onnx

OPSET = 17


class _FromPixels(nn.Module):
    """The network behind the picture's own format, so that no runtime repeats the conversion."""

    def __init__(self, network: DetectionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pictures: Tensor) -> Tensor:
        """[B, H, W, 3] uint8 BGR to predictions [B, N, 5 + C]."""
        rgb = pictures.permute(0, 3, 1, 2).flip(1).float() / 255
        return self.network.predict(rgb)


def export_onnx(
    checkpoint: Checkpoint, path: Path, made_from: str, quantized: DetectionNetwork | None = None
) -> None:
    """Write `checkpoint` as ONNX, with its digest beside it (see `models.files.digest_file`).

    `path` holds either the old file or the whole new one. A gate that starts between the two steps
    finds a digest that does not fit, and refuses the file.

    The graph takes letterboxed pictures [B, H, W, 3] uint8 BGR, whose sides are multiples of
    `INPUT_STEP`, and gives `predictions` [B, N, 5 + C] as `models.networks.anchors.decode`
    describes them. Needs the package onnx.

    Args:
        checkpoint: what to export.
        path: the file to write.
        made_from: fingerprint of the checkpoint's file, by which the two are known as twins.
        quantized: the checkpoint's network after `models.networks.quantized.quantize`, where the
            file is to calculate in 8 bits.

    Raises:
        ImportError: the package onnx is not installed.
        CheckpointError: the weights do not fit their architecture.
    """
    import onnx

    size = checkpoint.input_size
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter announces its own retirement, at length
        raw = Path(folder) / path.name
        torch.onnx.export(
            _FromPixels(checkpoint.network() if quantized is None else quantized),
            (torch.zeros(1, size, size, 3, dtype=torch.uint8),),
            str(raw),
            dynamo=False,  # the newer exporter needs onnxscript and leaves a larger graph
            opset_version=OPSET,
            input_names=[INPUT_NAME],
            output_names=["predictions"],
            dynamic_axes={
                INPUT_NAME: {0: "batch", 1: "height", 2: "width"},
                "predictions": {0: "batch", 1: "cells"},
            },
        )
        model = onnx.load(str(raw))
        if quantized is not None:
            _store_rounded_weights(model)
        about = ExportMetadata(
            checkpoint.architecture,
            checkpoint.input_size,
            checkpoint.operating_point,
            made_from,
            is_quantized=quantized is not None,
        )
        onnx.helper.set_model_props(model, {METADATA_KEY: about.to_json()})
        onnx.checker.check_model(model)
        onnx.save(model, str(raw))
        raw.replace(path)
    write_digest(path)


def _store_rounded_weights(model: onnx.ModelProto) -> None:
    """Replace every constant that the graph would round to 8 bits by what is left of it.

    The exporter writes a weight as a float and a QuantizeLinear after it: four times the size.
    """
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    same = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type == "Identity"}
    for node in [n for n in model.graph.node if n.op_type == "QuantizeLinear"]:
        if node.input[0] not in constants:
            continue
        weight, scales = (
            numpy_helper.to_array(constants[same.get(name, name)]) for name in node.input[:2]
        )
        steps = (weight / scales.reshape(-1, *[1] * (weight.ndim - 1))).round()
        rounded = steps.clip(-128, 127).astype(np.int8)
        constants[node.input[0]].CopyFrom(numpy_helper.from_array(rounded, node.output[0]))
        model.graph.node.remove(node)
