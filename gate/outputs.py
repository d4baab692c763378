"""Outputs: what the door's signals do in the world, without ever holding up the gate.

An output is told every signal of the door, in order. `send` only hands over; the work is done in
a thread of the output's own.
"""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gate.domain import Signal, SignalKind
from gate.errors import ConfigError, OutputError
from gate.events import Event
from gate.hook_process import GRACE_S, REAP_S, HookProcess, HookResult

log = logging.getLogger(__name__)

Command = tuple[str, ...]

MAX_LATE_S = 0.5
"""An allow hook that cannot start this soon after its signal does not start at all."""

ALLOW_GRACE_S = 1.0
"""An allow hook may live as long as the door is open, and this much longer to lock by itself."""

CLOSE_S = 3.0
"""At the end of the gate, the last lock is tried for this long, or for as long as one try takes."""

_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 2.0

LONGEST_PAUSE_S = _RETRY_MAX_S + GRACE_S + REAP_S
"""A failed lock is tried again within this time, counted from the end of its limit."""

_PENDING_MAX = 16
_BY_HAND = "the door may be unlocked: check it by hand"
_KEPT_ENVIRONMENT = ("PATH", "LANG", "HOME")


class Output(Protocol):
    """One thing that reacts to the door."""

    def send(self, signal: Signal, event: Event) -> None:
        """Take note of a signal; returns at once, whatever the world behind it does."""

    def close(self) -> None:
        """Finish in bounded time and leave no process or thread behind; may be called twice.

        Raises:
            OutputError: the last lock could not be carried out.
        """


