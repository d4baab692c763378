"""ConsoleFeed: the newest of one door for the console; the door's loop never waits for it."""

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
from mask_gate.gate.guard_order import GuardWord

EVENTS_KEPT = 2000
_LATENCIES_KEPT = 1000


class PictureDemand(StrEnum):
    """Which pictures of a door the console asks for."""

    NONE = "none"
    TILE = "tile"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class _PictureFormat:
    pause_s: float  # at least, between two pictures
    width_px: int  # at most


_FORMATS = {
    PictureDemand.TILE: _PictureFormat(0.5, 480),
    PictureDemand.LIVE: _PictureFormat(0.1, 960),
}


class ConsoleFeed:
    """Takes events and scenes of one door, and returns at once; the console's thread fetches them.

    Args:
        number: of the door, as the messages to the console's process call it.
        clock: monotonic seconds.

    Attributes:
        demand: which pictures the console asks for.
    """

    def __init__(self, number: int, clock: Clock = time.monotonic) -> None:
        self.number = number
        self.demand = PictureDemand.NONE
        self._clock = clock
        self._lock = threading.Lock()  # for what follows, up to the blank line
        self._audit: Path | None = None
        self._audit_sent = True
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._unsent: deque[Event] = deque(maxlen=EVENTS_KEPT)
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES_KEPT)
        self._newest: tuple[Frame, Scene] | None = None
        self._frames = 0
        self._lockdown: GuardWord | None = None

        self._turn_s: float | None = None
        self._out_of_service: Reason | None = None
        self._sent_frame: Frame | None = None  # known to the console's thread alone, as the next
        self._picture_s = 0.0

    # -------------------------------------------------------------------- in the door's threads

    def set_audit(self, path: Path | None) -> None:
        """Say where the door's audit is, from which the console reads what was earlier today."""
        with self._lock:
            if self._audit is None and path is not None:
                self._audit, self._audit_sent = path.absolute(), False

    def write(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            self._events.append(event)
            self._unsent.append(event)

    def show(self, frame: Frame, scene: Scene) -> None:
        """Take a scene and its frame."""
        with self._lock:
            if self._newest is None or frame is not self._newest[0]:
                self._frames += 1
                self._latencies_s.append(scene.latency_s)
            self._newest = frame, scene

    def set_lockdown(self, word: GuardWord | None) -> None:
        """Say on whose word the door is locked down; None: it is not."""
        with self._lock:
            self._lockdown = word

    def turn(self) -> None:
        """Say that the door's loop has turned once more: it is neither stuck nor out of service."""
        self._turn_s, self._out_of_service = self._clock(), None

    def out_of_service(self, reason: Reason) -> None:
        """Say that the door is locked, and why, and that its loop does not turn."""
        self._out_of_service = reason

    # -------------------------------------------------------------------- in the console's thread

    def start_over(self) -> None:
        """Send everything that is kept once more, to a process that has just been started."""
        with self._lock:
            self._unsent = deque(self._events, EVENTS_KEPT)
            self._audit_sent = self._audit is None
        self.set_demand(PictureDemand.NONE)

    def set_demand(self, demand: PictureDemand) -> None:
        """Give such pictures from now on, the next one at once."""
        self.demand, self._sent_frame, self._picture_s = demand, None, 0.0

    def take_audit(self) -> Path | None:
        """Where the audit is, the first time this is asked."""
        with self._lock:
            was_sent, self._audit_sent = self._audit_sent, True
            return None if was_sent else self._audit

    def take_events(self) -> deque[Event]:
        """The events since the last time."""
        with self._lock:
            events, self._unsent = self._unsent, deque(maxlen=EVENTS_KEPT)
        return events

    def status(self, now_s: float) -> dict[str, object]:
        """How the door's loop is.

        Returns:
            `frames` judged since the start, `latencies_s` of those since the last time, `age_s` of
            the newest turn or None before the first, `state` and `reason` or None before the first
            frame, `faces` in the newest frame, `slow`, as in `Scene`, and `lockdown`, name and
            reason of the guard on whose word the door is locked down, or None.
        """
        with self._lock:
            latencies_s = list(self._latencies_s)
            self._latencies_s.clear()
            newest, lockdown = self._newest, self._lockdown
        decision = None if newest is None else newest[1].decision
        state, reason = (None, None) if decision is None else (decision.state, decision.reason)
        turn_s, out_of_service = self._turn_s, self._out_of_service
        age_s = None if turn_s is None else now_s - turn_s
        faces = 0 if newest is None else newest[1].faces
        is_slow = newest is not None and newest[1].is_slow
        if out_of_service is not None:
            state, reason, age_s, faces, is_slow = State.FAULT, out_of_service, 0.0, 0, False
        return {
            "frames": self._frames,
            "latencies_s": latencies_s,
            "age_s": age_s,
            "state": state,
            "reason": reason,
            "faces": faces,
            "slow": is_slow,
            "lockdown": None if lockdown is None else [lockdown.name, lockdown.why],
        }

    def take_picture(self, now_s: float) -> tuple[bytes | memoryview, ...]:
        """The message with the newest picture, in parts; empty where none is wanted, new or due."""
        wanted = _FORMATS.get(self.demand)
        if wanted is None or now_s - self._picture_s < wanted.pause_s:
            return ()
        with self._lock:
            newest = self._newest
        if newest is None or newest[0] is self._sent_frame or self._out_of_service is not None:
            return ()
        frame, scene = newest
        self._sent_frame, self._picture_s = frame, now_s
        image = frame.image
        scale = min(wanted.width_px / image.shape[1], 1.0)
        if scale < 1.0:
            size_wh = wanted.width_px, max(round(image.shape[0] * scale), 1)
            image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        return pack_picture(self.number, np.ascontiguousarray(image), scene, scale)
