"""Door history: what the audit knows of today and the days before, for a console that begins.

It is read by the console's process, never by the gate's; today newest row first, for a bounded time
and number of rows. What cannot be understood is left out.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import NamedTuple

from mask_gate.gate.audit.chain import COLUMNS
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.recorded_event import recorded_event
from mask_gate.gate.audit.rows import start_detail
from mask_gate.gate.audit.tally import Tally, begin_of, last_days, tally_of
from mask_gate.gate.console.periods import DAYS_KEPT
from mask_gate.gate.events import Event

MOST_ROWS = 20_000
MOST_S = 3.0
"""Of a day that takes longer to read, or has more rows, only the newest ones are known."""

_ROWS_AT_ONCE, _PAUSE_S = 500, 0.01
"""The server in the same process answers in between."""


class RecordedEvent(NamedTuple):
    """An event of the audit.

    Attributes:
        event: as far as the audit has kept it.
        run: of the gate; 0 is the present one, -1 the one before.
    """

    event: Event
    run: int


def read_today(
    path: Path,
    now: datetime,
    gate_pid: int,
    clock: Callable[[], float] = time.monotonic,
    *,
    most_s: float = MOST_S,
    most_rows: int = MOST_ROWS,
) -> list[RecordedEvent]:
    """Today's events, oldest first.

    Args:
        path: the audit.
        now: the time of day where the machine stands.
        gate_pid: process id of the gate, by which the present run is known.
        clock: monotonic seconds.
        most_s: how long it may take.
        most_rows: how many rows may be read.

    Raises:
        OutputError: the audit cannot be read, or not to its end.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    since, end_s = midnight.isoformat(timespec="milliseconds")[:23], clock() + most_s
    starts, is_ours = 0, True  # where no start is met, the present run is older than the day
    found: list[RecordedEvent] = []
    with AuditReader(path) as reader, contextlib.closing(reader.backwards()) as rows:
        for number, sealed in enumerate(rows):
            row = dict(zip(COLUMNS, sealed, strict=True))
            if number >= most_rows or clock() >= end_s or str(row["wall"]) < since:
                break
            if row["kind"] == "start":
                said = str(row["detail"])
                is_ours = is_ours if starts else said.startswith(start_detail(gate_pid))
                starts += 1
            elif row["kind"] == "event":
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    found.append(RecordedEvent(recorded_event(row), -starts))
    earlier = 0 if is_ours else 1
    return [RecordedEvent(event, run - earlier) for event, run in reversed(found)]


def read_past_days(path: Path, today: date, days: int = DAYS_KEPT) -> Tally:
    """What was counted on the days before today; takes its time, for nobody waits for it.

    Raises:
        OutputError: the audit cannot be read, or not to its end.
    """
    first, *_ = last_days(days, today)

    def pause(rows: int) -> None:
        if rows % _ROWS_AT_ONCE == 0:
            time.sleep(_PAUSE_S)

    with (
        AuditReader(path) as reader,
        contextlib.closing(reader.rows(begin_of(first), begin_of(today.isoformat()))) as rows,
    ):
        return tally_of(rows, pause)