def parse_command(text: str, flag: str) -> Command:
    """Split a command as a shell would (no shell runs it) and find its program now, not at night.

    Raises:
        ConfigError: it is empty, badly quoted, missing, or not executable; names `flag`.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{flag} {text!r}: {error}; check the quotes") from None
    if not words or not words[0]:
        raise ConfigError(f"{flag}: expected a command, got {text!r}")
    program = words[0]
    if shutil.which(program) is None:
        raise ConfigError(f"{flag} {text!r}: {_why_not_runnable(program)}")
    return tuple(words)


def _why_not_runnable(program: str) -> str:
    path = Path(program)
    if not path.is_file():
        return f"no program {program!r} was found; check the name or give its full path"
    if not os.access(path, os.X_OK):
        return f"{program!r} is not executable; run chmod +x {shlex.quote(program)}"
    return f"{program!r} is not on PATH; write {shlex.quote('./' + program)}"


@dataclass(frozen=True, slots=True)
class _Job:
    signal: Signal
    event_json: str

    @property
    def locks(self) -> bool:
        return self.signal.kind is SignalKind.DENY


class CommandHook:
    """Runs the operator's relay commands: one worker, strict order, and a lock always wins.

    The decision (`allow` or `deny`) is the command's last argument; the event is JSON on its
    standard input and in MASK_GATE_EVENT, beside MASK_GATE_DECISION, MASK_GATE_REASON,
    MASK_GATE_ID, MASK_GATE_PID (this process; when it is gone, the relay must lock),
    MASK_GATE_HOLD_S (seconds after which the relay must have locked by itself) and
    MASK_GATE_UNTIL (the same moment, in seconds of CLOCK_MONOTONIC; 0 with a lock).

    An allow hook may run until its lease and a short grace are over. A deny ends it at once
    (SIGTERM to its group, then SIGKILL) and runs next. An opening that comes too late is dropped;
    this, or one that failed, is reported and never repeated. A failed lock is reported and
    repeated until it works or a newer lock takes its place.

    Args:
        on_allow: command for openings, or None.
        on_deny: command for locks and denials, or None.
        clock: the monotonic clock in which `Signal.until_s` is told.
        on_fault: called from the worker with one sentence when a hook has failed.
        limit_s: how long a deny hook may take.
    """

    def __init__(
        self,
        on_allow: Command | None,
        on_deny: Command | None,
        *,
        clock: Callable[[], float],
        on_fault: Callable[[str], None],
        limit_s: float,
    ) -> None:
        self._commands = {SignalKind.ALLOW: on_allow, SignalKind.DENY: on_deny}
        self._clock = clock
        self._on_fault = on_fault
        self._limit_s = limit_s
        self._environment = _minimal_environment()
        self._changed = threading.Condition()
        self._pending: deque[_Job] = deque(maxlen=_PENDING_MAX)
        self._close_by = math.inf
        self._lock_fault = ""
        self._worker = threading.Thread(target=self._work, name="command-hook", daemon=True)
        self._worker.start()

    def send(self, signal: Signal, event: Event) -> None:
        """Queue the hook; a deny throws out openings that still wait.

        Raises:
            OutputError: no hook can be run any more.
        """
        job = _Job(signal, json.dumps(event, default=str))  # no event may keep a lock from running
        with self._changed:
            if self._closing():
                return
            if not self._worker.is_alive():
                raise OutputError(f"{self._lock_fault}; start the gate again")
            if job.locks:
                self._drop_openings()
            self._pending.append(job)
            self._changed.notify()

    def close(self) -> None:
        """Carry out the newest lock, in bounded time, and end the worker."""
        patience_s = max(CLOSE_S, self._limit_s)
        with self._changed:
            if not self._closing():
                self._close_by = time.monotonic() + patience_s
                self._drop_openings()
                while len(self._pending) > 1:
                    self._pending.popleft()
            self._changed.notify()
        self._worker.join(patience_s + GRACE_S + 2 * REAP_S)
        fault = "the last hook does not end" if self._worker.is_alive() else self._lock_fault
        if fault:
            said = f"{fault}; {_BY_HAND}"
            log.critical("%s", said)  # what else fails at the end may hide the exception
            raise OutputError(said)

    def _closing(self) -> bool:
        return self._close_by < math.inf

    def _left_s(self) -> float:
        return self._close_by - time.monotonic()

    def _drop_openings(self) -> None:
        locks = [job for job in self._pending if job.locks]
        if len(locks) < len(self._pending):
            log.warning("an opening was revoked before its hook had started: dropped")
        self._pending.clear()
        self._pending.extend(locks)

    def _work(self) -> None:
        try:
            while (job := self._next_job()) is not None:
                if job.locks:
                    self._lock(job)
                else:
                    self._open(job)
        except Exception:
            self._lock_fault = "the thread that runs the hooks broke down"
            log.exception("%s", self._lock_fault)
            self._on_fault(f"{self._lock_fault}; {_BY_HAND}")

    def _next_job(self) -> _Job | None:
        with self._changed:
            self._changed.wait_for(lambda: self._pending or self._closing())
            return self._pending.popleft() if self._pending else None

    def _open(self, job: _Job) -> None:
        until_s = job.signal.until_s
        hold_s = 0.0 if until_s is None else until_s - self._clock()
        late_s = self._clock() - job.signal.time_s
        if not (hold_s > 0.0 and late_s <= MAX_LATE_S):
            self._on_fault(
                f"the allow hook could not start within {MAX_LATE_S:g} s and was dropped"
            )
            return
        result = self._run(job, hold_s, hold_s + ALLOW_GRACE_S, self._must_lock)
        if not result.ok and not result.cancelled:
            self._on_fault(f"the allow hook {result.account}")

    def _lock(self, job: _Job) -> None:
        pause_s = _RETRY_FIRST_S
        while True:
            limit_s = min(self._limit_s, self._left_s())
            result = self._run(job, 0.0, limit_s, lambda: self._left_s() <= 0.0)
            if result.ok:
                break
            self._lock_fault = f"the deny hook {result.account}"
            self._on_fault(f"{self._lock_fault}; {_BY_HAND}")
            if self._give_way(pause_s):
                return
            pause_s = min(2 * pause_s, _RETRY_MAX_S)
        if self._lock_fault:
            log.warning("the deny hook works again")
        self._lock_fault = ""

    def _must_lock(self) -> bool:
        with self._changed:
            return self._closing() or any(job.locks for job in self._pending)

    def _give_way(self, pause_s: float) -> bool:
        """Pause before a lock is tried again; True when a newer lock waits or time is up."""
        with self._changed:
            newer = self._changed.wait_for(
                lambda: any(job.locks for job in self._pending), min(pause_s, self._left_s())
            )
            return newer or self._left_s() <= 0.0

    def _run(
        self, job: _Job, hold_s: float, limit_s: float, cancelled: Callable[[], bool]
    ) -> HookResult:
        command = self._commands[job.signal.kind]
        if command is None:
            return HookResult(ok=True, cancelled=False, account="is not set")
        word = job.signal.kind.value
        variables = {
            "MASK_GATE_EVENT": job.event_json,
            "MASK_GATE_DECISION": word,
            "MASK_GATE_REASON": job.signal.reason.value,
            "MASK_GATE_ID": job.signal.id,
            "MASK_GATE_PID": str(os.getpid()),
            "MASK_GATE_HOLD_S": f"{hold_s:.3f}",
            "MASK_GATE_UNTIL": f"{job.signal.until_s or 0.0:.3f}",
        }
        try:
            process = HookProcess(
                (*command, word), self._environment | variables, f"{job.event_json}\n".encode()
            )
        except OSError as error:
            return HookResult(ok=False, cancelled=False, account=f"could not start: {error}")
        return process.wait(limit_s, cancelled, linger=job.signal.kind is SignalKind.ALLOW)


def _minimal_environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ}
    return {"PATH": os.defpath} | kept


class PrintedHook:
    """Stands in for `CommandHook` where no relay may move: says what would have been run."""

    def __init__(
        self,
        on_allow: Command | None,
        on_deny: Command | None,
        *,
        say: Callable[[str], None],
    ) -> None:
        self._commands = {SignalKind.ALLOW: on_allow, SignalKind.DENY: on_deny}
        self._say = say

    def send(self, signal: Signal, event: Event) -> None:
        """Print the command, if there is one for this signal."""
        command = self._commands[signal.kind]
        if command is None:
            return
        hold_s = 0.0 if signal.until_s is None else signal.until_s - signal.time_s
        words = shlex.join((*command, signal.kind.value))
        self._say(f"would run: {words}  (MASK_GATE_HOLD_S={hold_s:.3f})")

    def close(self) -> None:
        """Nothing runs, so nothing is left."""
