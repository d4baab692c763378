"""How long the audit takes here: openings that wait for their row, and events that do not.

    .venv/bin/python tests/benchmarks/audit_time.py [--folder DIR] [--openings N] [--events N]

`intend_ms` is what an opening waits: one after the other, each while `--rate` events a second are
written beside it. `sync_ms` is one fsync of 4 kB in the same folder, without any database.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.domain import Reason, Signal, SignalKind

EVENT = {
    "id": "0123456789abcdef0123456789abcdef",
    "type": "decision",
    "state": "deny",
    "reason": "no_mask",
    "door": "locked",
    "tracks": [{"label": "without_mask", "score": 0.912}, {"label": "with_mask", "score": 0.871}],
    "faces": 2,
    "latency_ms": 41.9,
    "model": "sha256:" + "0" * 64,
}


def shares(times_s: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * each for each in times_s)
    at = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {
        name: round(ordered[round(share * (len(ordered) - 1))], 2) for name, share in at.items()
    }


def intend_s(audit: Audit, count: int, rate: float) -> list[float]:
    done = threading.Event()

    def write_events() -> None:
        while not done.wait(1 / rate):
            audit.write(EVENT)

    writer = threading.Thread(target=write_events)
    writer.start()
    times_s = []
    for number in range(count):
        signal = Signal(SignalKind.ALLOW, Reason.COMPLIANT, time.monotonic(), f"s{number}", 5.0)
        began_s = time.perf_counter()
        audit.intend(signal, EVENT)
        times_s.append(time.perf_counter() - began_s)
    done.set()
    writer.join()
    return times_s


def sync_s(folder: Path, count: int) -> list[float]:
    times_s = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"\0" * 4096)
            began_s = time.perf_counter()
            os.fsync(file.fileno())
            times_s.append(time.perf_counter() - began_s)
    return times_s


def rows_per_s(audit: Audit, count: int) -> float:
    began_s = time.perf_counter()
    for _ in range(count):
        while len(audit._waiting) > 5000:
            time.sleep(0.001)
        audit.write(EVENT)
    while audit._waiting:
        time.sleep(0.001)
    return count / (time.perf_counter() - began_s)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the audit.")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--openings", type=int, default=1000)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=50.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        audit = Audit(folder / "audit.sqlite", "lobby", wait_s=60.0)
        audit.check(60.0)
        report: dict[str, object] = {
            "sync_ms": shares(sync_s(folder, 200)),
            "intend_ms": shares(intend_s(audit, options.openings, options.rate)),
            "rows_per_s": round(rows_per_s(audit, options.events)),
        }
        audit.close()
        began_s = time.perf_counter()
        with AuditReader(audit.path) as reader:
            rows = reader.check().rows
        report["verified_rows_per_s"] = round(rows / (time.perf_counter() - began_s))
        report["bytes_per_row"] = round(audit.path.stat().st_size / rows)
        report["load"] = os.getloadavg()[0]
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
