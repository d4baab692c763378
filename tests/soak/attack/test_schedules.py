"""Whole gates whose processes are killed, stopped and hang by random schedules, again and again.

Gate, guardian, detector, camera process and the commands of the relay are hit at random moments, in
random order. What a supervisor such as systemd does follows: a gate that stands still is killed,
and `mask-gate --lock` runs after an end that was none of its own. Then the door must be locked, and
whatever was on its way may not have opened it after a lock.
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

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 300.0
SLOWEST_S = 0.8
"""A command opens so long after it was started, at most."""

BESIDE = 3
"""So many gates are hit at once: most of the time they wait."""

TRIES = 3

MODULES = {
    "guardian": b"mask_gate.gate.relays.guardian",
    "detector": b"mask_gate.gate.detector.worker",
    "camera": b"mask_gate.gate.camera.capture_process",
}
TARGETS = ("gate", "guardian", "guardian", "detector", "camera", "command", "all")
HITS = ("kill", "stop", "stop, then kill", "hang")
LONGEST_HANG_S = 3.0

SCRIPTS = {
    "begin.sh": 'read u _ < /proc/uptime; echo "$u begin $MASK_GATE_ID" >> {edges}',
    "open.sh": 'read u _ < /proc/uptime; echo "$u allow $MASK_GATE_ID" >> {edges}',
    "deny.sh": 'read u _ < /proc/uptime; echo "$u deny $MASK_GATE_ID" >> {edges}',
}
ALLOWS = {
    "slow": "sleep {pause}; {open}",
    "slow in the background": "( sleep {pause}; {open} ) & exit 0",
    "a daemon": "setsid sh -c 'sleep {pause}; {open}' >/dev/null 2>&1 & exit 0",
    "deaf": "trap '' TERM INT HUP; sleep {pause}; {open}",
    "many": "for i in 1 2 3; do setsid sh -c 'sleep {pause}; {open}' & done; sleep 3",
}
RELAYS = '[{{kind: recording, path: "{folder}/door"}}]'


class HitGate:
    """A gate with commands at its door, of which each writes a line."""

    def __init__(self, gate_bench, template, folder, url, rng):
        self._bench, self._rng = gate_bench, rng
        self.edges_path = folder / "edges"
        self.way = rng.choice(sorted(ALLOWS))
        paths = {name: folder / name for name in (*SCRIPTS, "allow.sh")}
        body = ALLOWS[self.way].format(
            pause=f"{rng.uniform(0.0, SLOWEST_S):.3f}", open=paths["open.sh"]
        )
        for name, text in {**SCRIPTS, "allow.sh": f"{paths['begin.sh']}\n{body}"}.items():
            paths[name].write_text(f"#!/bin/sh\n{text.format(edges=self.edges_path)}\n")
            paths[name].chmod(0o755)
        relay = f"on_allow: {paths['allow.sh']}, on_deny: {paths['deny.sh']}"
        template = template.replace(RELAYS, f"[{{{{kind: command, {relay}}}}}]")
        self.environment = {}
        for name in ("RUNTIME_DIRECTORY", "STATE_DIRECTORY"):
            place = folder / name.lower()
            place.mkdir(mode=0o700)
            self.environment[name] = str(place)
        self.gate = gate_bench.Gate(folder, url, template=template, environment=self.environment)

    @property
    def edges(self):
        """What happened at the door, as (what, signal)."""
        return [tuple(line.split()[1:]) for line in self._bench.whole_lines(self.edges_path)]

    @property
    def is_locked(self):
        levels = [what for what, *_ in self.edges if what != "begin"]
        return levels[-1:] == ["deny"]

    def wait_for_an_opening(self):
        """Until a command that opens was started, or for so long that the gate is slow to start."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not any(what == "begin" for what, *_ in self.edges):
            assert self.gate.process.poll() is None, self.gate.said
            if time.monotonic() > deadline_s:
                return
            time.sleep(0.05)

    def hit(self, target, how):
        """Do something to one of its processes, or to all; it may be gone already."""
        pids = self._pids(target)
        numbers = {"kill": [signal.SIGKILL], "stop": [signal.SIGSTOP], "hang": [signal.SIGSTOP]}
        for number in numbers.get(how, [signal.SIGSTOP, signal.SIGKILL]):
            self._send(pids, number)
            if how == "stop, then kill":
                time.sleep(self._rng.uniform(0.0, 0.3))
        if how == "hang" or (target, how) == ("all", "stop"):  # a suspend comes to an end
            time.sleep(self._rng.uniform(0.0, LONGEST_HANG_S))
            self._send(pids, signal.SIGCONT)

    def supervise(self):
        """What systemd does: a gate that stands still, or was killed, is followed by a lock."""
        process = self.gate.process
        if self._stands_still():
            process.kill()
        if process.poll() is None:
            self._bench.wait_until(
                lambda: self.is_locked or process.poll() is not None, PATIENCE_S, "a lock"
            )
            process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)
        if process.returncode != 0:
            self._lock()

    def close(self):
        self.gate.__exit__()

    def _pids(self, target):
        below = self._bench.processes_below(self.gate.pid)
        if target == "gate":
            return [self.gate.pid]
        if target == "all":
            return [self.gate.pid, *below]
        lines = {pid: self._words(pid) for pid in below}
        if target == "command":
            return [pid for pid, words in lines.items() if any(b".sh" in word for word in words)]
        return [pid for pid, words in lines.items() if MODULES[target] in words][-1:]

    @staticmethod
    def _words(pid):
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return []

    @staticmethod
    def _send(pids, number):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def _stands_still(self):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{self.gate.pid}/stat").read_text()
            return stat.rpartition(")")[2].split()[0] == "T"
        return False

    def _lock(self):
        """Again where it says that it did not work, as a machine on which nothing gets its time."""
        command = [*self._bench.COMMAND, "--lock", "--config", str(self.gate.config)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}
        for _ in range(TRIES):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S
            )
            if done.returncode == 0:
                return
            print(done.stderr, flush=True)


