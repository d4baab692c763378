"""Backlog: rows on their way to the disk, and the openings that wait for theirs."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

from mask_gate.gate.audit.chain import Row
from mask_gate.gate.audit.clock import AuditClock
from mask_gate.gate.audit.limits import AuditLimits
from mask_gate.gate.audit.rows import refusal_of
from mask_gate.gate.audit.stamp import RowStamp

log = logging.getLogger(__name__)


class Acknowledgement:
    """Between an opening that waits and the writer: either both call its row in time, or neither.

    Attributes:
        given_up: nothing opens, whatever becomes of the row.
    """

    def __init__(self) -> None:
        self._settled = threading.Event()
        self._lock = threading.Lock()
        self._fault: str | None = None
        self.given_up = False

    @property
    def is_settled(self) -> bool:
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


@dataclass(slots=True)
class QueuedRow:
    """A row on its way to the disk.

    Attributes:
        acknowledgement: of the opening that waits for the row.
        is_refused: the row goes to the disk together with one that says nothing was opened.
    """

    row: Row
    acknowledgement: Acknowledgement | None = None
    is_refused: bool = False


class Backlog:
    """A queue that any thread fills and the writer's thread empties.

    A row stays in it until it is on the disk. Where rows are lost or the wall clock was set, a row
    in that very place says so.

    Args:
        name: of the audit, for messages.
        limits: of the audit.
        stamp: put on each row as it comes.
        clock: tells when the wall clock was set.
    """

    def __init__(self, name: str, limits: AuditLimits, stamp: RowStamp, clock: AuditClock) -> None:
        self._name = name
        self._limits = limits
        self._stamp = stamp
        self._clock = clock
        self._changed = threading.Condition()  # guards what follows
        self._rows: deque[QueuedRow] = deque()
        self._lost = 0
        self._close_by_s: float | None = None
        self._untried: list[Acknowledgement] = []  # of openings whose rows were not tried yet
        self._tried: list[Acknowledgement] = []  # of openings whose turn it is

    def __len__(self) -> int:
        return len(self._rows)

    # ------------------------------------------------------------------------ in any thread

    def put(self, row: Row, acknowledgement: Acknowledgement | None = None) -> bool:
        """Queue a row; False when there is no room for it, or the end has come."""
        with self._changed:
            if self._close_by_s is not None:
                return False
            if len(self._rows) >= self._limits.backlog_rows:
                self._lose()
                return False
            if acknowledgement is not None:
                self._untried.append(acknowledgement)
            self._append(row, acknowledgement)
            self._changed.notify_all()
            return True

    def close(self, last: Row) -> None:
        """Take one more row and no others, for `close_s` at most; may be called twice."""
        with self._changed:
            if self._close_by_s is None:
                self._append(last)
                self._close_by_s = time.monotonic() + self._limits.close_s
            self._changed.notify_all()

    # ---------------------------------------------------------------- in the writer's thread

    def is_over(self) -> bool:
        """Whether the end has come, and everything is written or there is no more time for it."""
        with self._changed:
            if self._close_by_s is None:
                return False
            return not self._rows or time.monotonic() >= self._close_by_s

    def next_batch(self, *, has_failed: bool) -> list[QueuedRow]:
        """Rows to write next, which stay here until `remove_written`; empty when there are none.

        Args:
            has_failed: the last try did; then this waits a while, unless an opening asks.
        """
        with self._changed:
            if has_failed:
                self._pause_after_fault()
            elif not self._clock.is_pruning_due():
                self._changed.wait_for(
                    lambda: self._rows or self._is_closing(), self._limits.idle_s
                )
            self._note_clock_step()
            if len(self._rows) < self._limits.backlog_rows:
                self._note_loss()
            self._tried += self._untried
            self._untried = []
            return list(itertools.islice(self._rows, self._limits.batch_rows))

    def remove_written(self, batch: list[QueuedRow]) -> None:
        """Take the first rows off, for they are on the disk, and tell the openings that wait."""
        with self._changed:
            for _ in batch:
                self._rows.popleft()
            for each in batch:
                waited_for = each.acknowledgement
                is_late = waited_for is not None and not waited_for.settle(None)
                if is_late and not each.is_refused:
                    self._rows.append(QueuedRow(self._stamp(refusal_of(each.row))))

    def put_first(self, row: Row) -> QueuedRow:
        """Queue a row before all others."""
        first = QueuedRow(self._stamp(row))
        with self._changed:
            self._rows.appendleft(first)
        return first

    def put_last(self, row: Row) -> None:
        """Queue a row of the writer's own, whatever waits already."""
        with self._changed:
            self._rows.append(QueuedRow(self._stamp(row)))

    def refuse_openings(self, fault: str) -> None:
        """Tell each opening whose turn it was that its row is not on the disk."""
        with self._changed:
            for acknowledgement in self._tried:
                acknowledgement.settle(fault)
            self._tried = []

    def forget_settled(self) -> None:
        """Forget the openings that no longer wait."""
        with self._changed:
            self._tried = [each for each in self._tried if not each.is_settled]

    def _is_closing(self) -> bool:
        return self._close_by_s is not None

    def _pause_after_fault(self) -> None:
        was_closing = self._is_closing()
        pause_s = self._limits.closing_retry_s if was_closing else self._limits.retry_s
        self._changed.wait_for(
            lambda: self._untried or (self._is_closing() and not was_closing), pause_s
        )

    # ------------------------------------------------------- what the queue says of itself

    def _append(self, row: Row, acknowledgement: Acknowledgement | None = None) -> None:
        self._note_loss()
        self._note_clock_step()
        self._rows.append(QueuedRow(self._stamp(row), acknowledgement))

    def _lose(self) -> None:
        self._lost += 1
        if self._lost == 1:
            waiting = self._limits.backlog_rows
            log.warning("%s: rows are lost, %d wait already", self._name, waiting)

    def _note_loss(self) -> None:
        """Queue an alarm in the place where rows are missing."""
        if self._lost:
            lost, self._lost = self._lost, 0
            self._rows.append(QueuedRow(self._stamp(Row("alarm", detail=f"{lost} rows lost"))))

    def _note_clock_step(self) -> None:
        """Queue a row when the wall clock was set."""
        step_s = self._clock.step_s()
        if step_s is not None:
            detail = f"the wall clock stepped by {step_s:+.3f} s"
            log.warning("%s: %s", self._name, detail)
            self._rows.append(QueuedRow(self._stamp(Row("clock_step", detail=detail))))
