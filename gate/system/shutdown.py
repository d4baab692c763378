"""Shutdown: SIGTERM, SIGINT and SIGHUP lock the door first, even while the loop is stuck."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""How long the loop may take to end by itself once it was told to."""

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Shutdown:
    """Turns signals into an orderly end, as a context around the run.

    A thread of its own hears of a signal at once, whatever the main thread is doing (a handler in
    Python would have to wait until a long call into a library returns). It locks the door, then
    asks the loop to end; if that has not happened after `PATIENCE_S`, it ends the process itself
    (with the exit code of an OutputError when the last lock did not work).
    Until the context is left, no further signal cuts short what there is to do at the end.

    Args:
        lock: locks the door for ever; called from the thread.
        abandon: lets go of the outputs where the main thread cannot; must take bounded time.
        heeds_hangup: asked at each SIGHUP whether that is an end too; else nothing happens.
        end: ends the process with an exit code.

    Attributes:
        asked: set once a signal came.
        exit_code: 130 after SIGINT, else 0.
    """

    def __init__(
        self,
        lock: Callable[[], None],
        abandon: Callable[[], None],
        *,
        heeds_hangup: Callable[[], bool] = lambda: True,
        patience_s: float = PATIENCE_S,
        end: Callable[[int], object] = os._exit,
    ) -> None:
        self.asked = threading.Event()
        self.exit_code = 0
        self._lock = lock
        self._abandon = abandon
        self._heeds_hangup = heeds_hangup
        self._patience_s = patience_s
        self._end = end
        self._over = threading.Event()
        self._before = contextlib.ExitStack()
        self._ear, self._mouth = socket.socketpair()
        self._mouth.setblocking(False)
        self._watch = DoorThread(target=self._listen, name="shutdown")

    def __enter__(self) -> Self:
        self._watch.start()
        if threading.current_thread() is threading.main_thread():
            wakeup = signal.set_wakeup_fd(self._mouth.fileno(), warn_on_full_buffer=False)
            self._before.callback(signal.set_wakeup_fd, wakeup)
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                    self._before.callback(signal.signal, number, signal.signal(number, _heard))
        return self

    def loop_ended(self) -> None:
        """The main thread is not stuck: leave the rest to it."""
        self._over.set()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._before.close()
        self._mouth.close()
        self._watch.join(self._patience_s)
        self._ear.close()

    def _listen(self) -> None:
        while heard := self._ear.recv(1):
            if heard[0] == signal.SIGHUP and not self._heeds_hangup():
                continue
            if heard[0] in _SIGNALS and not self.asked.is_set():
                self.exit_code = 130 if heard[0] == signal.SIGINT else 0
                self._lock()
                self.asked.set()
                if not self._over.wait(self._patience_s):
                    self._give_up()
                    return

    def _give_up(self) -> None:
        log.error("the loop does not end; it is given up")
        code = OutputError.exit_code  # until it is known that the door is locked
        try:
            self._abandon()
            code = self.exit_code
        except OutputError as error:
            _say_at_once(f"mask-gate: {error}\n")  # a queued line would die with the process
        finally:
            self._end(code)


def _say_at_once(line: str) -> None:
    """Write to standard error, unless nobody takes it there within a second."""
    with contextlib.suppress(OSError):
        if select.select((), (2,), (), 1.0)[1]:
            os.write(2, line.encode("utf-8", "backslashreplace"))


def _heard(number: int, frame: FrameType | None) -> None:
    """Does nothing: the interpreter has told the thread already, through the wakeup socket."""
