"""The runtime: one loop from camera to door; whatever goes wrong in it, the door is locked."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mask_gate.gate.camera.camera import Camera
from mask_gate.gate.camera.frame_check import FrameCheck
from mask_gate.gate.clock import ReplayClock
from mask_gate.gate.decision.tracker import Tracker
from mask_gate.gate.domain import NO_PICTURE, Frame, Reason
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.errors import GateError, ModelError
from mask_gate.gate.events import Scene
from mask_gate.models.detections import Detections

log = logging.getLogger(__name__)

_SLICE_S = 0.1  # one look for a frame takes no longer, so that a stop is seen soon
_KEPT_LATENCIES = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the loop waits, and what it does not trust.

    Attributes:
        camera_s: no frame for longer is CAMERA_LOST.
        result_s: an answer about an older frame is too late to count: MODEL_FAULT.
        fault_frames: after so many model faults in a row, as many sound frames must follow.
    """

    camera_s: float
    result_s: float
    fault_frames: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What one run came to.

    Attributes:
        latencies_s: sorted, from picture to decision, of the newest frames.
    """

    frames: int
    seconds: float
    latencies_s: tuple[float, ...]

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds if self.seconds > 0 else 0.0

    def latency_ms(self, share: float) -> float:
        """The latency that `share` (0..1) of the frames stayed within; 0 without frames."""
        if not self.latencies_s:
            return 0.0
        return 1000 * self.latencies_s[round(share * (len(self.latencies_s) - 1))]

    def __str__(self) -> str:
        return (
            f"ended after {self.seconds:.1f} s: {self.frames} frames, {self.fps:.1f} fps, "
            f"latency p50 {self.latency_ms(0.5):.0f} ms, p95 {self.latency_ms(0.95):.0f} ms"
        )


def no_picture() -> Frame:
    """What is shown before a camera has sent anything; its index is below all others."""
    return Frame(np.zeros((480, 640, 3), np.uint8), 0.0, NO_PICTURE)


class Gate:
    """One entrance, put together from its parts.

    Args:
        detector: finds faces, in pixels of the frame; may raise anything.
        controller: has policy, door and clock; a `ReplayClock` is moved on by the frames.
        show: draws a frame, if anything does.
        on_turn: called at each turn of the loop, when a frame has been dealt with or is not there.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        frame_check: FrameCheck,
        detector: Callable[[Frame], Detections],
        tracker: Tracker,
        controller: DoorController,
        limits: Limits,
        show: Callable[[Frame, Scene], None] | None = None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self._camera = camera
        self._frame_check = frame_check
        self._detector = detector
        self._tracker = tracker
        self._controller = controller
        self._policy, self._door, self._clock = controller.policy, controller.door, controller.clock
        self._limits = limits
        self._show = show
        self._on_turn = on_turn
        self._model = _Trust(limits.fault_frames)
        self._count = 0
        self._newest = no_picture()
        self._arrival = _Arrival(0.0, 0.0)
        self._latencies_s: deque[float] = deque(maxlen=_KEPT_LATENCIES)

    def run(self, stop: Callable[[], bool], seconds: float | None = None) -> Summary:
        """Run until `stop()`, the end of the camera, or `seconds` of the clock.

        The door is locked before the first frame and after the last, also when this raises.

        Raises:
            CameraError: a clip turned out to be damaged.
        """
        began_s = time.perf_counter()
        self._door.start(timer=not isinstance(self._clock, ReplayClock))
        try:
            for frame in self._frames(stop, seconds):
                judged = self._judge(frame)
                if judged is None:
                    continue
                scene = self._controller.act(judged)
                if frame is not None:
                    self._latencies_s.append(scene.latency_s)
                self._display(frame, scene)
        finally:
            self._door.close()
        latencies_s = tuple(sorted(self._latencies_s))
        return Summary(self._count, time.perf_counter() - began_s, latencies_s)

    def _frames(self, stop: Callable[[], bool], seconds: float | None) -> Iterator[Frame | None]:
        """Frames as they come; None, again and again, while a frame is overdue."""
        begin_s = newest_s = self._clock()
        while not stop() and not self._camera.ended:
            self._on_turn()
            if seconds is not None and self._clock() - begin_s >= seconds:
                return
            frame = self._camera.read(_SLICE_S)
            if frame is not None:
                self._pass_time(frame.time_s)
                newest_s = self._clock()
                self._count += 1
                self._arrival = _Arrival(time.perf_counter(), newest_s - frame.time_s)
                yield frame
            elif not self._camera.ended and self._clock() - newest_s > self._limits.camera_s:
                yield None

    def _pass_time(self, frame_s: float) -> None:
        """In a replay, let time pass up to the next frame, ending a lease at its exact end."""
        if isinstance(self._clock, ReplayClock):
            lease_until_s = self._door.lease_until_s
            if lease_until_s is not None and lease_until_s <= frame_s:
                self._clock.now_s = lease_until_s
                self._door.tick()
            self._clock.now_s = frame_s

    def _judge(self, frame: Frame | None) -> Scene | None:
        """What to make of a frame; None when it is no news, so that a lease is not renewed."""
        if frame is None:
            self._tracker.reset()
            return Scene(self._policy.fault(Reason.CAMERA_LOST, self._clock()))
        try:
            return self._look(frame)
        except Exception as error:  # the loop's edge: whatever breaks, this frame locks the door
            if self._model.fault():
                known = isinstance(error, GateError)
                log.error("this frame counts for nothing: %s", error, exc_info=not known)
            return self._fault(Reason.MODEL_FAULT, frame)

    def _look(self, frame: Frame) -> Scene | None:
        """The frame's way: frame_check, detector, tracker, policy."""
        if (wrong := self._frame_check.inspect(frame)) is not None:
            self._tracker.reset()
            return self._fault(wrong, frame)
        if self._frame_check.repeated:
            return None
        tracks = self._tracker.update(self._detector(frame), frame.time_s)
        self._refuse_late_result(frame)
        if not self._model.is_sound():
            return self._fault(Reason.MODEL_FAULT, frame)
        size_hw = frame.image.shape[0], frame.image.shape[1]
        decision = self._policy.decide(tracks, frame.time_s, size_hw)
        return Scene(decision, tracks, self._latency_s())

    def _refuse_late_result(self, frame: Frame) -> None:
        age_s = self._clock() - frame.time_s
        if age_s > self._limits.result_s:
            raise ModelError(
                f"the answer came {age_s:.2f} s after the picture, later than "
                f"{self._limits.result_s:g} s; use a faster machine or a smaller model"
            )

    def _fault(self, reason: Reason, frame: Frame) -> Scene:
        return Scene(self._policy.fault(reason, frame.time_s), (), self._latency_s())

    def _latency_s(self) -> float:
        """From the picture to now; in a replay, only what we took for it."""
        return self._arrival.age_s + time.perf_counter() - self._arrival.stopwatch_s

    def _display(self, frame: Frame | None, scene: Scene) -> None:
        """Show the scene, on the last picture there was, or on none."""
        self._newest = frame or self._newest
        if self._show is not None:
            self._show(self._newest, scene)


@dataclass(frozen=True, slots=True)
class _Arrival:
    """When a frame arrived, by a stopwatch, and how old its picture was then."""

    stopwatch_s: float
    age_s: float


class _Trust:
    """Whether the model is to be believed: after `limit` faults in a row, not at once again."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._faults = 0
        self._sound = 0

    def fault(self) -> bool:
        """Note a fault; True when it is the first in a row."""
        self._faults += 1
        self._sound = 0
        return self._faults == 1

    def is_sound(self) -> bool:
        """Note a sound frame; whether the model may be believed with it."""
        self._sound += 1
        if self._faults >= self._limit and self._sound < self._limit:
            return False
        self._faults = 0
        return True
