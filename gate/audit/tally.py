"""Tally: what happened at one door, counted for each day by the clock on the wall."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta

from mask_gate.gate.audit.chain import COLUMNS, Value
from mask_gate.gate.audit.recorded_event import recorded_event
from mask_gate.gate.domain import DENIALS, Reason
from mask_gate.gate.events import Event
from mask_gate.gate.people_count import PeopleCounter
from mask_gate.models.labels import CLASS_NAMES

HOURS = range(24)


class DayCount:
    """What was counted on one day.

    Attributes:
        openings: of the door.
        denials: how often somebody was turned away.
        faults: how often the gate was found out of order.
        reasons: of denials and faults, how often each was.
    """

    def __init__(self) -> None:
        self.openings = 0
        self.denials = 0
        self.faults = 0
        self.reasons: Counter[Reason] = Counter()
        self._people: Counter[tuple[int, str]] = Counter()  # hour, class

    def add_person(self, hour: int, label: str) -> None:
        """Count somebody."""
        self._people[hour, label] += 1

    def people(self, hours: Iterable[int] = HOURS) -> dict[str, int]:
        """How many people were seen in these hours, for each class."""
        hours = tuple(hours)
        return {label: sum(self._people[hour, label] for hour in hours) for label in CLASS_NAMES}


class Tally:
    """Counts events by day; each person once in each class that most votes were for."""

    def __init__(self) -> None:
        self._days: dict[str, DayCount] = {}
        self._counter = PeopleCounter()

    def add(self, event: Event, run: int = 0) -> None:
        """Count an event.

        Args:
            event: which has not been counted before.
            run: of the gate; tracks are told apart by it.
        """
        time = datetime.fromisoformat(str(event["ts"])).astimezone()
        day = self._days.setdefault(time.date().isoformat(), DayCount())
        day.openings += event.get("signal") == "allow"
        reason = event.get("reason")
        is_denial = event.get("signal") == "deny" and reason in DENIALS
        is_fault = event.get("type") == "fault"
        day.denials += is_denial
        day.faults += is_fault
        if is_denial or is_fault:
            day.reasons[Reason(str(reason))] += 1
        for label in self._counter.new_labels(event, run):
            day.add_person(time.hour, label)

    def day(self, day: str) -> DayCount:
        """What was counted on a day, such as `2026-05-01`."""
        return self._days.get(day) or DayCount()

    def take_days(self, other: Tally) -> None:
        """Take over the days that another one has counted and this one has not."""
        self._days = {**other._days, **self._days}


def tally_of(
    rows: Iterable[Sequence[Value]], pause: Callable[[int], None] = lambda rows: None
) -> Tally:
    """Count what rows of the audit tell.

    Args:
        rows: one value for each of `COLUMNS`, in the order of the chain.
        pause: is told the number of rows so far; may take its time.
    """
    tally, run = Tally(), 0
    for number, sealed in enumerate(rows):
        row = dict(zip(COLUMNS, sealed, strict=True))
        run += row["kind"] == "start"
        if row["kind"] == "event":
            with contextlib.suppress(ValueError, TypeError, KeyError):
                tally.add(recorded_event(row), run)
        pause(number)
    return tally


def last_days(count: int, today: date) -> Iterator[str]:
    """So many days, the last of which is today."""
    for back in range(count - 1, -1, -1):
        yield (today - timedelta(days=back)).isoformat()


def begin_of(day: str) -> str:
    """When a day begins here, as `Row.wall` says it."""
    midnight = datetime.fromisoformat(day).astimezone().astimezone(UTC)
    return midnight.isoformat(timespec="milliseconds").replace("+00:00", "Z")
