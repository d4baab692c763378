"""View: what the console may know of one door; its loop leaves here what is newest, and goes on."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np

from mask_gate.gate.clock import Clock
from mask_gate.gate.console.wire import pack_picture
from mask_gate.gate.domain import Frame, Reason, State
from mask_gate.gate.events import Event, Scene

EVENTS_KEPT = 2000
_LATENCIES_KEPT = 1000


class Look(StrEnum):
    """How a door is looked at just now."""

    AWAY = "away"
    GLANCE = "glance"
    WATCH = "watch"


@dataclass(frozen=True, slots=True)
class _Format:
    pause_s: float  # pictures are handed on no faster than this
    widest_px: int


_FORMATS = {Look.GLANCE: _Format(0.5, 480), Look.WATCH: _Format(0.1, 960)}


class View:
    """Takes events and scenes of one door, returns at once; the console's thread fetches them.

    Args:
        number: of the door, as the wire calls it.
        clock: monotonic seconds.

    Attributes:
        look: how the door is looked at.
    """

    def __init__(self, number: int, clock: Clock = time.monotonic) -> None:
        self.number = number
        self.look = Look.AWAY
        self._clock = clock
        self._lock = threading.Lock()  # guards what follows
        self._record: Path | None = None
        self._record_told = True
        self._kept: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._unsent: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._newest: tuple[Frame, Scene] | None = None
        self._frames = 0
        self._turn_s: float | None = None
        self._out_for: Reason | None = None
        self._told_frame: Frame | None = None  # the console's thread alone knows this, and the next
        self._picture_s = 0.0

    # -------------------------------------------------------------------- in the door's threads

    def remember(self, record: Path | None) -> None:
        """Say where the door's audit lies, which knows what was today before; once is enough."""
        with self._lock:
            if self._record is None and record is not None:
                self._record, self._record_told = record.absolute(), False

    def write(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            self._kept.append(event)
            self._unsent.append(event)

    def show(self, frame: Frame, scene: Scene) -> None:
        """Take a scene and its frame."""
        with self._lock:
            if self._newest is None or frame is not self._newest[0]:
                self._frames += 1
                self._latencies_s.append(scene.latency_s)
            self._newest = frame, scene

    def turn(self) -> None:
        """The loop has done its work once more; what it shows is not old."""
        self._turn_s, self._out_for = self._clock(), None

    def out_of_service(self, reason: Reason) -> None:
        """Nobody watches this door until it turns again: it is locked, for this reason."""
        self._out_for = reason

    # -------------------------------------------------------------------- in the console's thread

    def tell_again(self) -> None:
        """Somebody who knows nothing is told: all that is kept is news again."""
        with self._lock:
            self._unsent = deque(self._kept, EVENTS_KEPT)
            self._record_told = self._record is None
        self.look_as(Look.AWAY)

    def look_as(self, look: Look) -> None:
        """From now on it is looked at like this; the next picture is due at once."""
        self.look, self._told_frame, self._picture_s = look, None, 0.0

    def new_record(self) -> Path | None:
        """The audit, the first time it is asked for."""
        with self._lock:
            told, self._record_told = self._record_told, True
            return None if told else self._record

    def new_events(self) -> deque[Event]:
        """Events since the last time."""
        with self._lock:
            events, self._unsent = self._unsent, deque(maxlen=EVENTS_KEPT)
        return events

    def status(self, now_s: float) -> dict[str, object]:
        """How the loop is; `age_s` is null before it has turned once."""
        with self._lock:
            latencies_s = list(self._latencies_s)
            self._latencies_s.clear()
            newest = self._newest
        decision = None if newest is None else newest[1].decision
        state, reason = (None, None) if decision is None else (decision.state, decision.reason)
        turn_s, out_for = self._turn_s, self._out_for
        age_s = None if turn_s is None else now_s - turn_s
        if out_for is not None:
            state, reason, age_s = State.FAULT, out_for, 0.0
        return {
            "frames": self._frames,
            "latencies_s": latencies_s,
            "age_s": age_s,
            "state": state,
            "reason": reason,
            "faces": 0 if newest is None or out_for is not None else newest[1].faces,
        }

    def picture(self, now_s: float) -> tuple[bytes | memoryview, ...]:
        """The newest picture as it is looked at, unless that was handed on, or it is too soon."""
        wanted = _FORMATS.get(self.look)
        if wanted is None or now_s - self._picture_s < wanted.pause_s:
            return ()
        with self._lock:
            newest = self._newest
        if newest is None or newest[0] is self._told_frame or self._out_for is not None:
            return ()
        frame, scene = newest
        self._told_frame, self._picture_s = frame, now_s
        image = frame.image
        scale = min(wanted.widest_px / image.shape[1], 1.0)
        if scale < 1.0:
            size = wanted.widest_px, max(round(image.shape[0] * scale), 1)
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        return pack_picture(self.number, np.ascontiguousarray(image), scene, scale)
