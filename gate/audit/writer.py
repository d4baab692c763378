"""Audit: every decision and opening as a row on the disk; an opening's row before the door moves.

A thread of its own writes; only `intend` waits for it, and not for long.
"""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mask_gate.gate.audit.chain import Row, Tip
from mask_gate.gate.audit.rows import detail, printable, row_of_event, start_detail
from mask_gate.gate.audit.store import AuditStore, Connect
from mask_gate.gate.clock import Clock
from mask_gate.gate.domain import Reason, Signal
from mask_gate.gate.errors import AuditError, OutputError
from mask_gate.gate.events import Event, utc_now
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

BACKLOG_ROWS = 10_000
"""So many rows wait in memory for a disk that does not take them; what comes after is lost."""

BATCH_ROWS = 500

CLOSE_S = 2.0
"""At the end of the gate, what is left is tried for this long."""

RETRY_S = 1.0
"""A disk that refused is asked again this soon, or at once for an opening."""

CLOCK_STEP_S = 2.0
"""The wall clock stepped when it moved so much more, or less, than the monotonic one."""

PRUNE_AFTER_S = 3600.0
"""Old rows are deleted only when the wall clock has not stepped for so long, and so often."""

_IDLE_S = 1.0
_CLOSING_RETRY_S = 0.1
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Audit:
    """The audit of one gate.

    Construction touches no disk and never fails; a file that cannot be used is tried again for
    ever, `check` tells of it, and nothing is lost before `BACKLOG_ROWS` wait.

    Args:
        path: the file, see `gate.audit.config`.
        gate: name of the door.
        clock: monotonic seconds.
        wall: the time of day; it is recorded, and decides only which rows are old.
        wait_s: how long an opening waits for its row.
        keep_days: older rows are deleted.
        config: fingerprint of the configuration, for every row.
        connect: `sqlite3.connect`, or what a test puts in its place.
    """

    def __init__(
        self,
        path: Path,
        gate: str,
        *,
        clock: Clock = time.monotonic,
        wall: Callable[[], datetime] = utc_now,
        wait_s: float = 0.25,
        keep_days: float = 365.0,
        config: str | None = None,
        connect: Connect = sqlite3.connect,
    ) -> None:
        self.path = path
        self.model: str | None = None
        self.config = config
        self._wait_s = wait_s
        self._keep = timedelta(days=keep_days)
        self._wall = wall
        self._times = _Times(clock, wall)
        self._boot_id, self._gate = _boot_id(), printable(gate)
        self._store = AuditStore(path, busy_s=wait_s / 2, wall=wall, connect=connect)
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._new_tickets: list[_Ticket] = []  # of openings whose rows were not tried yet
        self._tickets: list[_Ticket] = []  # of openings whose turn it is
        self._lost = 0
        self._close_by: float | None = None
        self._fault = ""
        self._fault_since_s = 0.0
        self._works = False
        self._unsure: list[_Waiting] = []  # tried last, and perhaps on the disk in spite of a fault
        self._put(Row("start", detail=start_detail(os.getpid())))
        self._writer = DoorThread(target=self._work, name="audit")
        self._writer.start()

    @property
    def fault(self) -> str | None:
        """Why nothing can be written now; None when nothing is known to be wrong."""
        return self._fault or None

    @property
    def tip(self) -> Tip | None:
        """Number and hash of the last row on the disk: an anchor, to be kept somewhere else."""
        return self._store.tip

    def check(self, wait_s: float) -> None:
        """Wait until the first row is on the disk; for the start of the gate.

        Raises:
            AuditError: it cannot be written, or not within `wait_s`.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._works or self._fault, wait_s)
            if not self._works:
                raise AuditError(self._said(self._fault or f"not written within {wait_s:g} s"))

    def intend(self, signal: Signal, event: Event) -> None:
        """Record an opening before anything hears of it; returns when the row is on the disk.

        Raises:
            AuditError: the row is not there, or was not in time; nothing may open.
        """
        ticket = _Ticket()
        row = replace(
            row_of_event(event, "intent"),
            signal_id=printable(signal.id),
            decision=signal.kind.value,
            reason=signal.reason.value,
        )
        if not self._put(row, ticket):
            raise AuditError(self._said("no more rows are taken"))
        fault = ticket.wait(self._wait_s)
        if fault is not None:
            raise AuditError(self._said(fault or f"no row on the disk within {self._wait_s:g} s"))

    def write(self, event: Event) -> None:
        """Take an event; returns at once."""
        self._put(row_of_event(event))

    def result(self, signal_id: str, relay: str, outcome: str) -> None:
        """Take what a relay did upon a signal; returns at once."""
        self._put(
            Row(
                "result",
                signal_id=printable(signal_id),
                relay=printable(relay),
                outcome=printable(outcome),
            )
        )

    def alarm(self, what: str) -> None:
        """Take something that somebody must look into; returns at once."""
        self._put(Row("alarm", detail=detail(what)))

    def close(self) -> None:
        """Write what is left, for `CLOSE_S` at most; may be called twice."""
        with self._changed:
            if self._close_by is None:
                self._queue(Row("stop"))
                self._close_by = time.monotonic() + CLOSE_S
            self._changed.notify_all()
        self._writer.join(CLOSE_S + _CLOSING_RETRY_S)
        if left := len(self._waiting):
            log.error("%s", self._said(f"{left} rows could not be written before the end"))

    def _put(self, row: Row, ticket: _Ticket | None = None) -> bool:
        """Queue a row; False when there is no room for it, or the end has come."""
        with self._changed:
            if self._close_by is not None:
                return False
            if len(self._waiting) >= BACKLOG_ROWS:
                self._lose()
                return False
            if ticket is not None:
                self._new_tickets.append(ticket)
            self._queue(row, ticket)
            self._changed.notify_all()
            return True

    def _queue(self, row: Row, ticket: _Ticket | None = None) -> None:
        self._tell_of_loss()
        self._tell_of_clock()
        self._waiting.append(_Waiting(self._stamped(row), ticket))

    def _stamped(self, row: Row) -> Row:
        wall, mono_s = self._times.now()
        return replace(
            row,
            wall=wall,
            mono_s=mono_s,
            boot_id=self._boot_id,
            gate=self._gate,
            model=row.model or self.model,
            config=self.config,
        )

    def _said(self, what: str) -> str:
        return f"audit {printable(str(self.path))}: {what}"

    # ------------------------------------------------------- what the trail says of itself

    def _lose(self) -> None:
        self._lost += 1
        if self._lost == 1:
            log.warning("%s", self._said(f"rows are lost, {BACKLOG_ROWS} wait already"))

    def _tell_of_loss(self) -> None:
        """Queue an alarm in the place where rows are missing."""
        if self._lost:
            lost, self._lost = self._lost, 0
            self._waiting.append(_Waiting(self._stamped(Row("alarm", detail=f"{lost} rows lost"))))

    def _tell_of_clock(self) -> None:
        """Queue a row when the wall clock was set."""
        step_s = self._times.step_s()
        if step_s is not None:
            said = f"the wall clock stepped by {step_s:+.3f} s"
            self._waiting.append(_Waiting(self._stamped(Row("clock_step", detail=said))))

    def _refusal(self, intent: Row) -> Row:
        """What must follow an intent that came to nothing."""
        return self._stamped(
            Row(
                "result",
                signal_id=intent.signal_id,
                decision="deny",
                reason=Reason.AUDIT_UNAVAILABLE.value,
                outcome="not opened",
                detail="the row of the intent was not on the disk in time",
            )
        )

    # -------------------------------------------------------------------- in the writer's thread

    def _work(self) -> None:
        while not self._is_over():
            try:
                self._step()
            except OutputError as error:
                self._fail(str(error))
            except (sqlite3.Error, OSError) as error:
                why = getattr(error, "strerror", None) or str(error)
                self._fail(f"{why}; see that the disk is there and has room")
            except Exception as error:  # whatever it is, the next try may go well
                if not self._fault:
                    log.exception("%s", self._said("not foreseen"))
                self._fail(f"{type(error).__name__}: {error}")
        self._store.close()

    def _is_over(self) -> bool:
        with self._changed:
            if self._close_by is None:
                return False
            return not self._waiting or time.monotonic() >= self._close_by

    def _step(self) -> None:
        """Write what waits, or what there is to do beside it."""
        batch = self._next_batch()
        if not self._store.is_open:
            alarm = self._store.open()
            if self._unsure and self._store.took_failed_batch():
                self._settle(self._unsure)
                batch = batch[len(self._unsure) :]
            self._unsure = []
            if alarm is not None:
                first = _Waiting(self._stamped(replace(alarm, detail=detail(alarm.detail or ""))))
                batch = [first, *batch]
                with self._changed:
                    self._waiting.appendleft(first)
        if batch:
            self._commit(batch)
        if self._times.prune_is_due():
            self._prune()
        self._recover()

    def _next_batch(self) -> list[_Waiting]:
        """Rows to write next, which stay queued until they are written; empty when there is none.

        After a fault, waits a while first, unless an opening asks.
        """
        with self._changed:
            closing = self._is_closing()
            if self._fault:
                pause_s = _CLOSING_RETRY_S if closing else RETRY_S
                self._changed.wait_for(
                    lambda: self._new_tickets or (self._is_closing() and not closing), pause_s
                )
            elif not self._times.prune_is_due():
                self._changed.wait_for(lambda: self._waiting or self._is_closing(), _IDLE_S)
            self._tell_of_clock()
            if len(self._waiting) < BACKLOG_ROWS:
                self._tell_of_loss()
            self._tickets += self._new_tickets
            self._new_tickets = []
            return list(itertools.islice(self._waiting, BATCH_ROWS))

    def _is_closing(self) -> bool:
        return self._close_by is not None

    def _commit(self, batch: list[_Waiting]) -> None:
        rows = []
        for each in batch:
            rows.append(each.row)
            if each.ticket is not None and each.ticket.given_up:
                rows.append(self._refusal(each.row))
                each.refused = True
        self._unsure = batch
        self._store.append(rows)
        self._unsure = []
        self._settle(batch)

    def _settle(self, batch: list[_Waiting]) -> None:
        """Take rows that are on the disk off the queue, and tell whom they were waited for."""
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
            for each in batch:
                late = each.ticket is not None and not each.ticket.settle(None)
                if late and not each.refused:
                    self._waiting.append(_Waiting(self._refusal(each.row)))

    def _prune(self) -> None:
        """Delete some old rows; whatever is left comes with the next step."""
        now = self._wall()
        before, until = _iso(now - self._keep), _iso(now)

        def note(last: Tip) -> Row:
            said = f"rows up to {last.seq} are older than {before}"
            row = Row("pruned", detail=said, anchor_seq=last.seq, anchor_hash=last.hash)
            return self._stamped(row)

        if not self._store.prune(before, until, note):
            self._times.pruned()

    def _fail(self, why: str) -> None:
        with self._changed:
            first = not self._fault
            if first:
                self._fault_since_s = self._times.now()[1]
            self._fault = printable(why)
            for ticket in self._tickets:
                ticket.settle(self._fault)
            self._tickets = []
            self._changed.notify_all()
        if first:
            log.error("%s", self._said(f"nothing can be recorded: {self._fault}"))

    def _recover(self) -> None:
        """Note that the disk takes rows, and say so when it had not."""
        with self._changed:
            fault, self._fault = self._fault, ""
            self._works = True
            self._tickets = [ticket for ticket in self._tickets if not ticket.settled]
            self._changed.notify_all()
            if fault:
                for_s = self._times.now()[1] - self._fault_since_s
                said = f"nothing could be written for {for_s:.1f} s ({fault})"
                self._waiting.append(_Waiting(self._stamped(Row("alarm", detail=said))))
        if fault:
            log.warning("%s", self._said("rows are written again"))


@dataclass(slots=True)
class _Waiting:
    """A row on its way to the disk.

    Attributes:
        ticket: held by the opening that waits for the row.
        refused: the row goes to the disk together with the one that says nothing was opened.
    """

    row: Row
    ticket: _Ticket | None = None
    refused: bool = False


class _Ticket:
    """Between an opening that waits and the writer: either both call a row in time, or neither."""

    def __init__(self) -> None:
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self._fault: str | None = None
        self.given_up = False

    @property
    def settled(self) -> bool:
        """Whether nothing about it can change any more."""
        return self.given_up or self._settled.is_set()

    def settle(self, fault: str | None) -> bool:
        """The row is on the disk (None), or why not; False when nobody waits any more."""
        with self._lock:
            if self.given_up:
                return False
            self._fault = fault
            self.given_up = fault is not None
            self._settled.set()
            return True

    def wait(self, wait_s: float) -> str | None:
        """None when the row is on the disk; else why not, empty when time was up."""
        self._settled.wait(wait_s)
        with self._lock:
            if not self._settled.is_set():
                self.given_up = True
                return ""
            return self._fault


class _Times:
    """Both clocks, and what their difference tells."""

    def __init__(self, clock: Clock, wall: Callable[[], datetime]) -> None:
        self._clock = clock
        self._wall = wall
        self._offset_s = self._wall_s() - clock()
        self._prune_at_s = clock() + PRUNE_AFTER_S

    def now(self) -> tuple[str, float]:
        """Wall time as in `Row.wall`, and monotonic seconds."""
        return _iso(self._wall()), round(self._clock(), 6)

    def step_s(self) -> float | None:
        """By how much the wall clock was set since the last call; None when it was not.

        A slow adjustment is none: each call takes the difference found as the right one.
        """
        before_s, wall_s, after_s = self._clock(), self._wall_s(), self._clock()
        if after_s - before_s > CLOCK_STEP_S / 4:  # stopped in between: nothing can be told
            return None
        offset_s = wall_s - after_s
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if abs(step_s) <= CLOCK_STEP_S:
            return None
        self._prune_at_s = after_s + PRUNE_AFTER_S
        return step_s

    def prune_is_due(self) -> bool:
        """Whether it is time to look for old rows."""
        return self._clock() >= self._prune_at_s

    def pruned(self) -> None:
        """There are no old rows now."""
        self._prune_at_s = self._clock() + PRUNE_AFTER_S

    def _wall_s(self) -> float:
        return self._wall().timestamp()


def _iso(wall: datetime) -> str:
    text = wall.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return "unknown"
