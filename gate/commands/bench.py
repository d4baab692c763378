"""mask-gate-bench: what this machine makes of a model: engines, stages, latency, start, memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from mask_gate.gate.camera.clip import VideoClip
from mask_gate.gate.camera.source import DEMO_CLIP
from mask_gate.gate.commands.bench_run import measure_latency, measure_start
from mask_gate.gate.commands.bench_stages import (
    Times,
    measure_crowds,
    measure_stages,
    measure_suppression,
    outside_the_model,
)
from mask_gate.gate.commands.run_command import run_command
from mask_gate.gate.detector.engine import Engine, EngineKind
from mask_gate.gate.detector.engines import open_engine
from mask_gate.gate.detector.processor import cpu_name
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import GateError, OutputError
from mask_gate.models.shipped import BUNDLED_WEIGHTS

SIZES_HW = ((480, 640), (1080, 1920))
_LIBRARIES = ("numpy", "opencv-python", "onnxruntime", "openvino", "torch")
_MATRIX = 2048
_WARM_UP = 3


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    return run_command("mask-gate-bench", partial(_main, argv))


def _main(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    report = _measure(options)
    if options.json:
        try:
            options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{options.json}: {error.strerror}") from None
    return 0


def parser() -> argparse.ArgumentParser:
    """Reads the flags of mask-gate-bench."""
    made = argparse.ArgumentParser(prog="mask-gate-bench", description=__doc__)
    made.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS, metavar="FILE")
    made.add_argument("--runs", type=int, default=60, help="of each engine, in turns")
    made.add_argument("--seconds", type=float, default=34.0, help="of each whole run of the gate")
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, printed as soon as it is known."""
    report: dict[str, Any] = {"machine": _machine()}
    for name, value in report["machine"].items():
        print(f"{name:<28}{value}")
    engines = _engines(options.weights)
    side = next(iter(engines.values())).input_size
    report["engines_ms"] = _in_turns(engines, side, options.runs)
    _table(f"one {side} x {side} picture, ms", report["engines_ms"])
    fastest = min(engines, key=lambda name: report["engines_ms"][name]["median"])
    report["stages_ms"] = {}
    for size_hw in SIZES_HW:
        named = f"{size_hw[1]}x{size_hw[0]}"
        stages = measure_stages(engines[fastest], VideoClip(DEMO_CLIP), size_hw, options.runs)
        share = outside_the_model(stages)
        report["stages_ms"][named] = {**stages, "outside_the_model": round(share, 3)}
        _table(f"a {named} frame by {fastest}, ms", stages)
        print(f"{'outside the model':<28}{share:.1%} of its time")
    report["suppression_1000_ms"] = measure_suppression(options.runs)
    report["crowd_ms"] = measure_crowds(options.runs)
    _table("1,000 candidates, ms", {"suppression": report["suppression_1000_ms"]})
    _table("suppression and tracking by faces, ms", report["crowd_ms"])
    report["latency"] = []
    for fps in (15.0, 30.0):
        found = measure_latency(options.weights, EngineKind(fastest), fps, options.seconds)
        report["latency"].append(found)
        print(f"\n{fps:g} fps: picture to decision {found['decision_ms']} ms")
        print(f"{'':8}picture to relay, each opening: {found['relay_ms']} ms")
    report["start"] = {}
    for kind in {EngineKind(fastest), next(iter(map(EngineKind, engines)))}:
        report["start"][kind] = measure_start(options.weights, kind)
        print(f"\nstart with {kind}: {report['start'][kind]}")
    return report


def _machine() -> dict[str, Any]:
    versions = []
    for library in _LIBRARIES:
        try:
            versions.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            versions.append(f"{library} -")
    return {
        "processor": cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "load before": os.getloadavg()[0],
        "float32 product, GFLOP/s": round(_matrix_rate(), 1),
        "python": sys.version.split()[0],
        "versions": ", ".join(versions),
    }


def _matrix_rate() -> float:
    """GFLOP/s of a product of two large float32 matrices: what the machine can do at best."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((_MATRIX, _MATRIX), np.float32) for _ in range(2))
    best_s = np.inf
    for _ in range(5):
        began_s = time.perf_counter()
        a @ b
        best_s = min(best_s, time.perf_counter() - began_s)
    return float(2e-9 * _MATRIX**3 / best_s)


def _engines(weights: Path) -> dict[str, Engine]:
    """Every engine that runs the file here, the default first."""
    found: dict[str, Engine] = {}
    for kind in EngineKind:
        if kind is EngineKind.AUTO:
            continue
        try:
            found[kind], _ = open_engine(weights, "cpu", kind)
        except GateError as error:
            print(f"{kind:<28}left out: {error}")
    if not found:
        open_engine(weights, "cpu")  # says why
    return found


def _in_turns(
    calls: Mapping[str, Callable[[Image], object]], side: int, runs: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of each, one after the other again and again; a busy machine slows all alike.

    Threads of the one before spin for a while and take a core away, so some calls go uncounted.
    """
    square = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    times = {name: Times() for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            for _ in range(_WARM_UP):
                call(square)
            began_s = time.perf_counter()
            call(square)
            times[name].ms.append(1000 * (time.perf_counter() - began_s))
    base = np.array(next(iter(times.values())).ms)
    return {
        name: {**found.as_json(), "ratio": round(float(np.median(np.array(found.ms) / base)), 3)}
        for name, found in times.items()
    }


def _table(title: str, rows: dict[str, dict[str, float]]) -> None:
    columns = list(next(iter(rows.values())))
    print(f"\n{title:<28}" + "".join(f"{column:>10}" for column in columns))
    for name, row in rows.items():
        print(f"{name:<28}" + "".join(f"{row[column]:>10.3f}" for column in columns))


if __name__ == "__main__":
    sys.exit(main())
