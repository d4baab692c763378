"""What bfloat16 and int8 gain and cost here: paired times and strict mAP on a dev set.

    python tests/benchmarks/reduced_precision.py --data DATA [--json FILE]

The dev set is 75 of the training images, drawn with a seed; int8 is calibrated on 64 others. The
100 validation images are not looked at: nothing may be chosen on them. int8 is ONNX Runtime's
static quantization to QDQ (per channel, symmetric weights), which OpenVINO reads too; the last
layers, additions and the decoding stay in float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

from mask_gate.gate.detector.engine_choice import cpu_name
from mask_gate.gate.detector.exported_engine import ExportedEngine
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.files.openvino_file import OpenVinoFile
from mask_gate.models.letterbox import Letterbox
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.evaluation.inference import result_of
from mask_gate.training.evaluation.metrics import evaluate_strict

BUNDLED = Path(__file__).resolve().parents[2] / "assets/weights/mask-gate-lite.onnx"
DEV, CALIBRATION = 75, 64


class Squares(CalibrationDataReader):
    def __init__(self, samples, size):
        self._squares = iter(
            {"squares": Letterbox(s.size_hw, size).image(s.image)[None]} for s in samples
        )

    def get_next(self):
        return next(self._squares, None)


def quantized(path: Path, samples, size: int, folder: Path, method) -> Path:
    """An int8 copy; what comes after the last convolutions is left as it is."""
    prepared, out = folder / "prepared.onnx", folder / f"{method.name}.onnx"
    quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)
    convolutions = [n for n in onnx.load(str(prepared)).graph.node if n.op_type == "Conv"]
    heads = [n.name for n in convolutions if "/face/" in n.name or "/classes/" in n.name]
    quantize_static(
        str(prepared),
        str(out),
        Squares(samples, size),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=method,
        op_types_to_quantize=["Conv"],
        nodes_to_exclude=heads,
    )
    return out


def mean_ap(engine, samples) -> float:
    size = engine.input_size
    squares = (Letterbox(sample.size_hw, size).image(sample.image) for sample in samples)
    said = zip(samples, map(engine, squares), strict=True)
    return float(evaluate_strict([result_of(sample, rows, size) for sample, rows in said]).map50)


def paired_ms(engines, square, rounds: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            for _ in range(3):  # threads of the one before spin for a while
                engine(square)
            began_s = time.perf_counter()
            engine(square)
            times[name].append(1000 * (time.perf_counter() - began_s))
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure bfloat16 and int8.")
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = DatasetFolder.open(options.data)
    records = data.split("train")
    order = np.random.default_rng(0).permutation(len(records))
    dev = [data.load(records[i]) for i in sorted(order[:DEV])]
    others = [data.load(records[i]) for i in order[DEV : DEV + CALIBRATION]]
    with tempfile.TemporaryDirectory() as folder:
        plain, threads = options.weights, options.threads
        size = OnnxFile(plain).about.input_size
        files = {
            "onnx float32": OnnxFile(plain, threads),
            "openvino float32": OpenVinoFile(plain, threads),
            "openvino bfloat16": OpenVinoFile(plain, threads, "bf16"),
        }
        for method in (CalibrationMethod.MinMax, CalibrationMethod.Percentile):
            int8 = quantized(plain, others, size, Path(folder), method)
            files[f"onnx int8 {method.name}"] = OnnxFile(int8, threads)
            try:
                files[f"openvino int8 {method.name}"] = OpenVinoFile(int8, threads)
            except ExportedFileError as error:
                print(f"openvino int8 {method.name}: {error.__cause__}")
        engines = {name: ExportedEngine(file, name, size) for name, file in files.items()}
        square = Letterbox(dev[0].size_hw, size).image(dev[0].image)
        times = paired_ms(engines, square, options.rounds)
        base_ms = np.array(times["onnx float32"])
        base_ap = mean_ap(engines["onnx float32"], dev)
        rows = {}
        for name, engine in engines.items():
            ap = mean_ap(engine, dev)
            rows[name] = {
                "median_ms": round(statistics.median(times[name]), 2),
                "min_ms": round(min(times[name]), 2),
                "max_ms": round(max(times[name]), 2),
                "ratio": round(float(np.median(np.array(times[name]) / base_ms)), 3),
                "dev_map50": round(ap, 4),
                "lost": round(base_ap - ap, 4),
            }
            print(f"{name:28} {rows[name]}", flush=True)
    report = {"cpu": cpu_name(), "threads": threads, "dev_images": DEV, "engines": rows}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
