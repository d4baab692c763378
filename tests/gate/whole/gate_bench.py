"""A real `mask-gate` as a process of its own: a camera that misbehaves, and a probe at its door.

The probe is the recording relay: it has every edge from before the first picture until after the
end. `Gate.check` holds what it has against the rules of the door.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from mask_gate.gate.commands.audit import main as audit_command

ROOT = Path(__file__).resolve().parents[3]
STILLS = ROOT / "assets" / "selftest"
PATIENCE_S = 60.0
"""A generous deadline for what must come at all; machines that test are slow."""

MAX_OPEN_S = 10.0
LEASE_S = 1.0
HEARTBEAT_S = 0.5
SLACK_S = 0.5
"""What a busy machine may add to the time after which a door must be locked."""

LATE_S = 0.05
"""Whoever only wants to wake up, and does so later than this, was not let: the machine stood."""

COMMAND = (
    sys.executable,
    "-c",
    "import sys; from mask_gate.gate.commands.gate import main; sys.exit(main())",
)

WEIGHTS = None
"""Of the detector; the session's conftest fills it in."""

CONFIG = """\
camera: {{source: "{url}"}}
detector: {{device: cpu, engine: onnx, weights: "{weights}"}}
policy: {{hold_s: 9.0, lease_s: 1.0, cool_down_s: 0.2}}
door: {{max_open_s: 10.0}}
outputs: {{sound: false, events: "{folder}/events"}}
relays: [{{kind: recording, path: "{folder}/door"}}]
audit: {{path: "{folder}/audit.sqlite"}}
"""


def _fake_camera():
    spec = importlib.util.spec_from_file_location(
        "fake_camera_at_a_door", ROOT / "tests/gate/camera/fake_camera.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


FakeCamera = _fake_camera().FakeCamera


class DoorCamera(FakeCamera):
    """Sees a person with a proper mask; further modes: bare, nose, nobody, black, two."""

    _WHO: ClassVar = {"bare": "without_mask", "nose": "mask_weared_incorrect", "nobody": "empty"}

    def __init__(self, fps=15.0):
        self._stills = {path.stem: cv2.imread(str(path)) for path in STILLS.glob("*.jpg")}
        super().__init__(fps)

    def picture(self, number):
        image = self._stills[self._WHO.get(self.mode, "with_mask")]
        if self.mode == "black":
            image = np.zeros_like(image)
        if self.mode == "two":
            half = [cv2.resize(self._stills[who], (208, 416)) for who in self._who_is_there()]
            image = np.hstack(half)
        if self.mode == "sizes":
            image = image[: 416 - 32 * (number % 3)]
        noise = np.random.default_rng(number).integers(0, 6, image.shape, np.uint8)
        return cv2.add(image, noise) if self.mode != "black" else image

    def _who_is_there(self):
        return "with_mask", "without_mask"


def wait_until(holds, limit_s=PATIENCE_S, what="it"):
    """Wait for a condition; fail with a word when it does not come."""
    deadline_s = time.monotonic() + limit_s
    while not (value := holds()):
        assert time.monotonic() < deadline_s, f"{what} did not happen within {limit_s:g} s"
        time.sleep(0.01)
    return value


class Stillness:
    """Watches for how long at a time the machine lets nobody work, busy with others as it is."""

    def __init__(self):
        self._stood = []  # (from, to) of each
        self._awake_s = time.monotonic()
        self._over = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self):
        while not self._over.wait(LATE_S / 5):
            now_s = time.monotonic()
            if now_s - self._awake_s > LATE_S:
                self._stood.append((self._awake_s, now_s))
            self._awake_s = now_s

    def between(self, from_s, to_s):
        """Seconds of that time in which nobody could have done anything."""
        return sum(max(0.0, min(end, to_s) - max(begin, from_s)) for begin, end in self._stood)

    def close(self):
        self._over.set()


