"""AuditWriter: takes rows from the backlog to the disk, in a thread of its own."""

from __future__ import annotations

import logging
import sqlite3
import threading
from dataclasses import replace

from mask_gate.gate.audit.backlog import Backlog, QueuedRow
from mask_gate.gate.audit.chain import Row, Tip
from mask_gate.gate.audit.clock import AuditClock
from mask_gate.gate.audit.record_time import RecordTime
from mask_gate.gate.audit.rows import detail, printable, refusal_of
from mask_gate.gate.audit.stamp import RowStamp
from mask_gate.gate.audit.store import AuditStore
from mask_gate.gate.errors import OutputError

log = logging.getLogger(__name__)


class AuditWriter:
    """Writes what waits, whatever happens to the disk; `run` is the body of its thread.

    Args:
        name: of the audit, for messages.
        store: the file.
        backlog: what waits.
        stamp: for rows of its own.
        clock: tells when to look for old rows.
        time: of the record, which tells how old they are.
    """

    def __init__(
        self,
        name: str,
        store: AuditStore,
        backlog: Backlog,
        stamp: RowStamp,
        clock: AuditClock,
        time: RecordTime,
    ) -> None:
        self._name = name
        self._store = store
        self._backlog = backlog
        self._stamp = stamp
        self._clock = clock
        self._time = time
        self._has_begun = False
        self._unsure: list[QueuedRow] = []  # tried last; perhaps on the disk in spite of a fault
        self._fault_since_s = 0.0
        self._changed = threading.Condition()  # guards what follows
        self._fault = ""
        self._has_written = False

    @property
    def fault(self) -> str:
        """Why nothing can be written now; empty when nothing is known to be wrong."""
        return self._fault

    @property
    def tip(self) -> Tip | None:
        """Number and hash of the last row on the disk."""
        return self._store.tip

    def wait_for_first_row(self, wait_s: float) -> bool:
        """Wait until a row is on the disk, or it is known why none is; whether one is."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_written or self._fault, wait_s)
            return self._has_written

    def run(self) -> None:
        """Write until the backlog is over."""
        while not self._backlog.is_over():
            try:
                self._step()
            except OutputError as error:
                self._fail(str(error))
            except (sqlite3.Error, OSError) as error:
                why = getattr(error, "strerror", None) or str(error)
                self._fail(f"{why}; see that the disk is there and has room")
            except Exception as error:  # whatever it is, the next try may go well
                if not self._fault:
                    log.exception("%s: not foreseen", self._name)
                self._fail(f"{type(error).__name__}: {error}")
        self._store.close()

    def _step(self) -> None:
        """Write what waits, or what there is to do beside it."""
        batch = self._backlog.next_batch(has_failed=bool(self._fault))
        if not self._store.is_open:
            batch = self._open(batch)
        if batch:
            self._commit(batch)
        if self._time.is_note_due:
            self._backlog.put_last(self._time.clock_row())
        if self._clock.is_pruning_due():
            self._prune()
        self._recover()

    def _open(self, batch: list[QueuedRow]) -> list[QueuedRow]:
        """Open the file; what is left to write of the batch, after what the file has to say."""
        alarm = self._store.open()
        if self._unsure and self._store.took_failed_batch():
            self._backlog.remove_written(self._unsure)
            batch = batch[len(self._unsure) :]
        self._unsure = []
        if not self._has_begun:
            self._begin(batch)
        if alarm is None:
            return batch
        first = self._backlog.put_first(replace(alarm, detail=detail(alarm.detail or "")))
        return [first, *batch]

    def _begin(self, batch: list[QueuedRow]) -> None:
        """Go on with the time of the record, and say what it is in the first row of this run."""
        step_s = self._time.begin(self._store.last_rows())
        self._has_begun = True
        for each in batch:
            if each.row.kind == "start":
                note = self._time.note(each.row.mono_s)
                each.row = replace(each.row, detail=f"{each.row.detail} {note}")
        if step_s is not None and self._clock.is_step(step_s):
            said = f"the wall clock stepped by {step_s:+.3f} s while no gate ran"
            self._backlog.put_last(Row("clock_step", detail=said))
            log.warning("%s: %s", self._name, said)

    def _commit(self, batch: list[QueuedRow]) -> None:
        rows = []
        for each in batch:
            rows.append(each.row)
            if each.acknowledgement is not None and each.acknowledgement.given_up:
                rows.append(self._stamp(refusal_of(each.row)))
                each.is_refused = True
        self._unsure = batch
        self._store.append(rows)
        self._unsure = []
        self._backlog.remove_written(batch)

    def _prune(self) -> None:
        """Delete some old rows; whatever is left comes with the next step."""

        def note(count: int, last: Tip, before: str) -> Row:
            return self._stamp(self._time.pruned_row(count, last, before))

        if not self._store.prune(self._time.oldest_kept(), note):
            self._clock.postpone_pruning()

    def _fail(self, why: str) -> None:
        """Note that the disk refuses, and say so once."""
        why = printable(why)
        is_first = not self._fault
        if is_first:
            self._fault_since_s = self._clock.times()[1]
        with self._changed:
            self._fault = why
            self._changed.notify_all()
        self._backlog.refuse_openings(why)
        if is_first:
            log.error("%s: nothing can be recorded: %s", self._name, why)

    def _recover(self) -> None:
        """Note that the disk takes rows, and say so when it had not."""
        if self._fault:
            for_s = self._clock.times()[1] - self._fault_since_s
            said = f"nothing could be written for {for_s:.1f} s ({self._fault})"
            self._backlog.put_last(Row("alarm", detail=said))
            log.warning("%s: rows are written again", self._name)
        self._backlog.forget_settled()
        with self._changed:  # last: whoever sees that all is well again comes after the alarm
            self._fault, self._has_written = "", True
            self._changed.notify_all()
