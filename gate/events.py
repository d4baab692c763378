"""Events: what happened at the door, as plain values."""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Decision, Reason, Signal, SignalKind, State, Track, door_state
from mask_gate.gate.guard_order import GuardWord

Event = Mapping[str, object]

SCHEMA = 1
"""Version of the format of events; it grows when a field is gone or means something else."""

MAX_TRACKS = 100
"""More are left out of an event, so that it always fits into an environment variable."""


def utc_now() -> datetime:
    """The wall clock, which is only ever shown."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Scene:
    """What the gate saw and made of it: the background of every event.

    Attributes:
        latency_s: from the moment the picture was taken to the decision.
        detail: what is out of order, in a sentence, where a part has said so.
        picture_wh: width and height of the picture that was judged; None where there was none.
        is_slow: whether the detector cannot keep the rate that it should.
        guard: on whose word the door is as it is, where it is not the policy's doing.
    """

    decision: Decision
    tracks: tuple[Track, ...] = ()
    latency_s: float = 0.0
    detail: str = ""
    picture_wh: tuple[int, int] | None = None
    is_slow: bool = False
    guard: GuardWord | None = None

    @property
    def faces(self) -> int:
        """How many were seen in this very frame."""
        return sum(track.last_seen_s >= self.decision.time_s for track in self.tracks)


STARTING = Scene(Decision(State.IDLE, Reason.STARTING, 0.0))
"""Before the first frame."""


class EventMaker:
    """Puts what happened into the words of the event format.

    Args:
        gate: name of the door.
        model: fingerprint of the detector; None until there is one.
        wall: the time of day, for display.
        clock: of the door.
    """

    def __init__(
        self,
        gate: str,
        model: str | None = None,
        wall: Callable[[], datetime] = utc_now,
        clock: Clock = uptime_s,
    ) -> None:
        self.model = model
        self._gate = gate
        self._wall = wall
        self._clock = clock

    def of_signal(self, signal: Signal, scene: Scene) -> Event:
        """The event of one signal of the door."""
        is_open = signal.kind is SignalKind.ALLOW
        state = scene.decision.state
        if is_open or state is State.ALLOW:  # a lease that ended: doubt until the next decision
            state = State.ALLOW if is_open else State.CHECKING
        return {
            **self._head("signal", signal.id),
            "signal": signal.kind.value,
            "until_s": None if signal.until_s is None else _rounded(signal.until_s, 6),
            "state": state.value,
            "reason": signal.reason.value,
            "door": door_state(is_open),
            **self._tail(scene),
        }

    def of_decision(self, scene: Scene, is_open: bool) -> Event:
        """The event of a decision that differs from the one before."""
        decision = scene.decision
        kind = "fault" if decision.state is State.FAULT else "decision"
        return {
            **self._head(kind, uuid.uuid4().hex),
            "state": decision.state.value,
            "reason": decision.reason.value,
            **({"detail": scene.detail} if scene.detail else {}),
            "door": door_state(is_open),
            **self._tail(scene),
        }

    def _head(self, kind: str, event_id: str) -> Event:
        wall = self._wall().astimezone(UTC).isoformat(timespec="milliseconds")
        return {
            "schema": SCHEMA,
            "ts": wall.replace("+00:00", "Z"),
            "time_s": _rounded(self._clock(), 6),
            "id": event_id,
            "gate": self._gate,
            "type": kind,
        }

    def _tail(self, scene: Scene) -> Event:
        size_wh = scene.picture_wh
        return {
            "picture_s": None if size_wh is None else _rounded(scene.decision.time_s, 6),
            "picture_wh": None if size_wh is None else list(size_wh),
            "tracks": [_told(track, scene.decision) for track in scene.tracks[:MAX_TRACKS]],
            "faces": scene.faces,
            "latency_ms": _rounded(1000 * scene.latency_s, 1),
            "model": self.model,
            **({"slow": True} if scene.is_slow else {}),
            **({} if scene.guard is None else {"guard": _guard(scene.guard)}),
        }


def tells_of_parts(event: Event) -> bool:
    """Whether it follows from an event how the parts are; not from what a guard had opened.

    A guard lets in also while a part is out of order, which it still is when that is over.
    """
    return "guard" not in event or event.get("reason") == Reason.LOCKED_DOWN


def _told(track: Track, decision: Decision) -> dict[str, object]:
    newest = track.sightings[-1] if track.sightings else None
    votes = decision.votes.get(track.id, {})
    return {
        "id": track.id,
        "label": newest.label.name.lower() if newest else None,
        "score": _rounded(newest.score, 3) if newest else None,
        "votes": {label.name.lower(): count for label, count in votes.items()},
        "box": [_rounded(side, 1) for side in track.box_xyxy],
    }


def _guard(guard: GuardWord) -> dict[str, object]:
    return {"name": guard.name, "reason": guard.why}


def _rounded(value: float, digits: int) -> float | None:
    """JSON knows no NaN; an event must be readable whatever the numbers were."""
    return round(value, digits) if math.isfinite(value) else None
