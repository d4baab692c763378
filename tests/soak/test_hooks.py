"""Thousands of relay commands that hang, fail, flood or become daemons: nothing is left of them."""

import os
import sys
import time
from pathlib import Path

import pytest

from mask_gate.gate.relays.hook_process import HookProcess

pytestmark = pytest.mark.soak

BODIES = {
    "work": "exit 0",
    "fail": "exit 1",
    "die": "kill -9 $$",
    "flood": "head -c 200000 /dev/zero; exit 2",
    "leave a daemon": "sleep 60 & exit 0",
    "hang": "sleep 60",
    "hang with a child": "sleep 60 & wait",
    "ignore SIGTERM": "trap '' TERM; while :; do sleep 60; done",
}
LIMIT_S = 0.05
QUICK = 5  # kinds that end by themselves; each thirteenth command is of another kind


def descendants():
    """Command lines and states of all children of this process, and of their children."""
    pids = [
        int(pid)
        for task in Path(f"/proc/{os.getpid()}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return [Path(f"/proc/{pid}/stat").read_text(errors="replace") for pid in pids]


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_hooks_of_every_kind_leave_nothing(tmp_path, times, keep):
    commands, kinds = [], list(BODIES)
    for number, body in enumerate(BODIES.values()):
        path = tmp_path / f"{number}.sh"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        commands.append((str(path),))
    count, worst_s = times(10_000), 0.0
    before_files, before_children = open_files(), len(descendants())
    for number in range(count):
        began_s = time.monotonic()
        kind = number % QUICK if number % 13 else QUICK + number // 13 % (len(commands) - QUICK)
        process = HookProcess(commands[kind], {"PATH": os.environ["PATH"]}, b"{}")
        # What a command that locks leaves in the background, and has ended well, goes on.
        process.wait(LIMIT_S, lambda: False, linger=kinds[kind] == "leave a daemon")
        worst_s = max(worst_s, time.monotonic() - began_s)
    files, children = open_files() - before_files, len(descendants()) - before_children
    assert abs(files) <= 2
    assert children <= 0
    keep(
        f"relay commands that {', '.join(BODIES)} ({max(0, children)} processes and "
        f"{max(0, files)} open files left): the longest took",
        count,
        0,
        worst_s,
        3.0,
    )