def whole_lines(path):
    """Of a file that somebody writes to: without a line of which only the beginning is there."""
    return path.read_text().rpartition("\n")[0].splitlines() if path.exists() else []


def processes_below(pid):
    """Process ids of everything that `pid` started and that is not yet gone, oldest first."""
    parents, began = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if fields[0] != "Z":
                parents[int(stat.parent.name)] = int(fields[1])
                began[int(stat.parent.name)] = int(fields[19])
    found, grew = {pid}, True
    while grew:
        more = {child for child, parent in parents.items() if parent in found} - found
        found, grew = found | more, bool(more)
    return sorted(found - {pid}, key=lambda one: (began[one], one))


class Probe:
    """What a recording relay and an audit have of one door, against the rules.

    Args:
        folder: where `door` and `audit.sqlite` lie.
    """

    slept_s = 0.0
    """By how much the record's clock is ahead of this process's."""

    def __init__(self, folder):
        self.folder = folder
        self.must_be_locked = []  # (from, to) of times in which nothing may be open
        self.stillness = Stillness()

    def awake_s(self, from_s, to_s):
        """How much time went by that the machine let somebody use."""
        return max(0.0, to_s - from_s - self.stillness.between(from_s, to_s))

    @property
    def edges(self):
        """Time, level and signal of everything that the relay did."""
        lines = whole_lines(self.folder / "door")
        return [(float(time_s), level, name) for time_s, level, name in map(str.split, lines)]

    @property
    def is_open(self):
        edges = self.edges
        return bool(edges) and edges[-1][1] == "unlocked"

    def stays_locked(self, from_s, to_s):
        """Note a time in which nothing may open; `wrong_openings` counts what did."""
        self.must_be_locked.append((from_s, to_s))

    @property
    def wrong_openings(self):
        """How many edges and openings were outside of the rules."""
        edges, wrong = self.edges, 0
        intents = self.intents()
        for number, (at, level, name) in enumerate(edges):
            if level != "unlocked":
                continue
            end_s = next((t for t, lev, _ in edges[number + 1 :] if lev == "locked"), None)
            unrecorded = name not in intents or intents[name] - self.slept_s > at
            unended = end_s is None or self.awake_s(at, end_s) > MAX_OPEN_S + SLACK_S
            forbidden = any(begin < at < end for begin, end in self.must_be_locked)
            wrong += unrecorded or unended or forbidden
        return wrong

    def intents(self):
        """Monotonic time of each opening that the audit announces, by signal."""
        path = self.folder / "audit.sqlite"
        if not path.exists():
            return {}
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            rows = "SELECT signal_id, mono_s FROM rows WHERE kind = 'intent'"
            return dict(database.execute(rows).fetchall())


