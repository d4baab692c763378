"""Whether a model call for several pictures is faster than a call for each, here, on the CPU.

    .venv/bin/python tests/benchmarks/batching.py [--weights FILE] [--sizes 2 4 8] [--rounds 12]

Each engine runs the same pictures together and one after the other, in turns, with two threads; the
figure is the median of the ratios (least to most): below 1 a batch gains. OpenVINO is compiled for
each batch size, as it is for one, and once for any size (`any`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.gate.detector.torch_engine import TorchEngine
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.files.openvino_file import has_bfloat16, openvino_runtime

WEIGHTS = Path(__file__).resolve().parents[2] / "assets/weights/mask-gate-lite.pth"
THREADS, WARM_UP = 2, 2

Run = Callable[[NDArray[np.uint8]], object]


def openvino(path: Path, precision: str, count: object, size: int) -> Run:
    core = openvino_runtime().Core()
    model = core.read_model(path)
    model.reshape([count, size, size, 3])
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": THREADS,
    }
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    return lambda squares: request.infer({0: squares}, share_inputs=True)


def ways(weights: Path, size: int, count: int) -> dict[str, tuple[Run, Run]]:
    """What runs them together, and what runs one."""
    exported = weights.with_suffix(".onnx")
    onnx = OnnxFile(exported, THREADS)
    torch_engine = TorchEngine(open_weights(weights), torch.device("cpu"))
    found: dict[str, tuple[Run, Run]] = {
        "onnx": (onnx, onnx),
        "torch": (torch_engine.together, torch_engine.together),
    }
    any_count = openvino_runtime().Dimension(1, count)
    for precision in ("f32", *(["bf16"] if has_bfloat16() else [])):
        one = openvino(exported, precision, 1, size)
        found[f"openvino {precision}"] = openvino(exported, precision, count, size), one
        found[f"openvino {precision}, any"] = openvino(exported, precision, any_count, size), one
    return found


def milliseconds(run: Run, batches: Sequence[NDArray[np.uint8]]) -> float:
    began_s = time.perf_counter()
    for batch in batches:
        run(batch)
    return 1000 * (time.perf_counter() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    size = open_weights(options.weights).input_size
    for count in options.sizes:
        squares = np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)
        engines = ways(options.weights, size, count)
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in engines}
        for _ in range(options.rounds):
            for name, (together, one) in engines.items():
                for _ in range(WARM_UP):  # threads of the one before spin for a while
                    together(squares)
                batch_ms = milliseconds(together, [squares])
                for _ in range(WARM_UP):
                    one(squares[:1])
                row_ms = milliseconds(one, [square[None] for square in squares])
                taken[name].append((batch_ms, row_ms))
        for name, pairs in taken.items():
            ratios = [batch_ms / row_ms for batch_ms, row_ms in pairs]
            each_ms = [statistics.median(column) / count for column in zip(*pairs, strict=True)]
            print(
                f"{count} x {name:20s} together {each_ms[0]:5.1f} ms a picture, one by one "
                f"{each_ms[1]:5.1f}; ratio {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()
