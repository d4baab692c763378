"""What bfloat16 and int8 gain and cost here: paired times, strict mAP and presentations on dev.

    python tests/benchmarks/reduced_precision.py --data DATA --lists DEV [--json FILE]

`--lists` names images that neither the model nor the ranges of int8 have seen. The 100 validation
images are not looked at: nothing may be chosen on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mask_gate.gate.detector.exported_engine import ExportedEngine
from mask_gate.gate.detector.processor import cpu_name
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.files.openvino_file import OpenVinoFile, has_bfloat16
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.inference import results_of
from mask_gate.training.evaluation.metrics import evaluate_strict
from mask_gate.training.evaluation.presentation_run import (
    choose_faces,
    show_faces,
    summarise_shown,
)

SHARES = (1.0, 3 / 4, 9 / 16)  # height by width: the square, and what cameras give


class AsNetwork(nn.Module):
    """An engine where evaluation expects a network."""

    def __init__(self, engine):
        super().__init__()
        self.engine = engine

    def predict(self, rgb):
        squares = (rgb * 255).round().to(torch.uint8).permute(0, 2, 3, 1).flip(3).contiguous()
        return torch.from_numpy(self.engine.run_batch(squares.numpy()))


def paired_ms(engines, picture, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            for _ in range(3):  # threads of the one before spin for a while
                engine(picture)
            began_s = time.perf_counter()
            engine(picture)
            times[name].append(1000 * (time.perf_counter() - began_s))
    return times


def opened(weights: Path, threads: int) -> dict[str, ExportedEngine]:
    plain, quantized = (weights.with_suffix(suffix) for suffix in (".onnx", ".int8.onnx"))
    files = {
        "onnx float32": OnnxFile(plain, threads),
        "openvino float32": OpenVinoFile(plain, threads),
        "onnx int8": OnnxFile(quantized, threads),
        "openvino int8": OpenVinoFile(quantized, threads),
    }
    if has_bfloat16():
        files["openvino bfloat16"] = OpenVinoFile(plain, threads, "bf16")
        files["openvino int8, rest bfloat16"] = OpenVinoFile(quantized, threads, "bf16")
    return {name: ExportedEngine(f, name, f.about.input_size) for name, f in files.items()}


def believed(engine, data, records, limit: int) -> dict[str, dict[str, str]]:
    """Counts of each class, over the core ways and all."""
    shown = show_faces(
        choose_faces(records, limit, 0),
        data.load,
        AsNetwork(engine),
        engine.input_size,
        torch.device("cpu"),
    )
    totals = summarise_shown(shown, Thresholds.of(engine.operating_point))["totals"]
    assert isinstance(totals, dict)
    return totals


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure bfloat16 and int8.")
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--lists", required=True)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=30, help="faces of each class that are shown")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    engines = opened(options.weights, options.threads)
    size = engines["onnx float32"].input_size
    rng = np.random.default_rng(0)
    rows: dict[str, dict[str, object]] = {name: {} for name in engines}
    for share in SHARES:
        picture = rng.integers(0, 256, (round(size * share), size, 3), np.uint8)
        times = paired_ms(engines, picture, options.rounds)
        base_ms = np.array(times["onnx float32"])
        for name, took_ms in times.items():
            rows[name][f"{size} x {picture.shape[0]}"] = {
                "median_ms": round(statistics.median(took_ms), 2),
                "p5_p95_ms": [round(float(x), 2) for x in np.quantile(took_ms, (0.05, 0.95))],
                "ratio": round(float(np.median(np.array(took_ms) / base_ms)), 3),
            }
            print(name, picture.shape[:2], rows[name][f"{size} x {picture.shape[0]}"], flush=True)
    data = DatasetFolder.open(options.data, options.lists)
    records = data.split("valid")
    samples = [data.load(record) for record in records]
    for name, engine in engines.items():
        found = results_of(AsNetwork(engine), samples, size, torch.device("cpu"))
        rows[name]["dev_map50"] = round(float(evaluate_strict(found).map50), 4)
        rows[name]["presentations"] = believed(engine, data, records, options.limit)
        print(name, rows[name]["dev_map50"], rows[name]["presentations"], flush=True)
    report = {"cpu": cpu_name(), "threads": options.threads, "engines": rows}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