class Gate(Probe):
    """One gate at one door, watched by a probe.

    Args:
        folder: where relay, events, audit and configuration lie.
        url: of the camera.
        config: more lines of gate.yaml.
        template: the lines before those.
        flags: more flags.
        before: words before the command.
    """

    def __init__(
        self, folder, url, *, config="", template=CONFIG, flags=(), before=(), environment=None
    ):
        super().__init__(folder)
        path = folder / "gate.yaml"
        path.write_text(template.format(url=url, folder=folder, weights=WEIGHTS) + config)
        path.chmod(0o640)  # it holds the camera's password
        self.config = path
        self.began_s = time.monotonic()
        self.log = (folder / "log").open("ab")
        self.process = subprocess.Popen(
            [*before, *COMMAND, "--config", str(path), "--headless", *flags],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})},
            stdout=self.log,
            stderr=self.log,
        )

    def __enter__(self):
        return self

    def stand_still(self):
        """Stop all its processes, as a suspend does; a relay's command may end meanwhile."""
        self._send(signal.SIGSTOP, self.pid, self.child("mask_gate.gate.relays.guardian"))
        self._send(signal.SIGSTOP, *processes_below(self.pid))

    def go_on(self):
        """Let all its processes run again."""
        self._send(signal.SIGCONT, self.pid, *processes_below(self.pid))

    @staticmethod
    def _send(number, *pids):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def __exit__(self, *exception):
        children = processes_below(self.pid)
        self._send(signal.SIGCONT, self.pid, *children)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
        self.stillness.close()
        deadline_s = time.monotonic() + 5.0  # guardians lock and end by themselves
        while any(Path(f"/proc/{pid}").exists() for pid in children):
            if time.monotonic() > deadline_s:
                self._send(signal.SIGKILL, *children)
                break
            time.sleep(0.02)

    @property
    def pid(self):
        return self.process.pid

    @property
    def said(self):
        """What it told its operator."""
        return (self.folder / "log").read_text(errors="replace")

    def child(self, module):
        """Process id of its newest child that runs a module, such as `gate.relays.guardian`."""

        def look():
            for pid in reversed(processes_below(self.pid)):
                with contextlib.suppress(OSError):
                    if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                        return pid
            return None

        return wait_until(look, what=f"a process of {module}")

    @property
    def events(self):
        return [json.loads(line) for line in whole_lines(self.folder / "events")]

    def wait_for_event(self, **fields):
        """Wait for an event with these fields, which is told after the door has moved; that."""

        def look():
            told = (event for event in self.events if fields.items() <= event.items())
            return next(told, None)

        return wait_until(look, what=f"an event with {fields}")

    @property
    def reason(self):
        """Why it is as it is now."""
        events = self.events
        return events[-1]["reason"] if events else None

    def wait_for_opening(self, limit_s=PATIENCE_S):
        """Wait until the door is open; when that was."""

        def look():
            assert self.process.poll() is None, self.said
            return self.is_open

        wait_until(look, limit_s, f"an opening ({self.said[-2000:]})")
        return self.edges[-1][0]

    def wait_for_new_opening(self, after_s, limit_s=PATIENCE_S):
        """Wait for an opening that begins after a moment; how long that took."""

        def look():
            assert self.process.poll() is None, self.said
            return [at for at, level, _ in self.edges if level == "unlocked" and at > after_s]

        return wait_until(look, limit_s, f"another opening ({self.said[-2000:]})")[0] - after_s

    def meets_a_bare_face(self, camera, limit_s=PATIENCE_S):
        """Show a bare face for a second and more, through which it is locked, then a mask again."""
        camera.mode, bare_s = "bare", time.monotonic()
        wait_until(lambda: not self.is_open, limit_s)
        time.sleep(1.0)
        self.stays_locked(bare_s + LEASE_S + 0.5, time.monotonic())
        camera.mode = "ok"
        self.wait_for_new_opening(time.monotonic(), limit_s)

    def locked_within(self, fault_s, limit_s):
        """Assert that the door was locked soon after a fault; how soon."""
        wait_until(lambda: not self.is_open, what="a lock")
        edges = self.edges
        opened_before = [at for at, level, _ in edges if level == "unlocked" and at <= fault_s]
        if not opened_before:
            return 0.0
        locks = [at for at, level, _ in edges if level == "locked" and at > opened_before[-1]]
        took_s = max(0.0, locks[0] - fault_s)
        assert self.awake_s(fault_s, locks[0]) <= limit_s + SLACK_S, (took_s, self.said[-2000:])
        return took_s

    def check(self):
        """Hold what the probe has against the rules of the door; after the end of the gate."""
        edges = self.edges
        assert edges
        assert edges[0][1] == edges[-1][1] == "locked", edges
        assert self.wrong_openings == 0, (edges, self.must_be_locked, self.said[-3000:])
        assert audit_command(["verify", "--file", str(self.folder / "audit.sqlite")]) == 0
        assert "Traceback" not in self.said, self.said

    def end(self, number=signal.SIGTERM, limit_s=PATIENCE_S):
        """Tell it to end; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(limit_s)
