"""RecentEvents: the newest events of one door, and which of them a page asks for."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mask_gate.gate.events import Event

EVENTS_KEPT = 5000


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for; an empty text means all.

    Attributes:
        since: earliest local time, ISO 8601.
        until: latest local time.
    """

    since: str = ""
    until: str = ""
    type: str = ""
    state: str = ""
    reason: str = ""

    def passes(self, event: Event) -> bool:
        """Whether an event is among those asked for."""
        time = local_time(event)
        return (
            (not self.since or time >= self.since)
            and (not self.until or time <= self.until)
            and self.type in ("", event.get("type"))
            and self.state in ("", event.get("state"))
            and self.reason in ("", event.get("reason"))
        )


def local_time(event: Event) -> str:
    """When an event happened, as a clock on the wall shows it, ISO 8601."""
    time = datetime.fromisoformat(str(event["ts"])).astimezone()
    return time.replace(tzinfo=None).isoformat(timespec="seconds")


class RecentEvents:
    """Keeps events in the order in which they came; the oldest are forgotten first."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._from_audit: set[object] = set()  # ids

    def add(self, event: Event) -> bool:
        """Keep an event; False if it is known already, since it was read from the audit."""
        if event.get("id") in self._from_audit:
            return False
        self._events.append(event)
        return True

    def add_from_audit(self, event: Event) -> None:
        """Keep an event of the audit, which the gate may yet send too."""
        self._events.append(event)
        self._from_audit.add(event.get("id"))

    def newest_first(self, wanted: EventFilter = EventFilter()) -> Iterator[Event]:
        """The events that pass a filter."""
        return filter(wanted.passes, reversed(list(self._events)))
