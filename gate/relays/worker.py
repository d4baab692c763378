"""RelayWorker: carries out the orders of one relay in a thread: a lock wins, an opening ends."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.hook_process import GRACE_S, REAP_S
from mask_gate.gate.relays.relay import Order, Relay
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

MAX_LATE_S = 0.5
"""An opening that cannot start this soon after it was asked for does not start at all."""

CLOSE_S = 3.0
"""At the end, the last lock is tried for this long, or for as long as one try takes."""

_RETRY_FIRST_S = 0.2
_RETRY_MAX_S = 2.0

LONGEST_PAUSE_S = _RETRY_MAX_S + GRACE_S + REAP_S
"""A failed lock is tried again within this time, counted from the end of its limit."""

END_S = GRACE_S + 2 * REAP_S
"""`close` may take this much longer than its patience: a command has to be killed first."""

CHECK_BY_HAND = "the door may be open: check it by hand"

_PENDING_MAX = 16
_LONG_WAIT_S = 3600.0
_POLL_S = 0.1  # a wait stands still with the machine, the clock does not


class RelayWorker:
    """Strict order, and a lock always wins.

    A lock ends an opening that is being carried out and throws out those that wait. An opening
    that comes too late is dropped; this, or one that failed, is reported and never repeated. An
    opening that nobody ends is locked at its `until_s`, or after `pulse_s`. A failed lock is
    reported and repeated until it works or a newer lock takes its place.

    Args:
        relay: called from the worker's thread only, but for `close`.
        clock: in which `Order.time_s` and `Order.until_s` are told.
        on_done: called from the worker with each order that was carried out.
        on_fault: called from the worker with one sentence when the relay has failed.
        pulse_s: the longest an opening may last, if less than its lease.
        refresh_s: while nothing else is to do, lock again this often, so that a relay that went
            away is missed soon; None never.
        patience_s: how long `close` goes on trying the last lock.
        end_s: `close` may take this much longer.
        max_late_s: an opening that cannot start this soon after it was asked for is dropped.
    """

    def __init__(
        self,
        relay: Relay,
        *,
        clock: Clock,
        on_done: Callable[[Order], None],
        on_fault: Callable[[str], None],
        pulse_s: float | None = None,
        refresh_s: float | None = None,
        patience_s: float = CLOSE_S,
        end_s: float = END_S,
        max_late_s: float = MAX_LATE_S,
    ) -> None:
        self._relay = relay
        self._clock = clock
        self._on_done = on_done
        self._on_fault = on_fault
        self._pulse_s = math.inf if pulse_s is None else pulse_s
        self._refresh_s = refresh_s
        self._patience_s = patience_s
        self._end_s = end_s
        self._max_late_s = max_late_s
        self._changed = threading.Condition()
        self._pending: deque[Order] = deque(maxlen=_PENDING_MAX)
        self._open_until_s = math.inf  # when what is open now must be locked; inf when nothing is
        self._close_by = math.inf
        self._lock_fault = ""
        self._called_s = math.inf  # since when the driver is at work; inf when it is not
        self._lock_due_s = math.inf  # since when a lock waits for that; inf when none does
        self._thread = DoorThread(target=self._work, name="relay")
        self._thread.start()

    def send(self, order: Order) -> None:
        """Take an order and return at once.

        Raises:
            OutputError: no order can be carried out any more.
        """
        with self._changed:
            if self._closing():
                return
            if not self._thread.is_alive():
                raise OutputError(f"{self._lock_fault}; start the gate again")
            if not order.unlocks:
                self._drop_openings()
                self._lock_due_s = min(self._lock_due_s, self._clock())
            self._pending.append(order)
            self._changed.notify_all()

    @property
    def is_open(self) -> bool:
        """Whether an opening was begun and not yet locked."""
        return self._open_until_s < math.inf

    def busy_s(self) -> float:
        """For how long the driver has been at one call while a lock was due; 0 when it is not."""
        due_s = min(self._lock_due_s, self._open_until_s)
        return max(0.0, self._clock() - max(self._called_s, due_s))

    def close(self) -> None:
        """Carry out the newest lock, in bounded time, and end.

        Raises:
            OutputError: the last lock did not work.
        """
        with self._changed:
            if not self._closing():
                self._close_by = time.monotonic() + self._patience_s
                self._drop_openings()
                self._lock_due_s = min(self._lock_due_s, self._clock())
                while len(self._pending) > 1:
                    self._pending.popleft()
            self._changed.notify_all()
        self._thread.join(self._patience_s + self._end_s)
        fault = f"{self._relay.name} does not end" if self._thread.is_alive() else self._lock_fault
        if fault:
            message = f"{fault}; {CHECK_BY_HAND}"
            log.critical("%s", message)  # what else fails at the end may hide the exception
            raise OutputError(message)

    def _closing(self) -> bool:
        return self._close_by < math.inf

    def _left_s(self) -> float:
        return self._close_by - time.monotonic()

    def _drop_openings(self) -> None:
        locks = [order for order in self._pending if not order.unlocks]
        if len(locks) < len(self._pending):
            log.warning("an opening was revoked before the relay had begun it: dropped")
        self._pending.clear()
        self._pending.extend(locks)

    def _work(self) -> None:
        try:
            while (order := self._next_order()) is not None:
                if order.unlocks:
                    self._unlock(order)
                else:
                    self._lock(order)
        except Exception:
            self._lock_fault = "the thread that drives the relay broke down"
            log.exception("%s", self._lock_fault)
            self._on_fault(f"{self._lock_fault}; {CHECK_BY_HAND}")

    def _next_order(self) -> Order | None:
        """What came, or the lock that is due by itself; None at the end."""
        with self._changed:
            while not (self._pending or self._closing()):
                left_s = self._open_until_s - self._clock()
                if left_s <= 0.0:
                    return self._lock_order("cap")
                if self.is_open:
                    self._changed.wait(min(left_s, _POLL_S))
                    continue
                woken = self._changed.wait(min(self._refresh_s or _LONG_WAIT_S, _LONG_WAIT_S))
                if not woken and self._refresh_s is not None:
                    return self._lock_order("refresh")
            if self._pending:
                order = self._pending.popleft()
                if order.unlocks and not self._closing():
                    self._lock_due_s = math.inf  # a lock would have thrown it out
                return order
            return self._lock_order("stopping") if self.is_open else None

    def _lock_order(self, reason: str) -> Order:
        return Order(unlocks=False, id="", reason=reason, time_s=self._clock())

    def _unlock(self, order: Order) -> None:
        now_s = self._clock()
        until_s = min(order.until_s, now_s + self._pulse_s)
        hold_s = until_s - now_s
        if not (hold_s > 0.0 and abs(now_s - order.time_s) <= self._max_late_s):
            self._on_fault(
                f"the opening could not start within {self._max_late_s:g} s and was dropped"
            )
            return
        self._open_until_s = until_s
        cancelled = False

        def must_lock() -> bool:
            nonlocal cancelled
            cancelled = cancelled or self._must_lock()
            return cancelled

        self._called_s = now_s
        try:
            self._relay.unlock(replace(order, until_s=until_s, hold_s=hold_s), must_lock)
        except OutputError as error:
            self._called_s = math.inf
            self._on_fault(str(error))
            self._lock(self._lock_order("output_fault"))
        else:
            self._called_s = math.inf
            if not cancelled:
                self._on_done(order)

    def _lock(self, order: Order) -> None:
        pause_s = _RETRY_FIRST_S
        while (fault := self._try_lock(order)) is not None:
            self._lock_fault = fault
            self._on_fault(f"{fault}; {CHECK_BY_HAND}")
            if self._pause(pause_s):
                return
            pause_s = min(2 * pause_s, _RETRY_MAX_S)
        if self._lock_fault:
            log.warning("%s locks again", self._relay.name)
        self._lock_fault = ""
        self._open_until_s = math.inf
        if order.id:
            self._on_done(order)

    def _try_lock(self, order: Order) -> str | None:
        """Lock once; what went wrong, or None."""
        self._called_s = self._clock()
        self._lock_due_s = min(self._lock_due_s, self._called_s)
        try:
            self._relay.lock(order, lambda: self._left_s() <= 0.0)
        except OutputError as error:
            return str(error)
        finally:
            self._called_s = math.inf
        return None

    def _must_lock(self) -> bool:
        with self._changed:
            waits = any(not order.unlocks for order in self._pending)
            return waits or self._closing()

    def _pause(self, pause_s: float) -> bool:
        """Pause before a lock is tried again; True when a newer lock waits or time is up."""
        with self._changed:
            newer = self._changed.wait_for(
                lambda: any(not order.unlocks for order in self._pending),
                min(pause_s, self._left_s()),
            )
            return newer or self._left_s() <= 0.0
