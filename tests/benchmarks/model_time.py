"""How long the bundled detector takes for one frame here, in milliseconds.

    .venv/bin/python tests/benchmarks/model_time.py [--weights FILE.onnx] [--threads 2] [--runs 100]

Model time is ONNX Runtime alone on a letterboxed square; the rest is what `Detector` adds to it for
a 640 x 480 frame. Each figure is the median with the fastest and the slowest run.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import onnxruntime

from mask_gate.gate.detector.detector import Detector
from mask_gate.gate.domain import Frame
from mask_gate.models.files.onnx_file import OnnxFile

BUNDLED = Path(__file__).resolve().parents[2] / "assets/weights/mask-gate-lite.onnx"


def milliseconds(call, runs: int) -> dict[str, float]:
    for _ in range(5):
        call()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - began))
    figures = {"median": np.median(times), "min": min(times), "max": max(times)}
    return {name: round(float(value), 1) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the detector.")
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    model = OnnxFile(options.weights, options.threads)
    rng = np.random.default_rng(0)
    side = model.about.input_size
    squares = rng.integers(0, 256, (1, side, side, 3)).astype(np.uint8)
    detector = Detector(options.weights)
    frame = Frame(rng.integers(0, 256, (480, 640, 3)).astype(np.uint8), 0.0, 0)
    report = {
        "machine": platform.processor() or platform.machine(),
        "onnxruntime": onnxruntime.__version__,
        "threads": options.threads,
        "input_size": side,
        "model_ms": milliseconds(lambda: model(squares), options.runs),
        "frame_640x480_ms": milliseconds(lambda: detector(frame), options.runs),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
