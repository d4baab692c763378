"""How the time of a frame grows with the side of the input, by ONNX Runtime and OpenVINO.

    python tests/benchmarks/input_size.py [--rounds 25] [--json FILE] [--picture PNG]

The bundled weights exported for each side, called in turns, two threads each. Threads of the one
called before still spin for a while and take a core from the next; so each is called some times
before its call that counts.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from peers import BUNDLED, THREADS, WARM_UP, by_onnx, by_openvino, gflop, resized

from mask_gate.gate.detector.processor import cpu_name
from mask_gate.models.files.openvino_file import has_bfloat16
from mask_gate.training.evaluation.plots import BLUE, GREY, INK, VERMILLION, save

SIDES = (320, 384, 416, 448, 512, 576, 608, 640)
ENGINES = {"ONNX Runtime": BLUE, "OpenVINO bfloat16": VERMILLION}


def draw(report, path: Path) -> None:
    """Milliseconds against pixels: a straight line through zero would be cost by pixel alone."""
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    axes = figure.subplots()
    pixels = [side * side / 1000 for side in SIDES]
    for engine, colour in ENGINES.items():
        rows = [report["sides"][str(side)].get(engine) for side in SIDES]
        if rows[0] is None:
            continue
        middle = [row["median_ms"] for row in rows]
        ends = ([row["min_ms"] for row in rows], [row["max_ms"] for row in rows])
        axes.fill_between(pixels, *ends, color=colour, alpha=0.15, lw=0)
        axes.plot(pixels, middle, "o-", color=colour, lw=1.6, ms=4, label=engine)
        for x, y, side in zip(pixels, middle, SIDES, strict=True):
            if engine == "ONNX Runtime":
                axes.annotate(str(side), (x, y), (0, 6), textcoords="offset points", ha="center")
    axes.set_xlim(0, None)
    axes.set_ylim(0, None)
    axes.set_xlabel("thousand pixels of the input (labels: its side)", color=INK)
    axes.set_ylabel("ms a frame", color=INK)
    axes.set_title("A frame's time against the size of the input", loc="left", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=GREY)
    axes.legend(frameon=False)
    save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--weights", type=Path, default=BUNDLED)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    calls, work = {}, {}
    report = {"cpu": cpu_name(), "threads": THREADS, "load": os.getloadavg()[0], "sides": {}}
    with tempfile.TemporaryDirectory() as folder:
        for side in SIDES:
            path = resized(options.weights, Path(folder) / f"{side}.onnx", side)
            work[side] = gflop(path)
            calls[side, "ONNX Runtime"] = by_onnx(path)
            if has_bfloat16():
                calls[side, "OpenVINO bfloat16"] = by_openvino(path, "bf16")
        taken = {key: [] for key in calls}
        for _ in range(options.rounds):
            for key, call in calls.items():
                for _ in range(WARM_UP):
                    call()
                began_s = time.perf_counter()
                call()
                taken[key].append(1000 * (time.perf_counter() - began_s))
    for side in SIDES:
        row = report["sides"][str(side)] = {"gflop": round(work[side], 2)}
        told = f"{side} px, {work[side]:5.2f} GFLOP"
        for engine in ENGINES:
            ms = np.array(taken.get((side, engine), []))
            if not len(ms):
                continue
            ratio = float(np.median(ms / np.array(taken[416, engine])))
            row[engine] = {
                "median_ms": round(float(np.median(ms)), 2),
                "min_ms": round(float(ms.min()), 2),
                "max_ms": round(float(ms.max()), 2),
                "to_416": round(ratio, 2),
            }
            told += f" | {engine} {np.median(ms):5.1f} ({ms.min():.1f} to {ms.max():.1f})"
            told += f" x {ratio:.2f}"
        print(told)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.picture:
        draw(report, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
