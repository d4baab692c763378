"""Leftovers: processes that outlived whoever started them, and their certain end.

They are found by descent, where this process adopts orphans, or by a mark in their environment,
which every child inherits, whatever its group, session and parent. What a command that locks has
started is spared: it may still be at work. Linux only: elsewhere nothing is found. Not found
either is what cleared its environment and lost its ancestors, or what somebody else runs for it:
another user, another machine, systemd.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

PATIENCE_S = 2.0
"""How long a killed process may take to vanish: one stuck in a driver may never, and we go on."""

_PROC = Path("/proc")
_LOOK_S = 0.01
_LOOKS = 2  # in a row that find nothing: a process may start another one behind a look's back
_EXEC_S = 0.1  # a program that is just being loaded has no environment yet
_PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 36, 37
_PF_EXITING, _PF_KTHREAD = 0x4, 0x200000

Find = Callable[[], Collection[int]]
"""Gives process ids."""


class _Process(NamedTuple):
    """What /proc says of a process to everybody."""

    parent: int
    runs_a_program: bool


def adopt_orphans() -> None:
    """From now on, what loses its parent below this process becomes its child."""
    if sys.platform == "linux":
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reap() -> None:
    """Forget the children that are dead; not while something else waits for one of them."""
    with contextlib.suppress(ChildProcessError):
        while _adopts() and os.waitpid(-1, os.WNOHANG)[0]:
            pass


def below() -> list[int]:
    """What runs below this process, if it adopts orphans; else nothing is known."""
    if not (_adopts() and _has_children()):
        return []
    processes = _processes()
    family = {os.getpid()}
    grew = True
    while grew:
        more = {pid for pid, found in processes.items() if found.parent in family} - family
        family |= more
        grew = bool(more)
    family.remove(os.getpid())
    return [pid for pid in family if processes[pid].runs_a_program and not _locks(pid)]


def marked(name: str, values: Collection[str]) -> list[int]:
    """Whatever has one of the values in a variable of its environment, but for this process.

    Args:
        name: of the variable; several values in it are separated as paths are.
        values: one is enough.
    """
    processes = _processes()
    spared, pid = set(), os.getpid()
    while pid in processes:  # whoever started us waits for us
        spared.add(pid)
        pid = processes[pid].parent
    wanted = set(values)
    return [
        pid
        for pid, found in processes.items()
        if found.runs_a_program
        and pid not in spared
        and not wanted.isdisjoint(_variable(pid, name).split(os.pathsep))
        and not _locks(pid)
    ]


def running(pids: Collection[int]) -> list[int]:
    """Those of them that still run a program."""
    return [pid for pid, found in _look(iter(pids)) if found.runs_a_program]


def has_open(pid: int, file: int) -> bool:
    """Whether a process has open what we have as `file`; yes where that may not be seen."""
    wanted = os.fstat(file)
    try:
        paths = list((_PROC / str(pid) / "fd").iterdir())
    except FileNotFoundError:
        return not _PROC.exists()
    except PermissionError:
        return True
    return any(_is_link_to(path, wanted) for path in paths)


def group(pid: int) -> int | None:
    """The process group of a process; None when it is gone."""
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def end(find: Find, patience_s: float = PATIENCE_S) -> list[int]:
    """Kill what is found until nothing more is; what could not be ended in time."""
    given_up_s, clean = time.monotonic() + patience_s, 0
    while clean < _LOOKS:
        found = send(find, signal.SIGKILL)
        if found and time.monotonic() > given_up_s:
            return found
        clean = 0 if found else clean + 1
        if clean < _LOOKS:
            time.sleep(_LOOK_S)
    return []


def send(find: Find, number: int) -> list[int]:
    """Send a signal to all that is found; that."""
    found = list(find())
    for pid in found:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)
    return found


def _is_link_to(path: Path, wanted: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), wanted)
    except OSError:
        return False


def _locks(pid: int) -> bool:
    """Whether a command that locks has started it."""
    return _variable(pid, "MASK_GATE_DECISION") == "deny"


def _variable(pid: int, name: str) -> str:
    """Of the environment that a process was started with; empty where it may not be seen."""
    given_up_s = time.monotonic() + _EXEC_S
    try:
        while not (environment := (_PROC / str(pid) / "environ").read_bytes()):
            loading = running((pid,)) and not (_PROC / str(pid) / "cmdline").read_bytes()
            if not loading or time.monotonic() > given_up_s:
                return ""
            time.sleep(_LOOK_S / 10)
    except OSError:  # it has ended, or is another user's
        return ""
    prefix = f"{name}=".encode()
    entries = (entry for entry in environment.split(b"\0") if entry.startswith(prefix))
    return os.fsdecode(next(entries, prefix).removeprefix(prefix))


def _processes() -> dict[int, _Process]:
    """All processes that can be seen, by their ids."""
    folders = _PROC.iterdir() if sys.platform == "linux" else ()
    return dict(_look(int(path.name) for path in folders if path.name.isdigit()))


def _look(pids: Iterator[int]) -> Iterator[tuple[int, _Process]]:
    for pid in pids:
        with contextlib.suppress(OSError):
            stat = (_PROC / str(pid) / "stat").read_bytes()
            state, parent, *_, flags = stat.rpartition(b")")[2].split()[:7]
            dead = state in (b"Z", b"X") or int(flags) & (_PF_EXITING | _PF_KTHREAD)
            yield pid, _Process(int(parent), runs_a_program=not dead)


def _adopts() -> bool:
    if sys.platform != "linux":
        return False
    answer = ctypes.c_int(0)
    _prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(answer))
    return bool(answer.value)


def _has_children() -> bool:
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def _prctl(option: int, argument: int) -> None:
    ctypes.CDLL(None).prctl(option, ctypes.c_ulong(argument), *(ctypes.c_ulong(0),) * 3)
