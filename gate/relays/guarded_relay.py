"""GuardedRelay: an output of the gate whose relay is owned by a guardian, a process of its own."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import IO, Any, cast

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Signal, SignalKind
from mask_gate.gate.errors import OutputError
from mask_gate.gate.events import Event
from mask_gate.gate.relays.guardian import MAX_LINE, GuardianSettings
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.worker import BY_HAND, END_S
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

START_S = 10.0
"""A guardian that is not ready by then is given up: its device hangs."""

ANSWER_S = 2.0
"""A guardian that answers no heartbeat for so long is killed, and another takes its place."""

_COMMAND = tuple(module_command("gate.relays.guardian"))
_BEAT_S = 0.1
_RESTART_PAUSES_S = (0.0, 0.2, 0.5, 1.0)
_REAP_S = 1.0

OnDone = Callable[[str, SignalKind, str], None]


class GuardedRelay:
    """Passes the door's signals on to a guardian, and replaces one that dies or hangs.

    Each guardian begins by locking. While there is none, and until a new one has locked, nothing
    can be opened: `send` raises, and `on_fault` tells why.

    Args:
        settings: the relay and how it is guarded.
        on_fault: called with one sentence that names the relay, from a thread of this object, when
            something failed.
        on_done: called with signal id, `allow` or `deny`, and relay name, when it was carried out.
        owner: descriptor that says who owns this door; the guardian keeps it open.

    Attributes:
        name: of the relay, once it is started.

    Raises:
        OutputError: the relay or a process for it cannot be had, or is not ready in time.
    """

    def __init__(
        self,
        settings: GuardianSettings,
        *,
        on_fault: Callable[[str], None],
        on_done: OnDone = lambda signal_id, decision, relay: None,
        owner: int | None = None,
    ) -> None:
        self.name = str(settings.relay["kind"])
        self._charge = settings
        self._on_fault = on_fault
        self._on_done = on_done
        self._owner = owner
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._settled = threading.Event()  # whether the first guardian got ready is known
        self._ever_ready = False
        self._spawned_s = self._beaten_s = 0.0
        self._asked_s: float | None = None  # the oldest heartbeat without an answer
        self._last_fault = ""
        self._guardian = self._spawn()
        DoorThread(target=self._keep, name="guarded-relay").start()
        self._await_ready()

    def send(self, signal: Signal, event: Event) -> None:
        """Hand an order over, at once or not at all.

        Raises:
            OutputError: the guardian cannot take it.
        """
        order = Order(
            unlocks=signal.kind is SignalKind.ALLOW,
            id=signal.id,
            reason=signal.reason.value,
            time_s=signal.time_s,
            until_s=signal.until_s or 0.0,
            event_json=json.dumps(event, default=str),
        )
        if self._closing.is_set():
            return
        if not (self._ready.is_set() and self._say({"order": asdict(order)})):
            raise OutputError(f"{self.name}: its guardian cannot be reached")

    def beat(self) -> None:
        """Tell the guardian that the door's timer runs; returns at once, whatever it does."""
        now_s = time.monotonic()
        pause_s = now_s - self._beaten_s
        if pause_s < _BEAT_S or self._closing.is_set():
            return
        self._beaten_s = now_s
        if self._ready.is_set():
            asked_s = self._asked_s
            if asked_s is None or pause_s > ANSWER_S / 2:  # we stood still: it may have answered
                self._asked_s = asked_s = now_s
            self._say({"beat": now_s})
            late = now_s - asked_s > ANSWER_S
        else:
            late = now_s - self._spawned_s > START_S
        if late:
            self._guardian.kill()  # `_keep` sees the end of its pipe, and starts another

    def let_go(self) -> None:
        """Have the guardian lock and end, without waiting for it; `close` does that."""
        was_open = not self._closing.is_set()
        self._closing.set()
        with self._writing, contextlib.suppress(OSError):
            if was_open and self._guardian.poll():  # it died a moment ago, and the door is as it is
                self._lock_by_another()
            _stdin(self._guardian).close()

    def close(self) -> None:
        """Have the relay locked in bounded time, and the guardian ended; may be called twice.

        Raises:
            OutputError: the last lock could not be carried out.
        """
        self.let_go()
        self._end(self._charge.patience_s + END_S + ANSWER_S)
        if self._guardian.returncode != 0:
            fault = self._last_fault or f"{self.name}: its guardian did not end well"
            raise OutputError(fault if BY_HAND in fault else f"{fault}; {BY_HAND}")

    def _end(self, patience_s: float) -> None:
        """Leave no guardian behind, as far as the kernel lets us."""
        try:
            self._guardian.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guardian.wait(_REAP_S)

    def _await_ready(self) -> None:
        self._settled.wait(START_S)
        if not self._ever_ready:
            self._closing.set()
            self._end(0.0)
            fault = self._last_fault or f"not ready in {START_S:g} s; check the device"
            raise OutputError(f"relay {self.name}: {fault}")

    def _spawn(self) -> subprocess.Popen[bytes]:
        self._spawned_s = time.monotonic()
        try:
            guardian = start(
                _COMMAND,
                bufsize=0,
                pass_fds=() if self._owner is None else (self._owner,),
            )
        except OSError as error:
            why = f"no process can be started ({error.strerror})"
            raise OutputError(f"relay {self.name}: {why}") from error
        pipe = _stdin(guardian)
        with contextlib.suppress(OSError):
            _write(guardian, asdict(self._charge))
        os.set_blocking(pipe.fileno(), False)
        return guardian

    def _keep(self) -> None:
        """Hear the guardian out, and start another as long as the gate runs."""
        failures = 0
        while True:
            was_ready = self._hear()
            self._settled.set()
            if self._closing.is_set() or not self._ever_ready:
                return
            failures = 0 if was_ready else failures + 1
            self._complain(f"the guardian ended; {BY_HAND}")
            while (fault := self._replace(failures)) is not None:
                failures += 1
                self._last_fault = fault
                self._complain(f"{fault}; {BY_HAND}")
            if self._closing.is_set():
                return

    def _replace(self, failures: int) -> str | None:
        """Start the next guardian after a pause, unless it is closing; why that did not work."""
        self._closing.wait(_RESTART_PAUSES_S[min(failures, len(_RESTART_PAUSES_S) - 1)])
        with self._writing:
            if self._closing.is_set():
                return None
            _stdin(self._guardian).close()
            try:
                self._guardian = self._spawn()
            except OutputError as error:
                return str(error)
            self._lock_first()
        return None

    def _lock_by_another(self) -> None:
        """A guardian for nothing but the last lock, where one can be had."""
        with contextlib.suppress(OutputError):
            last = self._spawn()
            _stdin(self._guardian).close()
            self._guardian = last
            self._lock_first()

    def _lock_first(self) -> None:
        """A new guardian does not know how the last one left the relay."""
        order = Order(unlocks=False, id="", reason="output_fault", time_s=uptime_s())
        with contextlib.suppress(OSError):
            _write(self._guardian, {"order": asdict(order)})

    def _hear(self) -> bool:
        """Take in what the guardian says until it ends; whether it ever was ready."""
        guardian = self._guardian
        assert guardian.stdout is not None
        with guardian.stdout as answers:
            reader = io.BufferedReader(cast(io.RawIOBase, answers))
            while line := reader.readline(MAX_LINE):
                try:
                    self._take(json.loads(line))  # one that is cut off is nonsense
                except Exception:  # what cannot be understood guards nothing, whatever it says
                    self._last_fault = f"the guardian of relay {self.name} talks nonsense"
                    log.exception("%s", self._last_fault)
                    guardian.kill()
                    break
        was_ready = self._ready.is_set()
        self._ready.clear()
        guardian.wait()
        return was_ready

    def _take(self, answer: dict[str, Any]) -> None:
        if "ready" in answer:
            self.name = answer["ready"]
            self._asked_s = None
            self._ever_ready = True
            self._ready.set()
            self._settled.set()
        if "beat" in answer:
            self._asked_s = None
        if "log" in answer:
            log.log(answer["level"], "%s", answer["log"])
        if "done" in answer:
            self._last_fault = ""
            self._on_done(answer["done"], SignalKind(answer["decision"]), self.name)
        fault = answer.get("fault") or answer.get("refused")
        if fault is not None:
            self._last_fault = fault
            if "fault" in answer:
                self._complain(fault)

    def _complain(self, fault: str) -> None:
        """Tell of a fault, and whose it is: not every part of a guardian knows its relay's name."""
        self._on_fault(fault if self.name in fault else f"{self.name}: {fault}")

    def _say(self, message: dict[str, object]) -> bool:
        """Write a line to the guardian without waiting for it; whether it went out whole."""
        with self._writing:
            try:
                whole = _write(self._guardian, message)
            except (OSError, ValueError):  # full, broken, or closed
                return False
            if not whole:
                self._guardian.kill()  # what it gets from now on would make no sense
        return whole


def _write(guardian: subprocess.Popen[bytes], message: Mapping[str, object]) -> bool:
    line = json.dumps(message).encode() + b"\n"
    return os.write(_stdin(guardian).fileno(), line) == len(line)


def _stdin(guardian: subprocess.Popen[bytes]) -> IO[bytes]:
    assert guardian.stdin is not None
    return guardian.stdin
