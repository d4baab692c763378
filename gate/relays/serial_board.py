"""SerialRelay: one relay of a USB relay board behind a serial port."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.serial_protocols import Exchange, board_of

log = logging.getLogger(__name__)

_POLL_S = 0.02
_DRAIN_POLL_S = 0.002
_SETTLING_READS = 10
_LONGEST_ANSWER = 1024

_REASONS = {
    errno.ENOENT: "no such device; plug the board in, and check the name",
    errno.EACCES: "no right to use it; add the user to group dialout",
    errno.EAGAIN: "another program uses it; end that one",
    errno.EBUSY: "another program uses it; end that one",
}

Cancelled = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class SerialPauses:
    """How long a board is listened to.

    Attributes:
        quiet_s: one that says nothing for so long has finished its answer.
        settle_s: what it still had to say when its port was opened has begun within this time.
    """

    quiet_s: float = 0.03
    settle_s: float = 0.1


class SerialRelay:
    """Locks whenever it opens the port, and opens it in `lock` only.

    The port is ours alone as long as it is open. DTR and RTS stay low, as far as the kernel lets
    us: it raises them for a moment when a port is opened, so take a board that does not heed them.
    A port whose name has come to mean another device is let go of.

    With `read_back`, a change counts when the board has confirmed it. LCUS boards that never
    answered since the port was opened are taken to be of the silent kind: nothing shows then
    whether they obey. From one that did answer once, silence is an error.

    Args:
        port: device file, best a stable name such as /dev/serial/by-id/...
        energised: what an energised relay means, `unlocked` or `locked`.
        protocol, channel, read_back, energise, release, reply: see `gate.relays.serial_protocols`.
        baud: bits per second.
        limit_s: how long one order may take, from its beginning to the board's last answer.
        clock: seconds of CLOCK_MONOTONIC.
        pauses: how long the board is listened to.

    Raises:
        OutputError: pyserial is missing, the port cannot be had, or the board does not lock.
    """

    def __init__(
        self,
        port: str,
        energised: str = "unlocked",
        protocol: str = "lcus",
        channel: int = 1,
        baud: int = 9600,
        read_back: bool = True,
        energise: str | None = None,
        release: str | None = None,
        reply: str | None = None,
        limit_s: float = 0.5,
        clock: Clock = time.monotonic,
        pauses: SerialPauses = SerialPauses(),
    ) -> None:
        self.name = f"serial {port} relay {channel}"
        self._path = port
        self._baud = baud
        self._energised_unlocks = energised == "unlocked"
        self._plugged_in = partial(board_of, protocol, channel, read_back, energise, release, reply)
        self._board = self._plugged_in()
        self._limit_s = limit_s
        self._clock = clock
        self._pauses = pauses
        self._port: _Port | None = None
        self._in_order = False  # whether nothing is under way between the board and us
        self._answers: bool | None = None  # whether the board says its state; None: not known yet
        self._lock(lambda: False)

    def unlock(self, order: Order, cancelled: Cancelled) -> None:
        """See `gate.relays.relay.Relay`."""
        if cancelled():
            return
        port = self._port
        if port is None or not self._in_order or not port.is_at(self._path):
            raise OutputError(f"{self.name}: the board is not connected, or not known to be locked")
        try:
            self._switch(port, True, _Limit(self._clock, self._limit_s, cancelled))
        except OutputError:
            if not cancelled():  # else a lock follows at once, and says how the board is
                raise

    def lock(self, order: Order, cancelled: Cancelled) -> None:
        """See `gate.relays.relay.Relay`."""
        self._lock(cancelled)

    def close(self) -> None:
        """Lock and let go of the port; may be called twice."""
        if self._port is not None:
            try:
                self._lock(lambda: False)
            finally:
                self._let_go()

    def _lock(self, cancelled: Cancelled) -> None:
        limit = _Limit(self._clock, self._limit_s, cancelled)
        if self._port is not None and not self._port.is_at(self._path):
            self._let_go()
        if self._port is None:
            self._port = _Port(self._path, self._baud, self.name, self._pauses)
            self._in_order = False
            self._answers = self._answers or None
            self._board = self._plugged_in()
        try:
            self._switch(self._port, False, limit)
        except OutputError:
            self._let_go()  # whatever hung may be gone when the port is opened again
            raise

    def _let_go(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None

    def _switch(self, port: _Port, unlocks: bool, limit: _Limit) -> None:
        exchanges = self._board.change(unlocks == self._energised_unlocks)
        try:
            if not self._in_order:
                # Half a message may lie in the board, and swallow the first one that comes.
                port.write(exchanges[0].message, limit)
                port.settle(exchanges[0].understand is not None, limit)
            self._in_order = False
            for exchange in exchanges:
                self._exchange(port, exchange, limit)
            self._in_order = True
        except OutputError:
            raise
        except (OSError, termios.error) as error:
            why = error.args[-1] if error.args else error
            raise OutputError(f"{self.name}: the board is gone ({why})") from None

    def _exchange(self, port: _Port, exchange: Exchange, limit: _Limit) -> None:
        if exchange.may_be_silent and self._answers is False:
            return
        port.forget_input()
        if not port.write(exchange.message, limit):
            raise OutputError(f"{self.name}: the board takes no more bytes; unplug it and plug it")
        if exchange.understand is None:
            return
        came, did = port.answer(exchange.understand, limit)
        if did is False:
            raise OutputError(f"{self.name}: the board says that its relay did not change")
        if did is None and came:
            raise OutputError(
                f"{self.name}: the board's answer makes no sense ({came[:16].hex(' ')}); check "
                "protocol and baud, or set read_back: false if it cannot tell its state"
            )
        if did is None and not self._is_silent_kind(exchange, limit):
            raise OutputError(f"{self.name}: the board did not answer in {self._limit_s:g} s")
        if did and exchange.may_be_silent:
            self._answers = True
            self._board.learn(came)

    def _is_silent_kind(self, exchange: Exchange, limit: _Limit) -> bool:
        if not exchange.may_be_silent or self._answers or limit.cancelled():
            return False
        log.warning("%s: the board does not tell its state; nothing shows if it obeys", self.name)
        self._answers = False
        return True


class _Limit:
    """The end of the time that one order has."""

    def __init__(self, clock: Clock, limit_s: float, cancelled: Cancelled) -> None:
        self._clock = clock
        self._end_s = clock() + limit_s
        self.cancelled = cancelled

    def left_s(self) -> float:
        """How long it is until then; not above 0 when it is over."""
        return self._end_s - self._clock()

    def pause_s(self) -> float:
        """How long to wait before looking again; 0 when there is no time left, or no interest."""
        return 0.0 if self.cancelled() else max(0.0, min(self.left_s(), _POLL_S))


class _Serial(Protocol):
    """As much of pyserial's Serial as is used; without stubs it has no types."""

    port: str
    baudrate: int
    exclusive: bool
    dtr: bool
    rts: bool

    @property
    def out_waiting(self) -> int: ...
    def open(self) -> None: ...
    def close(self) -> None: ...
    def fileno(self) -> int: ...
    def reset_input_buffer(self) -> None: ...
    def reset_output_buffer(self) -> None: ...


