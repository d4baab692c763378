"""Commands on their way when gate and guardian are killed, stopped or hang, at random moments.

Commands that open take their time, or leave it to a daemon. Whatever happens then, the door is
locked in the end, and after the first lock that follows nothing opens. Where gate and guardian are
both hit, a supervisor runs `mask-gate --lock`, as systemd does.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
SLOWEST_S = 1.0
"""A command opens so long after it was started, at most."""

TRIES = 3

BESIDE = 8
"""So many gates are hit at once: most of the time they wait."""

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

GATE = """
import contextlib, os, sys, threading, time
from pathlib import Path
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.door.ownership import Ownership, runtime_folders
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.guarded_relay import GuardedRelay, GuardianLimits
from mask_gate.gate.relays.guardian import GuardianSettings
owner = Ownership("entrance", runtime_folders(os.environ))
allow, deny = sys.argv[1:]
settings = GuardianSettings({"kind": "command", "on_allow": allow, "on_deny": deny}, 0.5)
limits = GuardianLimits(answer_s=1.0)
relay = GuardedRelay(settings, on_fault=lambda what: None, owner=owner.descriptors,
                     marks=owner.marks, limits=limits)

def beat():
    while True:
        relay.beat()
        owner.beat()
        time.sleep(0.02)

threading.Thread(target=beat, daemon=True).start()
print(relay.pid, flush=True)
sys.stdin.readline()
now_s = uptime_s()
with contextlib.suppress(OutputError):
    relay.send(Signal(SignalKind.ALLOW, Reason.COMPLIANT, now_s, "a", until_s=now_s + 9.0), {})
sys.stdin.readline()
with contextlib.suppress(OutputError):
    relay.send(Signal(SignalKind.DENY, Reason.NO_MASK, uptime_s(), "d"), {})
sys.stdin.read()
relay.close()
"""

LOCK = "import sys; from mask_gate.gate.commands.gate import main; sys.exit(main())"

ALLOWS = {
    "slow": "sleep {pause}; echo allow >> {edges}",
    "slow in the background": "( sleep {pause}; echo allow >> {edges} ) & exit 0",
    "a daemon": "setsid sh -c 'sleep {pause}; echo allow >> {edges}' >/dev/null 2>&1 & exit 0",
    "deaf": "trap '' TERM INT HUP; sleep {pause}; echo allow >> {edges}",
    "many": (
        "for i in 1 2 3 4; do setsid sh -c 'sleep {pause}; echo allow >> {edges}' & done; sleep 3"
    ),
}

HITS = (
    ("guardian killed", ("kill guardian",)),
    ("guardian stopped", ("stop guardian",)),
    ("guardian stopped, then killed", ("stop guardian", "kill guardian")),
    ("gate killed", ("kill gate",)),
    ("gate stopped, then killed", ("stop gate", "kill gate")),
    ("guardian stopped, gate killed", ("stop guardian", "kill gate", "lock")),
    ("guardian killed, gate killed", ("kill guardian", "kill gate", "lock")),
    ("gate killed, guardian killed", ("kill gate", "kill guardian", "lock")),
    ("guardian killed, gate ended", ("kill guardian", "end gate")),
    ("revoked, guardian killed", ("revoke", "kill guardian")),
    ("guardian killed twice", ("kill guardian", "kill guardian")),
    ("both stopped", ("stop gate", "stop guardian", "lock")),
)


class HitGate:
    """A gate whose command that opens is on its way."""

    def __init__(self, folder, way, rng):
        self.edges_path = folder / "edges"
        self.runtime = folder / "run"
        self.runtime.mkdir(mode=0o700)
        pause = f"{rng.uniform(0.0, SLOWEST_S):.3f}"
        body = ALLOWS[way].format(pause=pause, edges=self.edges_path)
        self.commands = [
            self._script(folder, "allow.sh", body),
            self._script(folder, "deny.sh", f"echo deny >> {self.edges_path}"),
        ]
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "RUNTIME_DIRECTORY": str(self.runtime),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", GATE, *self.commands],
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.guardian = int(self.process.stdout.readline())

    @staticmethod
    def _script(folder, name, body):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return str(path)

    @property
    def edges(self):
        return self.edges_path.read_text().split() if self.edges_path.exists() else []

    def tell(self):
        with contextlib.suppress(OSError):
            self.process.stdin.write("\n")
            self.process.stdin.flush()

    def do(self, what):
        """One step of a hit; what it hits may be gone already."""
        number = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}.get(what.split()[0])
        if number is not None:
            newest = max([self.guardian, *self._guardians()])
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid if what.endswith("gate") else newest, number)
        elif what == "end gate":
            self.process.stdin.close()
        elif what == "revoke":
            self.tell()
        else:
            self._lock()

    def _guardians(self):
        below = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        with contextlib.suppress(OSError):
            return list(map(int, below.read_text().split()))
        return []

    def _lock(self):
        """Again where it says that it did not work, as a machine on which nothing gets its time."""
        flags = ("--on-allow", self.commands[0], "--on-deny", self.commands[1])
        command = [sys.executable, "-c", LOCK, "--lock", *flags]
        for _ in range(TRIES):
            done = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S
            )
            if done.returncode == 0:
                return
            print(done.stderr, flush=True)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGCONT)
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.stdout.close()


def hit_once(folder, seed, number):
    """What came of one hit: its kind, whether it opened after a lock, whether a lock is missing."""
    rng = random.Random(f"{seed} {number}")
    kind, steps = HITS[number % len(HITS)]
    way = rng.choice(sorted(ALLOWS))
    gate = HitGate(folder, way, rng)
    try:
        gate.tell()
        time.sleep(rng.uniform(0.0, 1.3 * SLOWEST_S))
        before = gate.edges
        for step in steps:
            gate.do(step)
            time.sleep(rng.choice((0.0, rng.uniform(0.0, 0.1))))
        deadline_s = time.monotonic() + PATIENCE_S
        while "deny" not in gate.edges[len(before) :] and time.monotonic() < deadline_s:
            time.sleep(0.02)
        time.sleep(1.5 * SLOWEST_S)
        after = gate.edges[len(before) :]
    finally:
        gate.close()
    missing = "deny" not in after or gate.edges[-1] != "deny"
    late = "deny" in after and "allow" in after[after.index("deny") :]
    return f"{kind}, {way}: {after}", late, missing


def test_nothing_opens_after_a_lock_and_no_lock_is_missing(tmp_path, times, attacked, seed):
    count = times(300)

    def one(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        found = hit_once(folder, seed, number)
        print(f"{seed} {number}", *found, flush=True)
        return found

    with ThreadPoolExecutor(BESIDE) as pool:
        found = list(pool.map(one, range(count)))
    attacked(
        "commands on their way, gate and guardian killed, stopped or ended at random moments in "
        f"{len(HITS)} ways",
        count,
        openings=[f"{seed} {n}: {kind}" for n, (kind, late, _) in enumerate(found) if late],
        missing=[f"{seed} {n}: {kind}" for n, (kind, _, lock) in enumerate(found) if lock],
    )
