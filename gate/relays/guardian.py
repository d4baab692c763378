"""The guardian: a small process that owns one relay, and locks it when the gate falls silent.

The gate talks to it through a pipe, one JSON object a line: orders, and a heartbeat. When the pipe
ends, or while the door is open a heartbeat is late, the guardian locks by itself. It answers
through a pipe of its own: that the relay is ready and locked, what was done, what failed.
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
from mask_gate.gate.errors import GateError, OutputError
from mask_gate.gate.relays.relay import Order, Relay, open_relay
from mask_gate.gate.relays.worker import CLOSE_S, RelayWorker

STUCK_S = 8.0
"""A lock that is kept waiting longer hangs in its device: another guardian takes over."""

MAX_LINE = 1_000_000
"""Of the pipes between gate and guardian, in bytes; who writes a longer one is not understood."""

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class GuardianSettings:
    """What one guardian guards, as its first line tells it.

    Attributes:
        relay: settings of the relay (see `gate.relays.config`), as plain values.
        heartbeat_s: a silence of the gate longer than this locks an open door.
        refresh_s: while idle, the relay is locked again this often; None never.
    """

    relay: Mapping[str, object]
    heartbeat_s: float
    refresh_s: float | None = None

    @property
    def limit_s(self) -> float:
        """How long one lock of this relay may take."""
        limit_s = self.relay.get("limit_s")
        return float(limit_s) if isinstance(limit_s, int | float) else 0.0

    @property
    def patience_s(self) -> float:
        """How long the last lock is tried when the gate ends."""
        return max(CLOSE_S, self.limit_s)


def main() -> int:
    """Guard until the pipe on standard input ends; returns the exit code."""
    speech = os.dup(1)
    os.dup2(2, 1)  # a driver that prints must not be taken for an answer
    lines = _Lines(0, _heed_signals())
    first: list[bytes] | None = []
    while first == []:
        first = lines.read(None)
    if first is None:
        return 0
    settings = GuardianSettings(**json.loads(first[0]))
    answer = _Answers(speech)
    logging.getLogger("mask_gate").addHandler(_LogToGate(answer))
    try:
        relay = open_relay(settings.relay)
    except GateError as error:
        answer(refused=str(error))
        return OutputError.exit_code
    return _guard(relay, settings, lines, first[1:], answer)


def _guard(
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
    answer(ready=relay.name)
    try:
        try:
            _obey(worker, settings, lines, waiting, answer)
        except (LookupError, TypeError, ValueError) as error:  # a line that no gate of ours writes
            answer(fault=f"the guardian was told nonsense: {error!r}")
        finally:
            worker.close()
    except OutputError as error:
        answer(fault=str(error))
        os._exit(error.exit_code)  # `relay.close` could hang in the driver as the lock does
    with contextlib.suppress(OutputError):
        relay.close()
    answer(closed=True)
    return 0


def _obey(
    worker: RelayWorker,
    settings: GuardianSettings,
    lines: _Lines,
    waiting: list[bytes],
    answer: _Answers,
) -> None:
    """Carry out what the gate says until its pipe ends, and what it would say if it could."""
    heard_s = uptime_s()
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
            if "beat" in message:
                answer(beat=message["beat"])
        now_s = uptime_s()
        if lines.told_to_stop and not told_to_stop:
            told_to_stop = True
            worker.send(Order(unlocks=False, id="", reason="stopping", time_s=now_s))
        if waiting:
            heard_s = now_s
        elif worker.is_open and now_s - heard_s > settings.heartbeat_s:
            worker.send(Order(unlocks=False, id="", reason="silence", time_s=now_s))
            answer(fault=f"the gate was silent for {now_s - heard_s:.1f} s with the door open")
            heard_s = now_s
        if worker.busy_s() > STUCK_S + settings.limit_s:
            answer(fault="the relay hangs; its guardian is replaced")
            os._exit(OutputError.exit_code)
        came = lines.read(_LOOK_S)
        if came is None:
            return
        waiting = came


class _Lines:
    """Whole lines from a pipe, as they come.

    Attributes:
        told_to_stop: whether a signal came.
    """

    def __init__(self, pipe: int, ear: int) -> None:
        self.told_to_stop = False
        self._pipe = pipe
        self._ear = ear
        self._rest = b""

    def read(self, timeout_s: float | None) -> list[bytes] | None:
        """The lines that are there; none after `timeout_s`; None when no more will come."""
        ready, _, _ = select.select([self._pipe, self._ear], [], [], timeout_s)
        if self._ear in ready:
            self.told_to_stop = bool(os.read(self._ear, 64))
        if self._pipe not in ready:
            return []
        data = os.read(self._pipe, 65536)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return None if not data or len(self._rest) > MAX_LINE else lines


class _Answers:
    """Says one JSON object a line to the gate, and never waits for it to be taken.

    A gate that is gone, or stands still with a full pipe, must not keep a door open.
    """

    def __init__(self, pipe: int) -> None:
        os.set_blocking(pipe, False)
        self._pipe = pipe
        self._speaking = threading.Lock()

    def __call__(self, **words: object) -> None:
        line = json.dumps(words).encode() + b"\n"
        with self._speaking, contextlib.suppress(OSError):
            os.write(self._pipe, line)


class _LogToGate(logging.Handler):
    """Leaves it to the gate to log what parts of the guardian have to say."""

    def __init__(self, answer: _Answers) -> None:
        super().__init__(logging.INFO)
        self._answer = answer

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._answer(log=record.getMessage(), level=record.levelno)


def _heed_signals() -> int:
    """Where SIGTERM and SIGABRT are heard.

    A supervisor sends them to the gate and its guardian alike: the guardian locks at once, and
    stays until the gate has said its last word. SIGINT and SIGHUP are for the gate alone, which may
    decide to go on.
    """
    ear, mouth = os.pipe()
    os.set_blocking(mouth, False)

    def heard(number: int, frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(mouth, b"!")

    for number in (signal.SIGTERM, signal.SIGABRT):
        signal.signal(number, heard)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    return ear


if __name__ == "__main__":
    sys.exit(main())
