"""The runtime: one loop from camera to door; whatever goes wrong in it, the door is locked."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np

from mask_gate.gate.camera.camera import Camera
from mask_gate.gate.camera.frame_check import FrameCheck
from mask_gate.gate.clock import ReplayClock
from mask_gate.gate.decision.policy import Policy
from mask_gate.gate.decision.tracker import Tracker
from mask_gate.gate.domain import NO_PICTURE, Decision, Frame, Reason, Track
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.errors import GateError, ModelError
from mask_gate.gate.events import Scene
from mask_gate.models.detections import Detections

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""One look for a frame takes no longer, so that a stop is seen soon."""

Box = tuple[float, float, float, float]
"""Corners xyxy in pixels of a frame."""

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
        controller: has the door and the clock; a `ReplayClock` is moved on by the frames.
        second_look: whether a further look at the face in a box of a frame bears out that it
            complies; may raise anything. None where the policy wants no such looks.
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
        policy: Policy,
        controller: DoorController,
        limits: Limits,
        second_look: Callable[[Frame, Box], bool] | None = None,
        show: Callable[[Frame, Scene], None] = lambda frame, scene: None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> None:
        self._camera = camera
        self._frame_check = frame_check
        self._detector = detector
        self._tracker = tracker
        self._policy = policy
        self._controller = controller
        self._door, self._clock = controller.door, controller.clock
        self._limits = limits
        self._second_look = second_look
        self._show = show
        self._on_turn = on_turn
        self._trust = _Trust(limits.fault_frames)
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
        for _ in self.scenes(stop, seconds):
            pass
        latencies_s = tuple(sorted(self._latencies_s))
        return Summary(self._count, time.perf_counter() - began_s, latencies_s)

    def scenes(
        self, stop: Callable[[], bool], seconds: float | None = None
    ) -> Generator[tuple[Frame, Scene]]:
        """As `run`, giving each frame with what came of it; closing it locks the door too."""
        self._door.start(timer=not isinstance(self._clock, ReplayClock))
        try:
            for frame in self._frames(stop, seconds):
                try:
                    self._check(frame)
                    detections = self._detector(frame)
                    tracks = self._tracker.update(detections, frame.time_s)
                    self._look_again(tracks, frame)
                    decision = self._decide(tracks, frame)
                except _Repeated:  # no news: it must not renew a lease
                    continue
                except Exception as error:  # noqa: BLE001 - whatever breaks, the door is locked
                    tracks, decision = (), self._fault(error, frame)
                seen = Scene(decision, tracks, self._latency_s(), picture_wh=_size_wh(frame))
                scene = self._act(seen)
                self._latencies_s.append(scene.latency_s)
                self._newest = frame
                self._show(frame, scene)
                yield frame, scene
        finally:
            self._door.close()

    def _frames(self, stop: Callable[[], bool], seconds: float | None) -> Iterator[Frame]:
        """Frames as they come; while one is overdue, the door is told so again and again."""
        begin_s = newest_s = self._clock()
        while not stop() and not self._camera.ended:
            self._on_turn()
            if seconds is not None and self._clock() - begin_s >= seconds:
                return
            frame = self._camera.read(LOOK_S)
            if frame is not None:
                self._pass_time(frame.time_s)
                newest_s = self._clock()
                self._count += 1
                self._arrival = _Arrival(time.perf_counter(), newest_s - frame.time_s)
                yield frame
            elif not self._camera.ended and self._clock() - newest_s > self._limits.camera_s:
                self._camera_lost()

    def _pass_time(self, frame_s: float) -> None:
        """In a replay, let time pass up to the next frame, ending a lease at its exact end."""
        if isinstance(self._clock, ReplayClock):
            lease_until_s = self._door.lease_until_s
            if lease_until_s is not None and lease_until_s <= frame_s:
                self._clock.now_s = lease_until_s
                self._door.tick()
            self._clock.now_s = frame_s

    def _camera_lost(self) -> None:
        """Lock the door, and show that on the last picture there was, or on none."""
        self._tracker.reset()
        scene = self._act(Scene(self._policy.fault(Reason.CAMERA_LOST, self._clock())))
        self._show(self._newest, scene)

    def _check(self, frame: Frame) -> None:
        """Let a frame pass that can be judged.

        Raises:
            _FrameFault: it cannot.
            _Repeated: it is the picture of the last one.
        """
        if (reason := self._frame_check.inspect(frame)) is not None:
            self._tracker.reset()
            raise _FrameFault(reason)
        if self._frame_check.repeated:
            raise _Repeated

    def _look_again(self, tracks: tuple[Track, ...], frame: Frame) -> None:
        """Make the look that the policy wants, at a face that is seen in this frame."""
        wanted = self._policy.second_look
        if self._second_look is None or wanted is None:
            return
        for track in tracks:
            if track.id == wanted.id and track.last_seen_s == frame.time_s:
                is_borne_out = self._second_look(frame, track.box_xyxy)
                self._policy.hear(track.id, is_borne_out, frame.time_s)

    def _decide(self, tracks: tuple[Track, ...], frame: Frame) -> Decision:
        """What the policy decides, unless the model's answer is late or not trusted again yet.

        Raises:
            ModelError: it is late.
            _FrameFault: it is not trusted.
        """
        age_s = self._clock() - frame.time_s
        if age_s > self._limits.result_s:
            raise ModelError(
                f"the answer came {age_s:.2f} s after the picture, later than "
                f"{self._limits.result_s:g} s; use a faster machine or a smaller model"
            )
        if not self._trust.sound():
            raise _FrameFault(Reason.MODEL_FAULT)
        size_hw = frame.image.shape[0], frame.image.shape[1]
        return self._policy.decide(tracks, frame.time_s, size_hw)

    def _fault(self, error: Exception, frame: Frame) -> Decision:
        """What is decided on a frame that cannot be judged."""
        if isinstance(error, _FrameFault):
            return self._policy.fault(error.reason, frame.time_s)
        if self._trust.fault():
            known = isinstance(error, GateError)
            log.error("this frame counts for nothing: %s", error, exc_info=None if known else error)
        return self._policy.fault(Reason.MODEL_FAULT, frame.time_s)

    def _act(self, scene: Scene) -> Scene:
        """Hand the decision to the door; what it took instead ends the grant of the policy."""
        taken = self._controller.act(scene)
        if taken is not scene:  # whoever stands there is judged anew
            self._policy.fault(taken.decision.reason, taken.decision.time_s)
        return taken

    def _latency_s(self) -> float:
        """From the picture to now; in a replay, only what we took for it."""
        return self._arrival.age_s + time.perf_counter() - self._arrival.stopwatch_s


def _size_wh(frame: Frame) -> tuple[int, int] | None:
    """Width and height of a picture; None where what the camera gave is none."""
    shape: tuple[int, ...] = getattr(frame.image, "shape", ())
    return (shape[1], shape[0]) if len(shape) == 3 else None


class _FrameFault(Exception):  # noqa: N818
    """A frame cannot be judged, for this reason."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class _Repeated(Exception):  # noqa: N818
    """A frame is no news."""


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

    def sound(self) -> bool:
        """Note a sound frame; whether the model may be believed with it."""
        self._sound += 1
        if self._faults >= self._limit and self._sound < self._limit:
            return False
        self._faults = 0
        return True
