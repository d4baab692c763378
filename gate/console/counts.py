"""Counts of one door: those by the clock on the wall, and those since the start."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import date, datetime

from mask_gate.gate.audit.tally import HOURS, DayCount, Tally
from mask_gate.gate.events import Event
from mask_gate.gate.people_count import PeopleCounter

LATENCY_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0)
"""Upper bounds of the histogram of latencies; a last bucket has no bound."""


class DayCounts:
    """What was counted on each day, the runs of the gate before this one included.

    Args:
        wall: the time of day, which decides what is today.
    """

    def __init__(self, wall: Callable[[], datetime]) -> None:
        self._wall = wall
        self._tally = Tally()

    def add(self, event: Event, run: int = 0) -> None:
        """Count an event.

        Args:
            event: which has not been counted before.
            run: of the gate; 0 is the present one, and tracks are told apart by it.
        """
        self._tally.add(event, run)

    def take_past_days(self, tally: Tally) -> None:
        """Take over what was counted on the days before."""
        self._tally.take_days(tally)

    @property
    def today(self) -> date:
        """The day that it is."""
        return self._wall().date()

    @property
    def openings(self) -> int:
        """How often the door was opened today."""
        return self.day().openings

    @property
    def denials(self) -> int:
        """How often somebody was turned away today."""
        return self.day().denials

    @property
    def people(self) -> dict[str, int]:
        """How many people were seen today, for each class."""
        return self.day().people()

    def people_by_hour(self) -> list[dict[str, int]]:
        """How many people were seen in each hour of today, for each class."""
        return [self.day().people([hour]) for hour in HOURS]

    def day(self, day: str | None = None) -> DayCount:
        """What was counted on a day, today unless one is given."""
        return self._tally.day(day or self.today.isoformat())


class TotalCounts:
    """What was counted since the console began, for metrics.

    Attributes:
        signals: how many there were of each kind and reason.
        people: how many were seen, by class.
        latency_sum_s: of all frames.
        latency_buckets: how many frames there were in each of `LATENCY_BUCKETS_S`, and beyond.
    """

    def __init__(self) -> None:
        self.signals: Counter[tuple[str, str]] = Counter()
        self.people: Counter[str] = Counter()
        self.latency_sum_s = 0.0
        self.latency_buckets = [0] * (len(LATENCY_BUCKETS_S) + 1)
        self._counter = PeopleCounter()

    def add(self, event: Event) -> None:
        """Count an event."""
        if event.get("type") == "signal":
            self.signals[str(event.get("signal")), str(event.get("reason"))] += 1
        self.people.update(self._counter.new_labels(event))

    def add_latencies(self, latencies_s: Iterable[float]) -> None:
        """Count frames by the time from the picture to the decision."""
        for latency_s in latencies_s:
            self.latency_sum_s += latency_s
            self.latency_buckets[bisect_left(LATENCY_BUCKETS_S, latency_s)] += 1

    @property
    def openings(self) -> int:
        """How often the door was opened."""
        return sum(count for (kind, _), count in list(self.signals.items()) if kind == "allow")
