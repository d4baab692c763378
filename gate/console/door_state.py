"""DoorState: what the console knows of one door, from its events and its word of the moment."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from mask_gate.gate.clock import Clock
from mask_gate.gate.domain import DENIALS, FAULTS, Reason, State
from mask_gate.gate.events import Event
from mask_gate.models.labels import CLASS_NAMES

EVENTS_KEPT = 5000
FRESH_S = 2.0
"""What was last heard of a gate that has been silent for longer is not to be believed."""

BUCKETS_S = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 1.0)

PARTS: Mapping[str, frozenset[Reason]] = {
    "camera": frozenset({Reason.CAMERA_LOST, Reason.FROZEN, Reason.BAD_IMAGE}),
    "model": frozenset({Reason.MODEL_FAULT}),
    "relay": frozenset({Reason.OUTPUT_FAULT}),
    "audit": frozenset({Reason.AUDIT_UNAVAILABLE}),
}
"""By which reasons each part of the gate is out of order."""

_UNTOLD = frozenset({Reason.STARTING, Reason.STOPPING})
_MET_KEPT = 5000
_RATE_S = 5.0


def local_now() -> datetime:
    """The time of day where the machine stands."""
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are asked for; empty is all.

    Attributes:
        since: earliest local time, ISO 8601.
        until: latest local time.
    """

    since: str = ""
    until: str = ""
    type: str = ""
    state: str = ""
    reason: str = ""

    def lets_pass(self, event: Event) -> bool:
        """Whether an event is among them."""
        moment = local_time(event)
        return (
            (not self.since or moment >= self.since)
            and (not self.until or moment <= self.until)
            and all(
                not wanted or event.get(key) == wanted
                for key, wanted in (
                    ("type", self.type),
                    ("state", self.state),
                    ("reason", self.reason),
                )
            )
        )


def local_time(event: Event) -> str:
    """When it happened, as a clock on the wall shows it."""
    moment = datetime.fromisoformat(str(event["ts"])).astimezone()
    return moment.replace(tzinfo=None).isoformat(timespec="seconds")


