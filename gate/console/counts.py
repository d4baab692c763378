"""Counts of one door: those of today by the clock on the wall, and those since the start."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime

from mask_gate.gate.console.recent_events import local_time
from mask_gate.gate.domain import DENIALS
from mask_gate.gate.events import Event
from mask_gate.gate.people_count import PeopleCounter
from mask_gate.models.labels import CLASS_NAMES

LATENCY_BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0)
"""Upper bounds of the histogram of latencies; a last bucket has no bound."""


class TodayCounts:
    """What was counted today, the runs of the gate before this one included.

    Args:
        wall: the time of day, which decides what is today.
    """

    def __init__(self, wall: Callable[[], datetime]) -> None:
        self._wall = wall
        self._people: Counter[tuple[str, int, str]] = Counter()  # date, hour, class
        self._openings: Counter[str] = Counter()  # date
        self._denials: Counter[str] = Counter()  # date
        self._counter = PeopleCounter()

    def add(self, event: Event, run: int = 0) -> None:
        """Count an event.

        Args:
            event: which has not been counted before.
            run: of the gate; 0 is the present one, and tracks are told apart by it.
        """
        time = local_time(event)
        date, hour = time[:10], int(time[11:13])
        self._openings[date] += event.get("signal") == "allow"
        self._denials[date] += event.get("signal") == "deny" and event.get("reason") in DENIALS
        for label in self._counter.new_labels(event, run):
            self._people[date, hour, label] += 1

    @property
    def openings(self) -> int:
        """How often the door was opened."""
        return self._openings[self._date()]

    @property
    def denials(self) -> int:
        """How often somebody was turned away."""
        return self._denials[self._date()]

    @property
    def people(self) -> dict[str, int]:
        """How many people were seen, for each class."""
        return {label: sum(hours) for label, hours in self.people_by_hour().items()}

    def people_by_hour(self) -> dict[str, list[int]]:
        """How many people were seen, for each class and hour of the day."""
        date, people = self._date(), dict(self._people)
        return {
            label: [people.get((date, hour, label), 0) for hour in range(24)]
            for label in CLASS_NAMES
        }

    def _date(self) -> str:
        return self._wall().date().isoformat()


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
