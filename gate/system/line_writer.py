"""LineWriter: lines into a file or pipe from a thread of its own; what is stuck stops nobody."""

from __future__ import annotations

import io
import queue
import time
from collections.abc import Callable

from mask_gate.gate.system.threads import DoorThread

BACKLOG = 1000
"""So many lines wait for a slow reader; what comes after them is lost."""

CLOSE_S = 2.0

_FULL_PIPE_S = 0.02


class LineWriter:
    """Writes whole lines in the order they came, each handed to the system at once.

    While writing fails (a full disk, a reader that went away) lines are lost. A piece of a line
    that got out before is closed off, so that the next one stands alone.

    Args:
        descriptor: an open file descriptor, owned and closed by the writer from now on.
        on_loss: called once with the reason when lines begin to be lost.
        on_recovery: called once with how many were, when one was written again.
    """

    def __init__(
        self,
        descriptor: int,
        on_loss: Callable[[str], None],
        on_recovery: Callable[[int], None],
    ) -> None:
        self._file = io.FileIO(descriptor, "w")
        self._on_loss = on_loss
        self._on_recovery = on_recovery
        self._lost = 0
        self._torn = False
        self._closing = False
        self._lines: queue.Queue[bytes | None] = queue.Queue(BACKLOG)
        self._writer = DoorThread(target=self._work, name="line-writer")
        self._writer.start()

    def put(self, line: str) -> None:
        """Take a line, without its end; returns at once."""
        try:
            self._lines.put_nowait(line.encode("utf-8", "backslashreplace") + b"\n")
        except queue.Full:
            self._lose("it does not take them fast enough")

    def close(self) -> None:
        """Write what is left, for `CLOSE_S` at most; may be called twice."""
        self._closing = True
        try:
            self._lines.put(None, timeout=CLOSE_S)
        except queue.Full:
            return  # nobody reads: the thread ends with its last line, if ever, or with the process
        self._writer.join(CLOSE_S)

    def _work(self) -> None:
        with self._file:
            while (line := self._lines.get()) is not None:
                try:
                    self._write(line)
                except OSError as error:
                    self._lose(error.strerror or str(error))
                if self._closing and self._lines.empty():  # there may have been no room for None
                    break

    def _write(self, line: bytes) -> None:
        rest = memoryview(b"\n" + line if self._torn else line)
        while rest:
            written = self._file.write(rest) or 0
            if not written:  # somebody set the pipe to non-blocking, and it is full
                time.sleep(_FULL_PIPE_S)
            rest = rest[written:]
            self._torn = bool(rest) and (self._torn or written > 0)
        if self._lost and self._lines.empty():  # not while a slow reader is still behind
            lost, self._lost = self._lost, 0
            self._on_recovery(lost)

    def _lose(self, why: str) -> None:
        self._lost += 1
        if self._lost == 1:
            self._on_loss(why)
