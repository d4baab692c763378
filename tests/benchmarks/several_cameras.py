"""How many cameras one gate can judge here: answers a second in all, latency, processor time.

    .venv/bin/python tests/benchmarks/several_cameras.py [--engine onnx] [--cameras 1 2 4 8]

Each door plays the demo clip at its own speed (15 pictures a second; what is not read in time is
dropped, as with a camera) through the whole gate: detector's process of all, record on the disk,
guardian and relay (`recording`) of each. An answer is what the detector said of a frame in time
to count; latency is from the picture to that. Processor time is of the gate and all its processes,
in shares of the machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import tempfile
import time
from pathlib import Path

from gate import doors as doors_module
from gate.assembly import Manner, build_gate
from gate.config import GateConfig
from gate.doors import Doors
from gate.engine import EngineKind
from gate.supervisor import Supervisor
from gate.terminal import Terminal

FPS = 15.0


def processor_s() -> float:
    """Of this process and of those it has ended and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def configured(cameras: int, engine: str, folder: Path) -> GateConfig:
    return GateConfig.model_validate(
        {
            "gate": f"bench-{os.getpid()}",
            "camera": {"source": "demo"},
            "detector": {"device": "cpu", "engine": engine},
            "quality": {"loop_window_s": 0.0},
            "outputs": {"sound": False},
            "doors": {
                str(number): {
                    "relays": [{"kind": "recording", "path": str(folder / f"{number}.door")}],
                    "audit": {"path": str(folder / f"{number}.sqlite")},
                }
                for number in range(cameras)
            },
        }
    )


class Stopwatch:
    """Notes how old each picture is when the detector has answered about it."""

    def __init__(self) -> None:
        self.ages_s: dict[str, list[float]] = {}

    def build_gate(self, config, entrance, camera, detector, *parts):
        ages_s = self.ages_s.setdefault(config.gate, [])

        def timed(frame):
            found = detector(frame)
            age_s = time.monotonic() - frame.time_s
            if age_s <= config.door.max_age_s:
                ages_s.append(age_s)
            return found

        return build_gate(config, entrance, camera, timed, *parts)


def measure(cameras: int, engine: str, seconds: float) -> dict[str, object]:
    """One run of so many cameras."""
    stopwatch = Stopwatch()
    doors_module.build_gate = stopwatch.build_gate
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        silence = stack.enter_context(Path(os.devnull).open("w"))
        terminal = stack.enter_context(contextlib.closing(Terminal(descriptor=silence.fileno())))
        supervisor = stack.enter_context(contextlib.closing(Supervisor({})))
        config = configured(cameras, engine, Path(folder))
        doors = Doors(config, Manner(), terminal, supervisor, headless=True)
        began_s, used_s = time.monotonic(), processor_s()
        doors.watch(seconds)
        spent_s, lasted_s = processor_s() - used_s, time.monotonic() - began_s
    ages_s = stopwatch.ages_s.values()
    latencies_ms = sorted(1000 * age_s for each in ages_s for age_s in each) or [float("nan")]
    return {
        "cameras": cameras,
        "offered_fps": FPS * cameras,
        "answered_fps": round(sum(map(len, ages_s)) / seconds, 1),
        "slowest_camera_fps": round(min(map(len, ages_s)) / seconds, 1),
        "latency_ms": {
            name: round(latencies_ms[round(share * (len(latencies_ms) - 1))], 1)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("worst", 1.0))
        },
        "processor": round(spent_s / lasted_s / len(os.sched_getaffinity(0)), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="onnx", choices=[*EngineKind])
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    options = parser.parse_args()
    for cameras in options.cameras:
        print(json.dumps(measure(cameras, options.engine, options.seconds)), flush=True)


if __name__ == "__main__":
    main()
