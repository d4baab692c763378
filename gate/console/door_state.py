"""DoorState: what the console knows of one door, from its events and its status."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime

from mask_gate.gate.console.counts import DayCounts, TotalCounts
from mask_gate.gate.console.live_status import LiveStatus
from mask_gate.gate.console.recent_events import RecentEvents
from mask_gate.gate.events import Event


def local_now() -> datetime:
    """The time of day where the machine stands."""
    return datetime.now().astimezone()


class DoorState:
    """Everything the pages show of a door; used by the reader's thread and the server's.

    Args:
        clock: monotonic seconds.
        wall: the time of day, which decides what is today.

    Attributes:
        live: how it is now.
        today: what was counted today, and on the days before.
        totals: what was counted since the console began.
        events: the newest ones.
        lockdown: the guard on whose word the door is locked down, and why; None while it is not.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], datetime] = local_now,
    ) -> None:
        self._clock = clock
        self._began_s = clock()
        self.live = LiveStatus(clock)
        self.today = DayCounts(wall)
        self.totals = TotalCounts()
        self.events = RecentEvents()
        self.lockdown: str | None = None

    @property
    def uptime_s(self) -> float:
        """Seconds since the console began."""
        return self._clock() - self._began_s

    def take_event(self, event: Event) -> None:
        """Take in an event of the gate that runs."""
        if self.events.add(event):
            self.today.add(event)
        self.totals.add(event)
        self.live.decide(event.get("state"), event.get("reason"), is_slow="slow" in event)
        self.live.is_open = event.get("door") == "open"

    def take_recorded_event(self, event: Event, run: int) -> None:
        """Take in an event of today from the audit; before all others, in order.

        It changes neither the totals nor the state of the moment.

        Args:
            event: as the audit has kept it.
            run: of the gate; 0 is the present one, and tracks are told apart by it.
        """
        self.events.add_from_audit(event)
        self.today.add(event, run)

    def take_status(self, status: Mapping[str, object]) -> None:
        """Take in the status that `gate.console.feed` gives."""
        age_s, latencies_s = status.get("age_s"), status.get("latencies_s")
        self.live.update(
            age_s=None if age_s is None else _number(age_s),
            frames=int(_number(status.get("frames"))),
            faces=int(_number(status.get("faces"))),
        )
        if isinstance(latencies_s, list):
            self.live.add_latencies(latencies_s)
            self.totals.add_latencies(latencies_s)
        lockdown = status.get("lockdown")
        self.lockdown = ": ".join(map(str, lockdown)) if isinstance(lockdown, list) else None
        if status.get("state") is not None:
            is_slow = status.get("slow") is True
            self.live.decide(status["state"], status.get("reason"), is_slow=is_slow)


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