class _Port:
    """An open serial port that nobody else may open.

    Reads and writes on the descriptor itself: pyserial's own time limits are for one call each.

    Raises:
        OutputError: pyserial is missing, or the port cannot be had.
    """

    def __init__(self, path: str, baud: int, name: str, pauses: SerialPauses) -> None:
        self._pauses = pauses
        self._serial = _new_serial()
        self._serial.port = path
        self._serial.exclusive = True
        self._serial.dtr = False
        self._serial.rts = False
        try:
            self._serial.baudrate = baud
            self._serial.open()
            self._descriptor = self._serial.fileno()
            fcntl.ioctl(self._descriptor, termios.TIOCEXCL)
        except (OSError, ValueError, termios.error) as error:
            self._serial.close()
            raise OutputError(f"{name}: {_why_not_opened(error)}") from None

    def is_at(self, path: str) -> bool:
        """Whether `path` still names the device that is open."""
        try:
            return Path(path).stat().st_rdev == os.fstat(self._descriptor).st_rdev
        except OSError:
            return False

    def write(self, message: bytes, limit: _Limit) -> bool:
        """Send; False when not all was on its way in time, and never will be.

        Nobody cancels this: a board that works takes a message within milliseconds.
        """
        rest = message
        while True:
            if rest and select.select([], [self._descriptor], [], 0)[1]:
                rest = rest[os.write(self._descriptor, rest) :]
            if not rest and not self._serial.out_waiting:
                return True
            if limit.left_s() <= 0.0:
                self._serial.reset_output_buffer()
                return False
            time.sleep(min(limit.left_s(), _DRAIN_POLL_S))

    def answer(
        self, understand: Callable[[bytes], bool | None], limit: _Limit
    ) -> tuple[bytes, bool | None]:
        """What came until it made sense and nothing followed, or time was up; and its sense."""
        came, did = b"", None
        while (pause_s := limit.pause_s()) and len(came) < _LONGEST_ANSWER:
            more = self._read(pause_s if did is None else self._pauses.quiet_s)
            if did is not None and not more:
                break
            came += more
            did = understand(came)
        return came, did

    def settle(self, comes: bool, limit: _Limit) -> None:
        """Let what is still under way come in, if only `comes` something; it counts for nothing."""
        quiet_s = self._pauses.quiet_s
        pause_s = min(self._pauses.settle_s, limit.left_s() / 2) if comes else quiet_s
        for _ in range(_SETTLING_READS):  # a board that never stops is found out later
            if not self._read(max(pause_s, 0.0)):
                return
            pause_s = quiet_s

    def forget_input(self) -> None:
        """Throw away what came unasked."""
        self._serial.reset_input_buffer()

    def close(self) -> None:
        """Close."""
        with contextlib.suppress(OSError):  # it may be unplugged
            fcntl.ioctl(self._descriptor, termios.TIOCNXCL)
        with contextlib.suppress(OSError):
            self._serial.close()

    def _read(self, timeout_s: float) -> bytes:
        if not select.select([self._descriptor], [], [], timeout_s)[0]:
            return b""
        data = os.read(self._descriptor, _LONGEST_ANSWER)
        if not data:
            raise OSError("the device was unplugged")
        return data


def _new_serial() -> _Serial:
    try:
        return cast(_Serial, import_module("serial").Serial())
    except ImportError:
        raise OutputError(
            'a relay of kind serial needs pyserial; run pip install "mask-gate[serial]"'
        ) from None


def _why_not_opened(error: Exception) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, ValueError):
        return f"{error}; check baud"
    if number is None:
        return "is no serial port; give the one of the board"
    return _REASONS.get(number, f"cannot be opened ({os.strerror(number)})")
