"""What the detector's own process costs: time for each frame, and memory, here.

    .venv/bin/python tests/benchmarks/detector_process_time.py [--weights FILE] [--runs 100]

Each frame is asked about twice, in this process and in the detector's, in turns, so that a busy
machine slows both alike; the cost is the median of the differences, with the middle half of them.
`way_alone` is a process that answers at once: what the way there and back takes.

Memory is what is resident (VmRSS), for the gate before and after it loads the detector itself.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.detector.child import worker_command
from mask_gate.gate.detector.detector_process import DetectorProcess
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.detector.selftest import SelfTest
from mask_gate.gate.domain import Frame

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SIZES_HW = ((480, 640), (1080, 1920))
ANSWERS_AT_ONCE = """
import sys
from types import SimpleNamespace
import numpy as np
from mask_gate.gate.detector.worker import serve
from mask_gate.models.detections import Detections

class AtOnce:
    model_id, engine, batch_size = "none", SimpleNamespace(name="none", operating_point=None), 1

    def __call__(self, frame):
        ones = np.ones(3, np.float32)
        return Detections(np.array([[0, 0, 9, 9]] * 3, np.float32), ones, np.zeros(3, int), ones)

sys.exit(serve(AtOnce, int(sys.argv[1])))
"""


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return round(int(line.split()[1]) / 1024, 1)
    return 0.0


def milliseconds(detect, frame: Frame) -> float:
    began_s = time.perf_counter()
    detect(frame)
    return 1000 * (time.perf_counter() - began_s)


def quartiles(values) -> dict[str, float]:
    names = ("least", "q1", "median", "q3")
    return {
        name: round(float(value), 2)
        for name, value in zip(names, np.percentile(values, (0, 25, 50, 75)), strict=True)
    }


def frames_of(size_hw: tuple[int, int]) -> list[Frame]:
    rng = np.random.default_rng(0)
    return [Frame(rng.integers(0, 256, (*size_hw, 3), np.uint8), 0.0, n) for n in range(8)]


def way_alone(size_hw: tuple[int, int], runs: int) -> dict[str, float]:
    command = [sys.executable, "-c", ANSWERS_AT_ONCE]
    limits = ProcessLimits(result_s=None, hang_s=60.0)
    process = DetectorProcess(command, lambda detect, point: [], limits)
    frames = frames_of(size_hw)
    times = [milliseconds(process, frames[run % len(frames)]) for run in range(runs + 5)]
    process.close()
    return quartiles(times[5:])


def compare(ours, process, size_hw: tuple[int, int], runs: int) -> dict[str, dict[str, float]]:
    frames = frames_of(size_hw)
    inside, across = [], []
    for run in range(-5, runs):
        frame = frames[run % len(frames)]
        pair = [(ours, inside), (process, across)]
        for detect, times in pair if run % 2 else pair[::-1]:
            times.append(milliseconds(detect, frame))
    inside_ms, across_ms = np.array(inside[5:]), np.array(across[5:])
    return {
        "in_process_ms": quartiles(inside_ms),
        "own_process_ms": quartiles(across_ms),
        "cost_ms": quartiles(across_ms - inside_ms),
        "way_alone_ms": way_alone(size_hw, runs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the detector's process.")
    parser.add_argument("--weights", type=Path, default=ASSETS / "weights/mask-gate-lite.pth")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=int, default=100)
    options = parser.parse_args()
    votes = VoteThresholds.of(None, None, None)
    selftest = SelfTest(ASSETS / "selftest", high_score=0.2, votes=votes)
    took_s: list[float] = []

    def timed_selftest(detect, point):
        began_s = time.perf_counter()
        remarks = selftest(detect)
        took_s.append(time.perf_counter() - began_s)
        return remarks

    began_s = time.perf_counter()
    process = DetectorProcess(
        worker_command(options.weights, options.device),
        timed_selftest,
        ProcessLimits(result_s=None, hang_s=60.0),
    )
    report: dict[str, object] = {
        "engine": process.engine_name,
        "start_s": round(time.perf_counter() - began_s, 2),
        "selftest_s": round(took_s[0], 2),
        "gate_mb": resident_mb(os.getpid()),
    }
    from mask_gate.gate.detector.detector import (
        Detector,  # only now: it loads ONNX Runtime, or torch
    )

    ours = Detector(options.weights, options.device)
    for size_hw in SIZES_HW:
        report["x".join(map(str, size_hw[::-1]))] = compare(ours, process, size_hw, options.runs)
    report["detector_mb"] = resident_mb(process.pid or 0)
    report["gate_with_the_detector_inside_mb"] = resident_mb(os.getpid())
    process.close()
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
