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

_EXIT_CODES = {signal.SIGTERM: 0, signal.SIGINT: 130}
_SIGNALS = (*_EXIT_CODES, signal.SIGHUP)
_READ_BYTES = 4096


class Shutdown:
    """Turns signals into an orderly end, as a context around the run.

    A thread of its own hears of a signal at once, whatever the main thread is doing (a handler in
    Python would have to wait until a long call into a library returns). It locks the door, then
    asks the loop to end; if that has not happened after `patience_s`, it ends the process itself
    (with the exit code of an OutputError when the last lock did not work).
    Until the context is left, no further signal cuts short what there is to do at the end.

    Args:
        lock: locks the door for ever; called from a thread of this object.
        abandon: lets go of the outputs where the main thread cannot; must take bounded time.
        heeds_hangup: asked at a SIGHUP whether that is an end too; else nothing happens. It may
            hang or fail: other signals are heard all the same.
        patience_s: how long the loop may take to end.
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
        self._ending = threading.Lock()
        self._hung_up = threading.Event()
        self._handled: set[int] = set()
        self._before = contextlib.ExitStack()
        self._receiver, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        self._listener = DoorThread(target=self._listen, name="shutdown")

    def __enter__(self) -> Self:
        self._listener.start()
        DoorThread(target=self._consider_hangups, name="hangup").start()
        if threading.current_thread() is threading.main_thread():
            # First the socket, then the handlers: none is in force that nobody would hear of.
            wakeup = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
            self._before.callback(signal.set_wakeup_fd, wakeup)
            for number in _SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                    before = signal.signal(number, self._handle)
                    self._before.callback(signal.signal, number, before)
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
        self._hung_up.set()
        self._before.close()
        self._sender.close()
        self._listener.join(self._patience_s)
        self._receiver.close()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; the interpreter has written it to the socket, unless that was full.

        Where it was full, the listener has something to read, and looks here afterwards.
        """
        self._handled.add(number)

    def _listen(self) -> None:
        """Hear of signals; nothing here may take long or fail, or the next one would be missed."""
        while heard := self._receiver.recv(_READ_BYTES):
            for number, exit_code in _EXIT_CODES.items():
                if number in heard or number in self._handled:
                    self._end_run(exit_code)
            if signal.SIGHUP in heard:
                self._hung_up.set()

    def _consider_hangups(self) -> None:
        """Find out whether a SIGHUP is an end, which may read files, and so may hang or fail."""
        while self._hung_up.wait() and not self._over.is_set():
            self._hung_up.clear()
            try:
                heeded = self._heeds_hangup()
            except Exception:
                log.exception("SIGHUP: it cannot be told whether to end; goes on")
            else:
                if heeded:
                    self._end_run(0)

    def _end_run(self, exit_code: int) -> None:
        """Lock, and have the loop end; only the first signal counts."""
        with self._ending:
            if self.asked.is_set():
                return
            self.exit_code = exit_code
            try:
                self._lock()
            except Exception:
                log.exception("the lock at the end failed; the outputs lock when they are closed")
            self.asked.set()
        if not self._over.wait(self._patience_s):
            self._give_up()

    def _give_up(self) -> None:
        log.error("the loop does not end; it is given up")
        code = OutputError.exit_code  # until it is known that the door is locked
        try:
            self._abandon()
            code = self.exit_code
        except OutputError as error:
            _write_stderr(f"mask-gate: {error}\n")  # a queued line would die with the process
        finally:
            self._end(code)


def _write_stderr(line: str) -> None:
    """Write to standard error, unless nobody takes it there within a second."""
    with contextlib.suppress(OSError):
        if select.select((), (2,), (), 1.0)[1]:
            os.write(2, line.encode("utf-8", "backslashreplace"))
