"""mask-gate-export: a checkpoint as ONNX and OpenVINO, which the gate then runs without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.onnx_export import export_onnx
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.files.openvino_file import save_openvino
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.errors import UsageError, require, run_command


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
    export_onnx(checkpoint, out, fingerprint(arguments.weights))
    if arguments.openvino:
        save_openvino(out, out.with_suffix(".xml"))
    print(f"{out}: {checkpoint.architecture}, {checkpoint.input_size} px")


if __name__ == "__main__":
    sys.exit(main())
