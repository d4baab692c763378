"""RecordTime: the record's own time, by which old rows are deleted; no wrong clock runs it ahead.

It goes on with the clock of the machine that nobody can set. Only for the time in which the machine
was off does it believe the wall clock, and that not for long. `start` rows, and a `clock` row each
day, say what time it is by the record; these are the places at which old rows may end.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from mask_gate.gate.audit.chain import Row, Tip, Value
from mask_gate.gate.audit.clock import AuditClock, iso_time

MOST_OFF_S = 4 * 86400.0
"""A machine that was off for longer has its rows kept for so much longer."""

SET_WITHIN_S = 3600.0
"""A machine without a clock of its own gets the time from the network this soon after it booted."""

NOTE_EVERY_S = 86400.0

TIMED_KINDS = ("start", "clock")

_TIME = r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)"
_NOTE = re.compile(rf"by the record it is {_TIME}, rows are kept for ([0-9.e+]+) days")
_PRUNED = re.compile(
    rf"(\d{{1,18}}) rows up to (\d{{1,18}}) are older than {_TIME}; {_NOTE.pattern}"
)


class TimeNote(NamedTuple):
    """What a row says of the record's time.

    Attributes:
        time: as `Row.wall`.
        keep_days: rows are kept for so long.
    """

    time: str
    keep_days: float

    def __str__(self) -> str:
        return f"by the record it is {self.time}, rows are kept for {self.keep_days:g} days"


class Pruning(NamedTuple):
    """What a `pruned` row says.

    Attributes:
        rows: so many were deleted.
        last_seq: of the last one.
        before: they are older than this time of the record.
        note: when, and how long rows are kept.
    """

    rows: int
    last_seq: int
    before: str
    note: TimeNote

    def __str__(self) -> str:
        said = f"{self.rows} rows up to {self.last_seq} are older than {self.before}"
        return f"{said}; {self.note}"


class LastRows(NamedTuple):
    """The end of a file, as far as it tells of time.

    Attributes:
        time_s: of the record, at the last row that said so.
        mono_s: of that row.
        boot_id: of that row.
        end_wall: of the last row of all.
        end_mono_s: of that row.
        end_boot_id: of that row.
    """

    time_s: float
    mono_s: float
    boot_id: str
    end_wall: str
    end_mono_s: float
    end_boot_id: str


def read_note(kind: Value, detail: Value) -> TimeNote | None:
    """What a row says of the record's time; None where it is not one that does."""
    if kind not in TIMED_KINDS or (match := _NOTE.search(str(detail))) is None:
        return None
    return TimeNote(match[1], float(match[2]))


def read_pruning(detail: Value) -> Pruning | None:
    """What a `pruned` row says; None where it is none of ours."""
    match = _PRUNED.fullmatch(str(detail))
    if match is None:
        return None
    return Pruning(int(match[1]), int(match[2]), match[3], TimeNote(match[4], float(match[5])))


def seconds(time: str) -> float:
    """A time as in `Row.wall`, since 1970.

    Raises:
        ValueError: it is no time.
    """
    return datetime.fromisoformat(time).timestamp()


class RecordTime:
    """Tells what time it is by the record; used by the writer's thread alone.

    Args:
        clock: of the audit.
        boot_id: of the machine, now.
        keep_days: older rows are deleted.
    """

    def __init__(self, clock: AuditClock, boot_id: str, keep_days: float) -> None:
        self._clock = clock
        self._boot_id = boot_id
        self._keep_days = keep_days
        self._time_s = 0.0
        self._mono_s = 0.0  # at `_time_s`
        self._credit_s = 0.0  # the machine may have been off for so long
        self._noted_s: float | None = None  # on the machine's clock

    @property
    def is_note_due(self) -> bool:
        """Whether a row must say again what time it is."""
        return self._noted_s is not None and self._clock.mono_s() - self._noted_s >= NOTE_EVERY_S

    def begin(self, last: LastRows | None) -> float | None:
        """Go on where a file ends; None for a new file.

        Returns:
            By how much the wall clock was set since then, where that is known.
        """
        mono_s, wall_s = self._clock.mono_s(), self._clock.wall().timestamp()
        self._noted_s = mono_s
        if last is None:
            self._time_s, self._mono_s = wall_s, mono_s
            return None
        if last.boot_id == self._boot_id and last.mono_s <= mono_s:
            self._time_s, self._mono_s = last.time_s, last.mono_s
        else:
            ran_on = last.end_boot_id == last.boot_id
            self._time_s = last.time_s + (max(last.end_mono_s - last.mono_s, 0) if ran_on else 0)
            self._mono_s = 0.0  # when the machine booted
            self._credit_s = MOST_OFF_S
            self._go_on()
            self._take_credit()
        if last.end_boot_id != self._boot_id or last.end_mono_s > mono_s:
            return None
        return wall_s - seconds(last.end_wall) - (mono_s - last.end_mono_s)

    def note(self, mono_s: float | None = None) -> TimeNote:
        """What it is by the record: now, or when the machine's clock showed this."""
        self._go_on()
        if self._mono_s < SET_WITHIN_S:
            self._take_credit()
        since_s = 0.0 if mono_s is None else self._mono_s - mono_s
        return TimeNote(_iso(self._time_s - since_s), self._keep_days)

    def clock_row(self) -> Row:
        """The row that says once more what time it is."""
        self._noted_s = self._clock.mono_s()
        return Row("clock", detail=str(self.note()))

    def oldest_kept(self) -> str:
        """Rows from before this time of the record are deleted."""
        return _iso(seconds(self.note().time) - 86400.0 * self._keep_days)

    def pruned_row(self, rows: int, last: Tip, before: str) -> Row:
        """The row that must be written before rows up to `last` are deleted."""
        said = Pruning(rows, last.seq, before, self.note())
        return Row("pruned", detail=str(said), anchor_seq=last.seq, anchor_hash=last.hash)

    def _go_on(self) -> None:
        mono_s = max(self._clock.mono_s(), self._mono_s)
        self._time_s, self._mono_s = self._time_s + mono_s - self._mono_s, mono_s

    def _take_credit(self) -> None:
        ahead_s = self._clock.wall().timestamp() - self._time_s
        taken_s = min(max(ahead_s, 0.0), self._credit_s)
        self._time_s, self._credit_s = self._time_s + taken_s, self._credit_s - taken_s


def _iso(time_s: float) -> str:
    return iso_time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=time_s))
