"""The guardian: a small process that owns one relay, and locks it when the gate falls silent.

The gate talks to it through a pipe, one JSON object a line: orders, and a heartbeat. When the pipe
ends, or while the door is open a heartbeat is late, the guardian locks by itself. It answers
through a pipe of its own: that the relay is ready and locked, what was done, what failed.

Before it touches the relay it ends whatever a guardian before it has left behind, which knows
nothing of the lock to come: that guardian itself, if it hangs, and commands on their way.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.errors import ConfigError, GateError, OutputError
from mask_gate.gate.relays.relay import Order, Relay, open_relay
from mask_gate.gate.relays.worker import CLOSE_S, RelayWorker
from mask_gate.gate.system import leftovers

STUCK_S = 8.0
"""A lock that is kept waiting longer, beside its own limit, hangs in its device."""

MARK = "MASK_GATE_RELAY"
"""Variable of the environment of a guardian and of all that it starts; says which relay it is."""

MAX_LINE = 1_000_000
"""Of the pipes between gate and guardian, in bytes; who writes a longer one is not understood."""

_POLL_S = 0.1


@dataclass(frozen=True, slots=True)
class GuardianSettings:
    """What one guardian guards, as its first line tells it.

    Attributes:
        relay: settings of the relay (see `gate.relays.config`), as plain values.
        heartbeat_s: a silence of the gate longer than this locks an open door.
        refresh_s: while idle, the relay is locked again this often; None never.
        lock_first: it follows another guardian, and cannot know how that one left the relay.
        close_s: how long the last lock is tried, or for as long as one try takes.
        stuck_s: a lock that is kept waiting longer, beside its own limit, hangs in its device:
            another guardian takes over.
    """

    relay: Mapping[str, object]
    heartbeat_s: float
    refresh_s: float | None = None
    lock_first: bool = False
    close_s: float = CLOSE_S
    stuck_s: float = STUCK_S

    @property
    def limit_s(self) -> float:
        """How long one lock of this relay may take."""
        limit_s = self.relay.get("limit_s")
        return float(limit_s) if isinstance(limit_s, int | float) else 0.0

    @property
    def patience_s(self) -> float:
        """How long the last lock is tried when the gate ends."""
        return max(self.close_s, self.limit_s)


def lock_once(settings: Mapping[str, object]) -> None:
    """Lock a relay in this process, where no other can be had to guard it.

    Raises:
        OutputError: that does not work either.
    """
    relay = open_relay(settings)
    order = Order(unlocks=False, id="", reason="output_fault", time_s=uptime_s())
    try:
        relay.lock(order, lambda: False)
    finally:
        relay.close()


def main() -> int:
    """Guard until the pipe on standard input ends; returns the exit code."""
    answer_pipe = os.dup(1)
    os.dup2(2, 1)  # what a driver prints must not be taken for an answer
    lines = _Lines(0, _catch_signals())
    first: list[bytes] | None = []
    while first == []:
        first = lines.read(None)
    if first is None:
        return 0
    settings = GuardianSettings(**json.loads(first[0]))
    answer = _Answers(answer_pipe)
    logging.getLogger("mask_gate").addHandler(_LogToGate(answer))
    if settings.lock_first:
        _end_predecessor(answer)
    leftovers.adopt_orphans()  # what a command leaves behind stays ours to end
    try:
        relay = open_relay(settings.relay)
    except GateError as error:
        answer(refused=str(error), is_config=isinstance(error, ConfigError))
        return error.exit_code
    return _run(relay, settings, lines, first[1:], answer)


def _end_predecessor(answer: _Answers) -> None:
    left = leftovers.end(lambda: leftovers.marked(MARK, [os.environ.get(MARK, "")]))
    if left:
        processes = ", ".join(map(str, left))
        answer(fault=f"the guardian before left what cannot be ended (process {processes})")


def _run(
    relay: Relay, settings: GuardianSettings, lines: _Lines, waiting: list[bytes], answer: _Answers
) -> int:
    pulse_s = settings.relay.get("pulse_s")
    worker = RelayWorker(
        relay,
        clock=uptime_s,
        on_done=lambda order: answer(done=order.id, decision=order.decision),
        on_fault=lambda what: answer(fault=what),
        pulse_s=float(pulse_s) if isinstance(pulse_s, int | float) else None,
        refresh_s=settings.refresh_s,
        patience_s=settings.patience_s,
    )
    if settings.lock_first:
        worker.send(Order(unlocks=False, id="", reason="output_fault", time_s=uptime_s()))
    answer(ready=relay.name)
    try:
        try:
            _follow(worker, settings, lines, waiting, answer)
        except (LookupError, TypeError, ValueError) as error:  # a line that no gate of ours writes
            answer(fault=f"the guardian was told nonsense: {error!r}")
        finally:
            worker.close()
    except OutputError as error:
        answer(fault=str(error))
        os._exit(error.exit_code)  # `relay.close` could hang in the driver as the lock does
    with contextlib.suppress(OutputError):
        relay.close()
    return 0


def _follow(
    worker: RelayWorker,
    settings: GuardianSettings,
    lines: _Lines,
    waiting: list[bytes],
    answer: _Answers,
) -> None:
    """Carry out the gate's orders until its pipe ends; lock when it falls silent or hangs."""
    last_message_s = uptime_s()
    told_to_stop = False
    while True:
        for line in waiting:
            message = json.loads(line)
            if "order" in message:
                order = Order(**message["order"])
                if order.unlocks and told_to_stop:
                    answer(fault="the guardian was told to stop: the opening was dropped")
                else:
                    worker.send(order)
            if "heartbeat" in message:
                answer(heartbeat=message["heartbeat"])
        now_s = uptime_s()
        if lines.told_to_stop and not told_to_stop:
            told_to_stop = True
            worker.send(Order(unlocks=False, id="", reason="stopping", time_s=now_s))
        if waiting:
            last_message_s = now_s
        elif worker.is_open and now_s - last_message_s > settings.heartbeat_s:
            worker.send(Order(unlocks=False, id="", reason="silence", time_s=now_s))
            answer(
                fault=f"the gate was silent for {now_s - last_message_s:.1f} s with the door open"
            )
            last_message_s = now_s
        if worker.busy_s() > settings.stuck_s + settings.limit_s:
            answer(fault="the relay hangs; its guardian is replaced")
            os._exit(OutputError.exit_code)
        came = lines.read(_POLL_S)
        if came is None:
            return
        waiting = came


