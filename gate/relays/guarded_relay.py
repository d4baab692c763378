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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import IO, Any, cast
from uuid import uuid4

from mask_gate.gate.domain import Signal, SignalKind
from mask_gate.gate.errors import ConfigError, GateError, OutputError
from mask_gate.gate.events import Event
from mask_gate.gate.relays.guardian import MARK, MAX_LINE, GuardianSettings, lock_once
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.worker import CHECK_BY_HAND, END_S
from mask_gate.gate.system import leftovers
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

_HEARTBEAT_PAUSE_S = 0.1

OnDone = Callable[[str, SignalKind, str], None]


@dataclass(frozen=True, slots=True)
class GuardianLimits:
    """How long a guardian may take; in seconds.

    Attributes:
        start_s: one that is not ready by then is given up: its device hangs.
        answer_s: one that answers no heartbeat for so long is killed and replaced.
        restart_pauses_s: before each further start while guardians fail; the last one repeats.
        kill_s: one that was killed may take so long to vanish.
    """

    start_s: float = 10.0
    answer_s: float = 2.0
    restart_pauses_s: tuple[float, ...] = (0.0, 0.2, 0.5, 1.0)
    kill_s: float = 1.0


class GuardedRelay:
    """Passes the door's signals on to a guardian, and replaces one that dies or hangs.

    Each guardian begins by locking. While there is none, and until a new one has locked, nothing
    can be opened: `send` raises, and `on_fault` tells why. Where none can be had, the lock is
    tried in this process.

    Args:
        settings: the relay and how it is guarded.
        on_fault: called with one sentence that names the relay, from a thread of this object, when
            something failed.
        on_done: called with signal id, `allow` or `deny`, and relay name, when it was carried out.
        owner: descriptors that say who owns this door; the guardian keeps them open.
        marks: variables by which the guardian and all that it starts are known as this door's.
        limits: how long a guardian may take.
        command: starts a guardian, which speaks as `gate.relays.guardian` does.

    Attributes:
        name: of the relay, once it is started.

    Raises:
        OutputError: the relay or a process for it cannot be had, or is not ready in time.
        ConfigError: the driver of a plug-in cannot be loaded, or does not take its settings.
    """

    def __init__(
        self,
        settings: GuardianSettings,
        *,
        on_fault: Callable[[str], None],
        on_done: OnDone = lambda signal_id, decision, relay: None,
        owner: Sequence[int] = (),
        marks: Mapping[str, str] = MappingProxyType({}),
        limits: GuardianLimits = GuardianLimits(),
        command: Sequence[str] = tuple(module_command("gate.relays.guardian")),
    ) -> None:
        self.name = str(settings.relay["kind"])
        self._settings = settings
        self._limits = limits
        self._command = command
        self._on_fault = on_fault
        self._on_done = on_done
        self._owner = tuple(owner)
        self._environment = {**os.environ, **marks, MARK: uuid4().hex}
        self._writing = threading.Lock()
        self._closing = threading.Event()
        self._ready = threading.Event()
        self._settled = threading.Event()  # whether the first guardian got ready is known
        self._ever_ready = False
        self._spawned_s = self._beaten_s = 0.0
        self._asked_s: float | None = None  # the oldest heartbeat without an answer
        self._last_fault = ""
        self._is_misconfigured = False
        self._own_lock: DoorThread | None = None
        try:
            self._guardian = self._spawn(self._settings)
        except OutputError:
            with contextlib.suppress(GateError):
                lock_once(settings.relay)  # nobody else will
            raise
        DoorThread(target=self._supervise, name="guarded-relay").start()
        self._await_ready()

    @property
    def pid(self) -> int:
        """Process id of the guardian of the moment."""
        return self._guardian.pid

    @property
    def is_ready(self) -> bool:
        """Whether it has locked, and takes orders."""
        return self._ready.is_set()

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
        if not (self._ready.is_set() and self._send_message({"order": asdict(order)})):
            raise OutputError(f"{self.name}: its guardian cannot be reached")

    def beat(self) -> None:
        """Tell the guardian that the door's timer runs; returns at once, whatever it does."""
        now_s = time.monotonic()
        pause_s = now_s - self._beaten_s
        if pause_s < _HEARTBEAT_PAUSE_S or self._closing.is_set():
            return
        self._beaten_s = now_s
        if self._ready.is_set():
            asked_s = self._asked_s
            if (
                asked_s is None or pause_s > self._limits.answer_s / 2
            ):  # we stood still: it may have answered
                self._asked_s = asked_s = now_s
            self._send_message({"heartbeat": now_s})
            late = now_s - asked_s > self._limits.answer_s
        else:
            late = now_s - self._spawned_s > self._limits.start_s
        if late:
            self._guardian.kill()  # `_supervise` sees the end of its pipe, and starts another

    def let_go(self) -> None:
        """Have the guardian lock and end, without waiting for it; `close` does that."""
        was_open = not self._closing.is_set()
        self._closing.set()
        with self._writing, contextlib.suppress(OSError):
            if was_open and self._guardian.poll():  # it died a moment ago, and the door is as it is
                self._lock_by_replacement()
            _stdin(self._guardian).close()

    def close(self) -> None:
        """Have the relay locked in bounded time, and the guardian ended; may be called twice.

        Raises:
            OutputError: the last lock could not be carried out.
        """
        self.let_go()
        self._await_end()
        if self._guardian.returncode is None or self._guardian.returncode < 0:  # it was killed
            self._lock_by_replacement()
            _stdin(self._guardian).close()
            self._await_end()
        if self._guardian.returncode != 0:
            self._lock_if_it_did_not()
            fault = self._last_fault or f"{self.name}: its guardian did not end well"
            raise OutputError(fault if CHECK_BY_HAND in fault else f"{fault}; {CHECK_BY_HAND}")

    def _await_end(self) -> None:
        """Wait for as long as the last lock may take, and the start of a guardian for it."""
        starting_s = 0.0 if self._ready.is_set() else self._limits.start_s
        self._await_exit(starting_s + self._settings.patience_s + END_S + self._limits.answer_s)

    def _await_exit(self, patience_s: float) -> None:
        """Wait for the guardian's end, then kill it: none is left behind if the kernel lets us."""
        try:
            self._guardian.wait(patience_s)
        except subprocess.TimeoutExpired:
            self._guardian.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._guardian.wait(self._limits.kill_s)

    def _await_ready(self) -> None:
        self._settled.wait(self._limits.start_s)
        if not self._ever_ready:
            self._closing.set()
            if self._guardian.poll() is not None:  # else its device hangs, and would hang us too
                self._lock_if_it_did_not()
            self._await_exit(0.0)
            fault = self._last_fault or f"not ready in {self._limits.start_s:g} s; check the device"
            kind = ConfigError if self._is_misconfigured else OutputError
            raise kind(f"relay {self.name}: {fault}")

    def _spawn(self, settings: GuardianSettings) -> subprocess.Popen[bytes]:
        self._spawned_s = time.monotonic()
        try:
            guardian = start(self._command, self._environment, bufsize=0, pass_fds=self._owner)
        except OSError as error:
            why = f"no process can be started ({error.strerror})"
            raise OutputError(f"relay {self.name}: {why}") from error
        pipe = _stdin(guardian)
        with contextlib.suppress(OSError):
            _write_line(guardian, asdict(settings))
        os.set_blocking(pipe.fileno(), False)
        return guardian

    def _supervise(self) -> None:
        """Take the answers of the guardian; start another when it ends while the gate runs."""
        failures = 0
        while True:
            was_ready = self._read_answers()
            self._settled.set()
            if self._closing.is_set() or not self._ever_ready:
                return
            failures = 0 if was_ready else failures + 1
            self._report(f"the guardian ended; {CHECK_BY_HAND}")
            if not was_ready:
                self._lock_if_it_did_not()
            while (fault := self._replace(failures)) is not None:
                failures += 1
                self._last_fault = fault
                self._report(f"{fault}; {CHECK_BY_HAND}")
                self._lock_here()
            if self._closing.is_set():
                return

    def _replace(self, failures: int) -> str | None:
        """Start the next guardian after a pause, unless it is closing; why that did not work."""
        pauses_s = self._limits.restart_pauses_s
        self._closing.wait(pauses_s[min(failures, len(pauses_s) - 1)])
        with self._writing:
            if self._closing.is_set():
                return None
            _stdin(self._guardian).close()
            try:
                self._guardian = self._spawn_next()
            except OutputError as error:
                return str(error)
        return None

    def _lock_by_replacement(self) -> None:
        """A guardian for nothing but the last lock, where one can be had."""
        with contextlib.suppress(OutputError):
            last = self._spawn_next()
            _stdin(self._guardian).close()
            self._guardian = last

    def _lock_if_it_did_not(self) -> None:
        """Lock here after a guardian that is gone, unless it could not reach the relay either."""
        if self._guardian.returncode != OutputError.exit_code:
            self._lock_here()

    def _lock_here(self) -> None:
        """Lock in this process; what hangs in the device is not waited for, nor begun twice."""
        if self._own_lock is None or not self._own_lock.is_alive():
            self._own_lock = DoorThread(target=self._lock_once, name="own-lock")
            self._own_lock.start()
        self._own_lock.join(self._settings.patience_s)

    def _lock_once(self) -> None:
        leftovers.end(lambda: leftovers.marked(MARK, [self._environment[MARK]]))
        with contextlib.suppress(GateError):
            lock_once(self._settings.relay)

    def _spawn_next(self) -> subprocess.Popen[bytes]:
        self._ready.clear()
        return self._spawn(replace(self._settings, lock_first=True))

    def _read_answers(self) -> bool:
        """Handle what the guardian says until it ends; whether it ever was ready."""
        guardian = self._guardian
        assert guardian.stdout is not None
        with guardian.stdout as answers:
            reader = io.BufferedReader(cast(io.RawIOBase, answers))
            while line := reader.readline(MAX_LINE):
                try:
                    self._handle(json.loads(line))  # one that is cut off is nonsense
                except Exception:  # what cannot be understood guards nothing, whatever it says
                    self._last_fault = f"the guardian of relay {self.name} talks nonsense"
                    log.exception("%s", self._last_fault)
                    guardian.kill()
                    break
        was_ready = self._ready.is_set()
        self._ready.clear()
        guardian.wait()
        return was_ready

    def _handle(self, answer: dict[str, Any]) -> None:
        if "ready" in answer:
            self.name = answer["ready"]
            self._asked_s = None
            self._ever_ready = True
            self._ready.set()
            self._settled.set()
        if "heartbeat" in answer:
            self._asked_s = None
        if "log" in answer:
            log.log(answer["level"], "%s", answer["log"])
        if "done" in answer:
            self._last_fault = ""
            self._on_done(answer["done"], SignalKind(answer["decision"]), self.name)
        self._is_misconfigured = answer.get("is_config") is True
        fault = answer.get("fault") or answer.get("refused")
        if fault is not None:
            self._last_fault = fault
            if "fault" in answer:
                self._report(fault)

    def _report(self, fault: str) -> None:
        """Tell of a fault, and whose it is: not every part of a guardian knows its relay's name."""
        self._on_fault(fault if self.name in fault else f"{self.name}: {fault}")

    def _send_message(self, message: Mapping[str, object]) -> bool:
        """Write a line to the guardian without waiting for it; whether it went out whole."""
        with self._writing:
            try:
                whole = _write_line(self._guardian, message)
            except (OSError, ValueError):  # full, broken, or closed
                return False
            if not whole:
                self._guardian.kill()  # what it gets from now on would make no sense
        return whole


def _write_line(guardian: subprocess.Popen[bytes], message: Mapping[str, object]) -> bool:
    line = json.dumps(message).encode() + b"\n"
    return os.write(_stdin(guardian).fileno(), line) == len(line)


def _stdin(guardian: subprocess.Popen[bytes]) -> IO[bytes]:
    assert guardian.stdin is not None
    return guardian.stdin
