"""What a gate does while other processes want the processor too: openings, faults, answers.

    .venv/bin/python tests/benchmarks/under_load.py [--engine onnx ...] [--spinning 0 1 2 4]

Each run is the whole command `mask-gate --camera demo` at the demo's own speed (15 pictures a
second, 34 s, two openings when all is well), with its record, guardian and relay, beside so many
processes that only spin, all with the gate's own rank. `faults` counts changes of state into a
fault, by reason, `slow` those in which the gate said that it cannot keep its rate. Answers and
latency are those of the gate's own last line, in which pictures that came while it was too slow
count as answered, with a fault. Engines and loads come in turns, `--rounds` times, so that what
else runs on the machine slows all alike; `runnable` is how many threads wanted a processor
meanwhile, ours and the spinning ones among them, in the mean.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import yaml

from mask_gate.gate.detector.engine import EngineKind

RUN_S = 38.0
"""The demo takes 34 s and plays again; the start takes the rest."""
_SPIN = """\
import os
parent = os.getppid()
while os.getppid() == parent:  # whoever started it may be killed
    for _ in range(10**6): pass
"""
_ENDED = re.compile(
    r"ended after ([\d.]+) s: (\d+) frames, [\d.]+ fps, latency p50 (\d+) ms, p95 (\d+) ms"
)


@contextlib.contextmanager
def spinning(count: int) -> Iterator[None]:
    """So many processes that do nothing, as fast as they can."""
    loops = [subprocess.Popen([sys.executable, "-c", _SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def runnable() -> int:
    (line,) = (x for x in Path("/proc/stat").read_text().splitlines() if x.startswith("procs_run"))
    return int(line.split()[1])


def configured(folder: Path, engine: str) -> Path:
    """A configuration whose door writes down what it hears."""
    path = folder / "gate.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "gate": f"load-{os.getpid()}",
                "camera": {"source": "demo"},
                "detector": {"device": "cpu", "engine": engine, "start_s": 80.0},
                "relays": [{"kind": "recording", "path": str(folder / "door")}],
                "audit": {"path": str(folder / "audit.sqlite")},
                "outputs": {"sound": False, "events": str(folder / "events")},
            }
        )
    )
    return path


def measure(engine: str, spinners: int) -> dict[str, object]:
    """One run of the demo."""
    command = [sys.executable, "-P", "-m", "mask_gate.gate.commands.gate", "--headless"]
    wanted: list[int] = []
    with tempfile.TemporaryDirectory() as name, spinning(spinners):
        folder = Path(name)
        config = configured(folder, engine)
        gate = subprocess.Popen(
            [*command, "--config", str(config)], stderr=subprocess.PIPE, text=True
        )
        until_s = time.monotonic() + RUN_S
        while gate.poll() is None and time.monotonic() < until_s:
            wanted.append(runnable())
            time.sleep(0.2)
        gate.terminate()
        assert gate.stderr is not None
        said = gate.stderr.read()
        gate.wait()
        events = [json.loads(line) for line in (folder / "events").read_text().splitlines()]
    ended = _ENDED.search(said)
    if ended is None:
        raise SystemExit(f"the gate did not say how it ended:\n{said}")
    seconds, frames, p50_ms, p95_ms = map(float, ended.groups())
    slow = [bool(event.get("slow")) for event in events if event["type"] != "signal"]
    return {
        "engine": engine,
        "spinning": spinners,
        "openings": sum(event.get("signal") == "allow" for event in events),
        "denials": sum(
            event["type"] == "decision" and event["state"] == "deny" for event in events
        ),
        "faults": Counter(event["reason"] for event in events if event["type"] == "fault"),
        "slow": sum(now and not before for before, now in zip([False, *slow], slow, strict=False)),
        "answers_per_s": round(frames / seconds, 1),
        "p50_ms": p50_ms,
        "p95_ms": p95_ms,
        "runnable": round(statistics.fmean(wanted), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--engine", nargs="+", default=["onnx", "openvino", "openvino-bf16"], choices=[*EngineKind]
    )
    parser.add_argument("--spinning", type=int, nargs="+", default=[0, 1, 2, 4])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for _ in range(options.rounds):
        for spinners in options.spinning:
            for engine in options.engine:
                print(json.dumps(measure(engine, spinners)), flush=True)


if __name__ == "__main__":
    main()
