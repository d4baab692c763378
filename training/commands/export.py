"""mask-gate-export: a checkpoint as ONNX and OpenVINO, which the gate then runs without torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from mask_gate.models.files.checkpoint import Checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.onnx_export import export_onnx
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.files.openvino_file import save_openvino
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.networks.quantized import quantize
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.errors import UsageError, require, run_command

_MEASURED_PICTURES = 300
"""For the ranges of int8."""


def main(argv: Sequence[str] | None = None) -> int:
    """Export one checkpoint; returns the exit code."""
    arguments = parser().parse_args(argv)
    return run_command("mask-gate-export", lambda: _export(arguments))


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-export."""
    made = argparse.ArgumentParser(prog="mask-gate-export", description=__doc__)
    text = "those that come with mask-gate by default"
    made.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, metavar="FILE", help=text)
    text = "beside the weights by default; those that come with mask-gate need it"
    made.add_argument("--out", type=Path, metavar="FILE", help=text)
    made.add_argument(
        "--openvino", action="store_true", help="also OpenVINO's .xml and .bin, beside the .onnx"
    )
    made.add_argument(
        "--int8",
        action="store_true",
        help="also .int8.onnx, with which OpenVINO takes half as long on processors with VNNI; "
        "its ranges are measured on training images",
    )
    text = "with --int8: the data set; else the variable MASK_GATE_DATA, else ./data"
    made.add_argument(
        "--data", default=os.environ.get("MASK_GATE_DATA", "data"), metavar="DIR", help=text
    )
    text = "folder of train.txt and valid.txt, if not those in DATA"
    made.add_argument("--lists", type=Path, metavar="DIR", help=text)
    return made


def _export(arguments: argparse.Namespace) -> None:
    out = arguments.out
    if out is None:
        if arguments.weights == BUNDLED_WEIGHTS:
            raise UsageError("--out: needs a FILE, for the bundled weights have their twin already")
        out = arguments.weights.with_suffix(".onnx")
    if arguments.openvino:
        require("openvino")
    checkpoint = open_weights(arguments.weights)
    made_from = fingerprint(arguments.weights)
    export_onnx(checkpoint, out, made_from)
    if arguments.openvino:
        save_openvino(out, out.with_suffix(".xml"))
    print(f"{out}: {checkpoint.architecture}, {checkpoint.input_size} px")
    if arguments.int8:
        quantized = _quantized(checkpoint, arguments.data, arguments.lists)
        small = out.with_suffix(".int8.onnx")
        export_onnx(checkpoint, small, made_from, quantized)
        print(f"{small}: the same in 8 bits")


def _quantized(checkpoint: Checkpoint, path: str, lists: Path | None) -> DetectionNetwork:
    """The checkpoint's network in 8 bits, its ranges measured on images of the training split."""
    data = DatasetFolder.open(path, lists)
    records = data.split("train")
    chosen = np.random.default_rng(0).permutation(len(records))[:_MEASURED_PICTURES]

    def squares() -> Iterator[torch.Tensor]:
        for at in tqdm(chosen, unit="image", disable=None):
            sample = data.load(records[at])
            square = Letterbox(sample.size_hw, checkpoint.input_size).image(sample.image)
            rgb = square[None, ..., ::-1].transpose(0, 3, 1, 2)
            yield torch.from_numpy(rgb.astype(np.float32) / 255)

    network = checkpoint.network()
    quantize(network, squares())
    return network


if __name__ == "__main__":
    sys.exit(main())