def late_openings(edges):
    """Openings after a lock that came when their command was on its way already."""
    on_its_way, late = set(), []
    for what, *name in edges:
        if what == "begin":
            on_its_way.update(name)
        elif what == "deny":
            on_its_way.clear()
        elif not on_its_way.issuperset(name):
            late += name
    return late


def schedule(rng):
    """What is done to whom, one after the other."""
    return [(rng.choice(TARGETS), rng.choice(HITS)) for _ in range(rng.randint(1, 4))]


def run_schedule(gate_bench, template, folder, url, seed):
    """One gate, one schedule; what was done, and what was wrong."""
    rng = random.Random(seed)
    steps = schedule(rng)
    gate = HitGate(gate_bench, template, folder, url, rng)
    try:
        if rng.random() < 0.8:
            gate.wait_for_an_opening()
            time.sleep(rng.uniform(0.0, 1.2 * SLOWEST_S))
        else:  # while it starts
            time.sleep(rng.uniform(0.0, 4.0))
        for target, how in steps:
            gate.hit(target, how)
            time.sleep(rng.choice((0.0, rng.uniform(0.0, 0.3))))
        gate.supervise()
        time.sleep(1.5 * SLOWEST_S)
        edges, is_locked = gate.edges, gate.is_locked
        intents = gate.gate.intents()
    finally:
        gate.close()
    late = late_openings(edges)
    unrecorded = {name for what, *rest in edges if what == "allow" for name in rest} - set(intents)
    openings = sum(what == "allow" for what, *_ in edges)
    return f"{seed}: {gate.way}, {steps}", openings, [*late, *unrecorded], not is_locked


@pytest.fixture
def slow_camera(gate_bench):
    """Somebody with a proper mask before it, and few pictures: all gates look at it at once."""
    camera = gate_bench.DoorCamera(fps=8.0)
    yield camera
    camera.mode = "close"
    camera.vanish()


def test_whatever_is_killed_stopped_or_hangs_the_door_is_locked_in_the_end(
    gate_bench, patient_gate, slow_camera, tmp_path, times, attacked, seed
):
    count = times(200)

    def one(number):
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            found = run_schedule(
                gate_bench, patient_gate, folder, slow_camera.url, f"{seed} {number}"
            )
        except Exception as error:
            print(f"{seed} {number}: {error!r}", flush=True)
            raise
        print(*found, flush=True)
        return found

    with ThreadPoolExecutor(BESIDE) as pool:
        found = list(pool.map(one, range(count)))
    attacked(
        "whole gates: gate, guardian, detector, camera process, commands or all of them killed, "
        f"stopped, hanging, by random schedules ({sum(n for _, n, *_ in found)} openings seen)",
        count,
        openings=[said for said, _, late, _ in found if late],
        missing=[said for said, _, _, lock in found if lock],
    )
