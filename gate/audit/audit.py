"""Audit: every decision and opening as a row on the disk; an opening's row before the door moves.

A thread of its own writes; only `intend` waits for it, and not for long.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from mask_gate.gate.audit.backlog import Acknowledgement, Backlog
from mask_gate.gate.audit.chain import Row, Tip
from mask_gate.gate.audit.clock import AuditClock
from mask_gate.gate.audit.limits import AuditLimits
from mask_gate.gate.audit.record_time import RecordTime
from mask_gate.gate.audit.rows import detail, guard_row, printable, row_of_event, start_detail
from mask_gate.gate.audit.stamp import RowStamp, boot_id
from mask_gate.gate.audit.store import AuditStore, Connect
from mask_gate.gate.audit.writer import AuditWriter
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Signal
from mask_gate.gate.errors import AuditError
from mask_gate.gate.events import Event, utc_now
from mask_gate.gate.guard_order import GuardAct, GuardWord
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)


class Audit:
    """The audit of one gate.

    Construction touches no disk and never fails; a file that cannot be used is tried again for
    ever, `check` tells of it, and nothing is lost before `limits.backlog_rows` wait.

    Args:
        path: the file, see `gate.audit.config`.
        gate: name of the door.
        clock: seconds since the machine booted, asleep or awake.
        wall: the time of day; it is recorded, and decides nothing (see `gate.audit.record_time`).
        wait_s: how long an opening waits for its row.
        keep_days: rows that are older by the time of the record are deleted.
        config: fingerprint of the configuration, for every row.
        limits: how many rows wait, and for how long.
        connect: `sqlite3.connect`, or what a test puts in its place.

    Attributes:
        stamp: what each row says of model and configuration.
    """

    def __init__(
        self,
        path: Path,
        gate: str,
        *,
        clock: Clock = uptime_s,
        wall: Callable[[], datetime] = utc_now,
        wait_s: float = 0.25,
        keep_days: float = 365.0,
        config: str | None = None,
        limits: AuditLimits | None = None,
        connect: Connect = sqlite3.connect,
    ) -> None:
        self.path = path
        self._name = f"audit {printable(str(path))}"
        self._limits = limits or AuditLimits()
        self._wait_s = wait_s
        clocks = AuditClock(clock, wall, self._limits)
        self.stamp = RowStamp(gate, clocks, config)
        self._backlog = Backlog(self._name, self._limits, self.stamp, clocks)
        store = AuditStore(path, busy_s=wait_s / 2, wall=wall, connect=connect)
        record_time = RecordTime(clocks, boot_id(), keep_days)
        self._writer = AuditWriter(
            self._name, store, self._backlog, self.stamp, clocks, record_time
        )
        self._backlog.put(Row("start", detail=start_detail(os.getpid())))
        self._thread = DoorThread(target=self._writer.run, name="audit")
        self._thread.start()

    @property
    def fault(self) -> str | None:
        """Why nothing can be written now; None when nothing is known to be wrong."""
        return self._writer.fault or None

    @property
    def tip(self) -> Tip | None:
        """Number and hash of the last row on the disk: an anchor, to be kept somewhere else."""
        return self._writer.tip

    def check(self, wait_s: float) -> None:
        """Wait until the first row is on the disk; for the start of the gate.

        Raises:
            AuditError: it cannot be written, or not within `wait_s`.
        """
        if not self._writer.wait_for_first_row(wait_s):
            raise self._error(self._writer.fault or f"not written within {wait_s:g} s")

    def intend(self, signal: Signal, event: Event) -> None:
        """Record an opening before anything hears of it; returns when the row is on the disk.

        Raises:
            AuditError: the row is not there, or was not in time; nothing may open.
        """
        acknowledgement = Acknowledgement()
        row = replace(
            row_of_event(event, "intent"),
            signal_id=printable(signal.id),
            decision=signal.kind.value,
            reason=signal.reason.value,
        )
        if not self._backlog.put(row, acknowledgement):
            raise self._error("no more rows are taken")
        fault = acknowledgement.wait(self._wait_s)
        if fault is not None:
            raise self._error(fault or f"no row on the disk within {self._wait_s:g} s")

    def write(self, event: Event) -> None:
        """Take an event; returns at once."""
        self._backlog.put(row_of_event(event))

    def result(self, signal_id: str, relay: str, outcome: str) -> None:
        """Take what a relay did upon a signal; returns at once."""
        self._backlog.put(
            Row(
                "result",
                signal_id=printable(signal_id),
                relay=printable(relay),
                outcome=printable(outcome),
            )
        )

    def guard(self, act: GuardAct, word: GuardWord) -> None:
        """Take what a guard began or ended by hand; returns at once."""
        self._backlog.put(guard_row(act, word))

    def alarm(self, what: str) -> None:
        """Take something that somebody must look into; returns at once."""
        self._backlog.put(Row("alarm", detail=detail(what)))

    def close(self) -> None:
        """Write what is left, for `limits.close_s` at most; may be called twice."""
        self._backlog.close(Row("stop"))
        self._thread.join(self._limits.close_s + self._limits.closing_retry_s)
        if left := len(self._backlog):
            log.error("%s: %d rows could not be written before the end", self._name, left)

    def _error(self, what: str) -> AuditError:
        return AuditError(f"{self._name}: {what}")
