"""RecordingRelay: no device, but a file that gets one line per change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order


class RecordingRelay:
    """Writes `<monotonic seconds> unlocked|locked <id>` lines; the first, and the last, is locked.

    A change that no signal asked for has `-` for an id.

    Args:
        path: the file to append to.
        clock: seconds of CLOCK_MONOTONIC.

    Raises:
        OutputError: the file cannot be written.
    """

    def __init__(self, path: str, clock: Clock = time.monotonic) -> None:
        self.name = f"recording {path}"
        self._clock = clock
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._file = os.open(path, flags, 0o640)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None
        self._write("locked", "-")

    def unlock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        self._write("unlocked", order.id or "-")

    def lock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        self._write("locked", order.id or "-")

    def close(self) -> None:
        """Lock and close the file."""
        if self._file >= 0:
            try:
                self._write("locked", "-")
            finally:
                os.close(self._file)
                self._file = -1

    def _write(self, level: str, order_id: str) -> None:
        line = f"{self._clock():.6f} {level} {order_id}\n".encode()
        try:
            written = os.write(self._file, line)
        except OSError as error:
            raise OutputError(f"{self.name}: cannot be written ({error.strerror})") from None
        if written < len(line):
            raise OutputError(f"{self.name}: the disk is full")
