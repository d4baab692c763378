"""How many cameras one gate can judge here: answers a second in all, latency, processor time.

    .venv/bin/python tests/benchmarks/several_cameras.py [--engine onnx] [--cameras 1 2 4 8]
        [--input-size 512]

Each door plays the demo clip at its own speed (15 pictures a second; what is not read in time is
dropped, as with a camera) through the whole gate: detector's process of all, record on the disk,
guardian and relay (`recording`) of each. An answer is what the detector said of a frame in time
to count; latency is from the picture to that. The first second of each run does not count.

Processor time is of the gate and all its processes, for each answer; unlike the rest it hardly
depends on what else runs. `runnable` is how many threads of the machine wanted a processor
meanwhile, ours among them, in the mean: figures of a busy machine are of that machine.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.runtime.doors import Doors
from mask_gate.gate.runtime.parts import Parts, open_detector
from mask_gate.gate.runtime.run_mode import AfterFault, RunMode
from mask_gate.gate.system.systemd import Supervisor
from mask_gate.gate.system.terminal import Terminal

FPS = 15.0
SETTLES_S = 1.0
_TICKS = os.sysconf("SC_CLK_TCK")


def processor_s() -> dict[str, float]:
    """Seconds of processor time so far, of this process and of those it has started, by module."""
    times: dict[int, tuple[int, float]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            used = (int(fields[11]) + int(fields[12])) / _TICKS
            times[int(stat.parent.name)] = int(fields[1]), used
    ours = {os.getpid(): "gate"}
    for pid in sorted(times):
        if times[pid][0] in ours:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            ours[pid] = next((w.decode() for w in words if w.startswith(b"mask_gate.")), "other")
    found: dict[str, float] = {}
    for pid, name in ours.items():
        found[name] = found.get(name, 0.0) + times[pid][1]
    return found


def runnable() -> int:
    (line,) = (x for x in Path("/proc/stat").read_text().splitlines() if x.startswith("procs_run"))
    return int(line.split()[1])


class Observer(Supervisor):
    """Notes what happens from the moment the doors are watched.

    Attributes:
        ages_s: how old each picture was when the detector had answered, by door.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__({})
        self.seconds = seconds
        self.ages_s: dict[int, list[float]] = {}
        self.used_s: dict[str, float] = {}
        self.runnable: list[int] = []
        self._counts = False

    @contextlib.contextmanager
    def open_detector(self, config, mode):
        """The detector of all doors, with a stopwatch."""
        doors = list(config.each_door().values())
        self.ages_s = {number: [] for number in range(len(doors))}
        with open_detector(config, mode) as detector:
            yield Timed(detector, self, [door.door.decision_max_age_s for door in doors])

    def note(self, door: int, age_s: float) -> None:
        """Take the age of one picture when the detector had answered about it."""
        if self._counts:
            self.ages_s[door].append(age_s)

    def ready(self) -> None:
        threading.Thread(target=self._observe, daemon=True).start()

    def _observe(self) -> None:
        time.sleep(SETTLES_S)
        before, self._counts = processor_s(), True
        until_s = time.monotonic() + self.seconds
        while (left_s := until_s - time.monotonic()) > 0:
            self.runnable.append(runnable())
            time.sleep(min(0.1, left_s))
        self._counts, after = False, processor_s()
        self.used_s = {name: used - before.get(name, 0.0) for name, used in after.items()}


def configured(cameras: int, engine: str, input_size: int, folder: Path) -> GateConfig:
    return GateConfig.model_validate(
        {
            "gate": f"bench-{os.getpid()}",
            "camera": {"source": "demo"},
            "detector": {"device": "cpu", "engine": engine, "input_size": input_size},
            "quality": {"loop_window_s": 0.0},
            "outputs": {"sound": False},
            "doors": {
                str(number): {
                    "relays": ({"kind": "recording", "path": str(folder / f"{number}.door")},),
                    "audit": {"path": str(folder / f"{number}.sqlite")},
                }
                for number in range(cameras)
            },
        }
    )


class Timed:
    """Notes how old each picture is when the detector has answered about it."""

    def __init__(self, detector, observer, limits_s):
        self._detector, self._observer, self._limits_s = detector, observer, limits_s
        self.model_id, self.engine_name = detector.model_id, detector.engine_name
        self.operating_point = detector.operating_point

    def __call__(self, frame, camera=0):
        found = self._detector(frame, camera)
        age_s = uptime_s() - frame.time_s
        if age_s <= self._limits_s[camera]:
            self._observer.note(camera, age_s)
        return found


def measure(cameras: int, engine: str, input_size: int, seconds: float) -> dict[str, object]:
    """One run of so many cameras."""
    observer = Observer(seconds)
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        silence = stack.enter_context(Path(os.devnull).open("w"))
        terminal = stack.enter_context(contextlib.closing(Terminal(descriptor=silence.fileno())))
        config = configured(cameras, engine, input_size, Path(folder))
        mode = RunMode(
            after_fault=AfterFault.RETRY, headless=True, seconds=SETTLES_S + seconds + 0.5
        )
        parts = Parts(open_detector=observer.open_detector)
        Doors(config, mode, terminal, observer, parts=parts).watch()
    ages_s = observer.ages_s.values()
    latencies_ms = sorted(1000 * age_s for each in ages_s for age_s in each)
    answers = max(len(latencies_ms), 1)
    return {
        "cameras": cameras,
        "offered_fps": FPS * cameras,
        "answered_fps": round(len(latencies_ms) / seconds, 1),
        "slowest_camera_fps": round(min(map(len, ages_s)) / seconds, 1),
        "latency_ms": {
            name: round(latencies_ms[round(share * (len(latencies_ms) - 1))], 1)
            for name, share in (("p50", 0.5), ("p95", 0.95), ("worst", 1.0))
            if latencies_ms
        },
        "processor_ms_an_answer": {
            name: round(1000 * used / answers, 1) for name, used in observer.used_s.items()
        },
        "processor_share": round(
            sum(observer.used_s.values()) / seconds / len(os.sched_getaffinity(0)), 2
        ),
        "runnable": round(sum(observer.runnable) / max(len(observer.runnable), 1), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--engine", default="onnx", choices=[*EngineKind])
    parser.add_argument("--cameras", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--input-size", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each run")
    options = parser.parse_args()
    for cameras in options.cameras:
        found = measure(cameras, options.engine, options.input_size, options.seconds)
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
