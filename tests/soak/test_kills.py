"""The gate and its guardian killed at random moments, in every order, with the door open."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 30.0

GATE = """
import sys, time
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import GuardianSettings
charge = GuardianSettings({"kind": "recording", "path": sys.argv[1]}, 0.5)
relay = GuardedRelay(charge, on_fault=lambda what: None)
print(relay._guardian.pid, flush=True)
now_s = uptime_s()
relay.send(Signal(SignalKind.ALLOW, Reason.COMPLIANT, now_s, "a", until_s=now_s + 60), {})
while True:
    relay.beat()
    time.sleep(0.02)
"""

LOCK = "import sys; from mask_gate.gate.commands.gate import main; sys.exit(main())"

pytestmark = pytest.mark.soak


def edges(path):
    lines = path.read_text().splitlines() if path.exists() else []
    return [(float(time_s), level) for time_s, level, *_ in map(str.split, lines)]


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.002)


@contextlib.contextmanager
def open_gate(path):
    """A gate with its door open: its process, and the pid of its guardian."""
    path.unlink(missing_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", GATE, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        guardian = int(process.stdout.readline())
        wait_until(lambda: [level for _, level in edges(path)] == ["locked", "unlocked"])
        yield process, guardian
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def is_locked(path):
    return edges(path)[-1][1] == "locked"


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def worst_lock_s(path, rng, count, hit):
    """Hit gates whose doors are open, at random moments; the longest that one was still open."""
    worst_s = 0.0
    for _ in range(count):
        with open_gate(path) as (gate, guardian):
            time.sleep(rng.uniform(0.0, 0.3))
            hit_s = time.monotonic()
            hit(gate.pid, guardian)
            wait_until(lambda: is_locked(path))
            worst_s = max(worst_s, edges(path)[-1][0] - hit_s)
    return worst_s


HITS = {
    "gate killed, door open: locked by the guardian": (100, 0.2, lambda gate, _: kill(gate)),
    "gate stopped, door open: locked by the guardian": (
        20,
        1.0,
        lambda gate, _: kill(gate, signal.SIGSTOP),
    ),
    "guardian killed, door open: locked by the next one": (
        100,
        1.0,
        lambda _, guardian: kill(guardian),
    ),
}


@pytest.mark.parametrize("fault", HITS)
def test_one_of_the_two_is_hit(fault, tmp_path, rng, times, keep):
    full, bar_s, hit = HITS[fault]
    count = times(full)
    keep(fault, count, 0, worst_lock_s(tmp_path / "door", rng, count, hit), bar_s)


def test_both_are_killed_and_the_supervisor_locks(tmp_path, rng, times, keep):
    path = tmp_path / "door"
    config = tmp_path / "gate.yaml"
    config.write_text(f"relays:\n  - {{kind: recording, path: {path}}}\n")
    worst_s, left_open = 0.0, 0
    for number in range(times(50)):
        with open_gate(path) as (gate, guardian):
            first, second = (gate.pid, guardian) if number % 2 else (guardian, gate.pid)
            killed_s = time.monotonic()
            kill(first)
            time.sleep(rng.uniform(0.0, 0.05))
            kill(second)
            time.sleep(0.05)
            left_open += not is_locked(path)
            lock = [sys.executable, "-c", LOCK, "--lock", "--config", str(config)]
            subprocess.run(lock, cwd=ROOT, check=True, timeout=PATIENCE_S)
            assert is_locked(path)
            worst_s = max(worst_s, edges(path)[-1][0] - killed_s)
    keep(
        f"gate and guardian killed within 50 ms, either first ({left_open} left open): locked by "
        "`mask-gate --lock`, as the systemd unit runs it",
        times(50),
        0,
        worst_s,
        5.0,
    )
