"""mask-gate-export: a checkpoint as ONNX and OpenVINO, which the gate then runs without torch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from mask_gate.models.files.checkpoint import CheckpointError
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.onnx_export import export_onnx
from mask_gate.models.files.open_weights import open_weights

USAGE_ERROR, WEIGHTS_ERROR, OUTPUT_ERROR = 2, 4, 5


def main(argv: Sequence[str] | None = None) -> int:
    """Export one checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(prog="mask-gate-export", description=__doc__)
    parser.add_argument("--weights", type=Path, required=True, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="FILE", help="beside the weights by default")
    parser.add_argument(
        "--openvino", action="store_true", help="also OpenVINO's .xml and .bin, beside the .onnx"
    )
    arguments = parser.parse_args(argv)
    out = arguments.out or arguments.weights.with_suffix(".onnx")
    if arguments.openvino and find_spec("openvino") is None:
        return _fail("needs OpenVINO: pip install 'mask-gate[openvino]'", USAGE_ERROR)
    try:
        checkpoint = open_weights(arguments.weights)
        export_onnx(checkpoint, out, fingerprint(arguments.weights))
        if arguments.openvino:
            from mask_gate.models.files.openvino_file import save_openvino  # an extra

            save_openvino(out, out.with_suffix(".xml"))
    except CheckpointError as error:
        return _fail(error, WEIGHTS_ERROR)
    except ImportError:
        return _fail("needs the package onnx: pip install 'mask-gate[train]'", USAGE_ERROR)
    except OSError as error:
        return _fail(error, OUTPUT_ERROR)
    print(f"{out}: {checkpoint.architecture}, {checkpoint.input_size} px")
    return 0


def _fail(error: object, code: int) -> int:
    print(f"mask-gate-export: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