class DoorState:
    """Everything the pages show; used by the reader's thread and the server's.

    Args:
        clock: monotonic seconds.
        wall: the time of day, for what is today.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        wall: Callable[[], datetime] = local_now,
    ) -> None:
        self._clock = clock
        self._wall = wall
        self.began_s = clock()
        self.began = wall()
        self.state, self.reason = State.IDLE, Reason.STARTING
        self.is_open = False
        self.faces = 0
        self.health = dict.fromkeys(PARTS, "unknown")
        self.signals: Counter[tuple[str, str]] = Counter()  # kind, reason
        self.people: Counter[str] = Counter()  # by class, since the start
        self.frames = 0
        self.latency_sum_s = 0.0
        self.latency_buckets = [0] * (len(BUCKETS_S) + 1)
        self._recent_s: deque[float] = deque(maxlen=100)
        self._rates: deque[tuple[float, int]] = deque()
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._today: Counter[tuple[str, int, str]] = Counter()  # date, hour, class
        self._acts_today: Counter[tuple[str, str]] = Counter()  # date, what the door did
        self._met, self._met_today = _Met(), _Met()
        self._recalled: set[object] = set()
        self._heard_s = -FRESH_S
        self._age_s = math.inf  # of the loop's newest turn, when that was heard

    @property
    def is_fresh(self) -> bool:
        """Whether the gate's loop has been heard of a moment ago."""
        return self._age_s + self._clock() - self._heard_s < FRESH_S

    @property
    def is_starting(self) -> bool:
        """Whether the gate is heard of, and its loop has not turned yet."""
        is_heard = self._clock() - self._heard_s < FRESH_S
        return is_heard and self.reason is Reason.STARTING and self._age_s == math.inf

    @property
    def is_well(self) -> bool:
        """Whether the gate does its work."""
        return self.is_fresh and self.state is not State.FAULT

    @property
    def uptime_s(self) -> float:
        """Seconds since the console began."""
        return self._clock() - self.began_s

    @property
    def fps(self) -> float:
        """Frames per second, lately."""
        if len(self._rates) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._rates[0], self._rates[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    @property
    def latency_ms(self) -> float:
        """Median of the newest latencies."""
        recent = sorted(self._recent_s)
        return 1000 * recent[len(recent) // 2] if recent else 0.0

    def take(self, event: Event) -> None:
        """Take in an event."""
        self._remember(event, run=0)
        self._decided(event.get("state"), event.get("reason"))
        self.is_open = event.get("door") == "open"
        if event.get("type") == "signal":
            self.signals[str(event.get("signal")), str(event.get("reason"))] += 1
        for track, label in _seen(event):
            self.people[label] += self._met.is_new((track, label))

    def recall(self, event: Event, run: int) -> None:
        """Take in an event of today from the audit; before all others, in order.

        What has been counted since the start is left alone, as is the state of the moment.

        Args:
            event: as the audit has kept it.
            run: of the gate; 0 is the present one, and tracks are told apart by it.
        """
        self._remember(event, run)
        self._recalled.add(event.get("id"))

    def hear(self, status: Mapping[str, object]) -> None:
        """Take in the gate's word of the moment (`gate.console.process` has its form)."""
        now_s = self._clock()
        age_s = status.get("age_s")
        self._heard_s, self._age_s = now_s, math.inf if age_s is None else _number(age_s)
        self.frames = int(_number(status.get("frames")))
        self._rates.append((now_s, self.frames))
        while now_s - self._rates[0][0] > _RATE_S:
            self._rates.popleft()
        latencies = status.get("latencies_s")
        for latency_s in latencies if isinstance(latencies, list) else []:
            self._recent_s.append(latency_s)
            self.latency_sum_s += latency_s
            self.latency_buckets[bisect_left(BUCKETS_S, latency_s)] += 1
        self.faces = int(_number(status.get("faces")))
        if status.get("state") is not None:
            self._decided(status["state"], status.get("reason"))

    def events(self, wanted: Filter | None = None) -> Iterator[Event]:
        """Events, newest first."""
        every = list(self._events)
        return (e for e in reversed(every) if wanted is None or wanted.lets_pass(e))

    def people_by_hour(self) -> dict[str, list[int]]:
        """How many were seen today, for each class and hour of the day."""
        today = self._wall().date().isoformat()
        counted = dict(self._today)
        return {
            label: [counted.get((today, hour, label), 0) for hour in range(24)]
            for label in CLASS_NAMES
        }

    @property
    def people_today(self) -> dict[str, int]:
        """How many were seen today, for each class."""
        return {label: sum(hours) for label, hours in self.people_by_hour().items()}

    @property
    def openings_today(self) -> int:
        """How often the door was opened today."""
        return self._acts_today[self._wall().date().isoformat(), "opening"]

    @property
    def denials_today(self) -> int:
        """How often somebody was turned away today."""
        return self._acts_today[self._wall().date().isoformat(), "denial"]

    @property
    def openings(self) -> int:
        """How often the door was opened, since the start."""
        return sum(n for (kind, _), n in list(self.signals.items()) if kind == "allow")

    @property
    def denials(self) -> int:
        """How often somebody was turned away, since the start."""
        return sum(n for (_, reason), n in list(self.signals.items()) if reason in DENIALS)

    def _decided(self, state: object, reason: object) -> None:
        self.state, self.reason = State(str(state)), Reason(str(reason))
        for part, faults in PARTS.items():
            if self.reason in faults:
                self.health[part] = "problem"
            elif self.reason not in FAULTS | _UNTOLD:
                self.health[part] = "ok"

    def _remember(self, event: Event, run: int) -> None:
        """Keep an event, and count it for its day, unless it has come from the audit already."""
        if event.get("id") in self._recalled:
            return
        self._events.append(event)
        moment = local_time(event)
        date, hour = moment[:10], int(moment[11:13])
        if event.get("signal") == "allow":
            self._acts_today[date, "opening"] += 1
        elif event.get("signal") == "deny" and event.get("reason") in DENIALS:
            self._acts_today[date, "denial"] += 1
        for track, label in _seen(event):
            self._today[date, hour, label] += self._met_today.is_new((run, track, label))


class _Met:
    """Who has been counted: each track once in each class that most of its votes have been for."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, None] = OrderedDict()

    def is_new(self, who: object) -> bool:
        """Whether somebody has not been counted; from now on, he has."""
        if who in self._kept:
            return False
        self._kept[who] = None
        while len(self._kept) > _MET_KEPT:
            self._kept.popitem(last=False)
        return True


def _seen(event: Event) -> Iterator[tuple[object, str]]:
    """Each track that votes were cast for, with what most were for."""
    tracks = event.get("tracks")
    for track in tracks if isinstance(tracks, list) else []:
        if votes := track.get("votes"):
            yield track.get("id"), max(votes, key=lambda label: votes[label])


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
