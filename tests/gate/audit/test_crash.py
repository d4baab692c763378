"""The audit and kill -9: whatever was acknowledged is there, in a whole chain.

For more than a few kills: `python tests/gate/audit/test_crash.py 500`.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import COLUMNS
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.domain import Reason, Signal, SignalKind

pytestmark = pytest.mark.process

LONG_S = 30.0
PER_S = 50


def write(path, begin):
    """Open PER_S times a second, say each one that was allowed, until killed."""
    audit = Audit(path, "lobby", wait_s=LONG_S)
    for number in range(begin, sys.maxsize):
        signal = Signal(SignalKind.ALLOW, Reason.COMPLIANT, 1.0, f"s{number}", until_s=6.0)
        audit.intend(signal, {"id": signal.id})
        print(number, flush=True)
        audit.write({"id": f"e{number}", "state": "deny"})
        time.sleep(1 / PER_S)


def kill_while_writing(folder, count, seed=0):
    """Kill the writer of one file again and again; how many rows were acknowledged, and are there.

    Asserts after each kill that the file is sound, and its chain whole.
    """
    chance = random.Random(seed)
    path = folder / "audit.sqlite"
    acknowledged = set()
    for _ in range(count):
        writer = subprocess.Popen(
            [sys.executable, __file__, "write", path, str(len(acknowledged))],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])},
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [writer.stdout.readline()]
        assert lines[0], "the writer did not begin"
        listener = threading.Thread(target=lambda w=writer, to=lines: to.extend(w.stdout))
        listener.start()
        time.sleep(chance.uniform(0.0, 0.5))
        writer.kill()
        listener.join(LONG_S)
        writer.wait()
        writer.stdout.close()
        acknowledged |= {int(line) for line in lines if line.endswith("\n")}
        assert_there(path, acknowledged)
    return len(acknowledged)


def assert_there(path, acknowledged):
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    with AuditReader(path) as reader:
        assert reader.check().breaks == []
        rows = [dict(zip(COLUMNS, row, strict=True)) for row in reader.rows()]
    there = {row["signal_id"] for row in rows if row["kind"] == "intent"}
    missing = {f"s{number}" for number in acknowledged} - there
    assert not missing, f"acknowledged, and lost: {sorted(missing)}"
    assert not any(row["kind"] == "alarm" for row in rows)
    assert not list(path.parent.glob("*.corrupt-*"))


def test_no_acknowledged_row_is_missing_after_kills(tmp_path):
    assert kill_while_writing(tmp_path, count=4) >= 4


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        with tempfile.TemporaryDirectory() as name:
            kills = int(sys.argv[1])
            rows = kill_while_writing(Path(name), kills, seed=time.time_ns())
        print(json.dumps({"kills": kills, "acknowledged": rows, "missing": 0}))