class _Lines:
    """Whole lines from a pipe, as they come.

    Attributes:
        told_to_stop: whether a signal came.
    """

    def __init__(self, pipe: int, signal_pipe: int) -> None:
        self.told_to_stop = False
        self._pipe = pipe
        self._signal_pipe = signal_pipe
        self._rest = b""

    def read(self, timeout_s: float | None) -> list[bytes] | None:
        """The lines that are there; none after `timeout_s`; None when no more will come."""
        ready, _, _ = select.select([self._pipe, self._signal_pipe], [], [], timeout_s)
        if self._signal_pipe in ready:
            self.told_to_stop = bool(os.read(self._signal_pipe, 64))
        if self._pipe not in ready:
            return []
        data = os.read(self._pipe, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return None if not data or len(self._rest) > MAX_LINE else lines


class _Answers:
    """Writes one JSON object a line to the gate, and never waits for it to be taken.

    A gate that is gone, or stands still with a full pipe, must not keep a door open.
    """

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._writing = threading.Lock()

    def __call__(self, **fields: object) -> None:
        line = json.dumps(fields).encode() + b"\n"
        with self._writing, contextlib.suppress(OSError):
            os.write(self._pipe, line)


class _LogToGate(logging.Handler):
    """Hands log records to the gate, which knows where they go."""

    def __init__(self, answer: _Answers) -> None:
        super().__init__(logging.INFO)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._answer(log=record.getMessage(), level=record.levelno)


def _catch_signals() -> int:
    """Catch SIGTERM and SIGABRT; the end of a pipe that can be read once one has come.

    A supervisor sends them to the gate and its guardian alike: the guardian locks at once, and
    stays until the gate has ended. SIGINT and SIGHUP are for the gate alone, which may
    decide to go on.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def note(number: int, frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writer, b"!")

    for number in (signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, note)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return reader


if __name__ == "__main__":
    sys.exit(main())
