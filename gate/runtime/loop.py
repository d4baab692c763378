"""The runtime: one loop from camera to door; whatever goes wrong in it, the door is locked."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from mask_gate.gate.camera.camera import Camera
from mask_gate.gate.camera.frame_check import FrameCheck
from mask_gate.gate.clock import ReplayClock
from mask_gate.gate.decision.policy import Policy
from mask_gate.gate.decision.tracker import Tracker
from mask_gate.gate.domain import NO_PICTURE, Decision, Frame, Reason, State, Track
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.errors import GateError, LateAnswerError
from mask_gate.gate.events import Scene
from mask_gate.gate.runtime.pace import Pace
from mask_gate.models.detections import Detections

log = logging.getLogger(__name__)

LOOK_S = 0.1
"""One look for a frame takes no longer, so that a stop is seen soon."""

Box = tuple[float, float, float, float]
"""Corners xyxy in pixels of a frame."""

_KEPT_LATENCIES = 10_000
_TELL_PACE_S = 60.0  # a pace that comes and goes is logged no more often

_MEND = "give the gate more of the processor, or fewer cameras"

_Said = TypeVar("_Said")


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the loop waits, and what it does not trust.

    Attributes:
        camera_s: no frame for longer is CAMERA_LOST.
        result_s: an answer about an older frame is too late to count.
        fault_frames: after so many model faults in a row, as many sound frames must follow.
        answers_per_s: with fewer answers in time nobody can be let in: MODEL_FAULT.
    """

    camera_s: float
    result_s: float
    fault_frames: int
    answers_per_s: float = 3.0


@dataclass(frozen=True, slots=True)
class Summary:
    """What one run came to.

    Attributes:
        frames: that were judged; those that came while the detector was busy are left out.
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
        self._pace = Pace(limits.answers_per_s)
        self._pace_log = _PaceLog(self._pace)
        self._count = 0
        self._newest = no_picture()
        self._decided = State.IDLE
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
                    scene = self._judge(frame)
                except _NoNews:  # it must not renew a lease
                    continue
                except Exception as error:  # noqa: BLE001 - whatever breaks, the door is locked
                    scene = self._fault(error, frame)
                scene = replace(scene, latency_s=self._latency_s(), picture_wh=_size_wh(frame))
                scene = self._act(scene)
                self._count += 1
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
        scene = self._act(self._scene(self._policy.fault(Reason.CAMERA_LOST, self._clock())))
        self._show(self._newest, scene)

    def _judge(self, frame: Frame) -> Scene:
        """What is decided on a frame that can be judged.

        Raises:
            _NoNews: the frame, or the answer about it, says nothing.
            Exception: anything else is a fault.
        """
        self._check(frame)
        try:
            detections = self._in_time(partial(self._detector, frame), frame)
            tracks = self._tracker.update(detections, frame.time_s)
            self._look_again(tracks, frame)
        except LateAnswerError:
            return self._without_answer(frame)
        self._pace_log.look(self._clock())
        if self._pace.is_too_slow:
            return self._too_slow(frame)
        if not self._trust.sound():
            raise _FrameFault(Reason.MODEL_FAULT)
        size_hw = frame.image.shape[0], frame.image.shape[1]
        return self._scene(self._policy.decide(tracks, frame.time_s, size_hw), tracks)

    def _in_time(self, ask: Callable[[], _Said], frame: Frame) -> _Said:
        """What the detector says about a frame.

        Raises:
            LateAnswerError: it does not say so in time; a late answer opens nothing, nor keeps
                anything open.
        """
        began_s = self._clock()
        try:
            said = ask()
            age_s = self._clock() - frame.time_s
            if age_s > self._limits.result_s:
                raise LateAnswerError(f"the answer came {age_s:.2f} s after the picture")
        except LateAnswerError:
            self._pace.late(began_s, self._clock())
            raise
        self._pace.answered(began_s, self._clock())
        return said

    def _without_answer(self, frame: Frame) -> Scene:
        """What to make of a frame without an answer in time: as if the camera had left it out.

        The next one is judged as it comes. A lease that is not renewed ends by itself; that is
        told, and so is a detector that is too slow.

        Raises:
            _NoNews: nothing is to be told.
        """
        self._pace_log.look(self._clock())
        if self._pace.is_too_slow:
            return self._too_slow(frame)
        if self._decided is State.ALLOW and not self._door.is_open:
            return self._scene(Decision(State.CHECKING, Reason.UNCERTAIN, frame.time_s))
        raise _NoNews

    def _too_slow(self, frame: Frame) -> Scene:
        fault = self._policy.fault(Reason.MODEL_FAULT, frame.time_s)
        return replace(self._scene(fault), detail=self._pace_log.sentence)

    def _scene(self, decision: Decision, tracks: tuple[Track, ...] = ()) -> Scene:
        self._decided = decision.state
        return Scene(decision, tracks, is_slow=self._pace.is_slow)

    def _check(self, frame: Frame) -> None:
        """Let a frame pass that can be judged.

        Raises:
            _FrameFault: it cannot.
            _NoNews: it is the picture of the last one.
        """
        if (reason := self._frame_check.inspect(frame)) is not None:
            self._tracker.reset()
            raise _FrameFault(reason)
        if self._frame_check.repeated:
            raise _NoNews

    def _look_again(self, tracks: tuple[Track, ...], frame: Frame) -> None:
        """Make the look that the policy wants, at a face that is seen in this frame."""
        wanted = self._policy.second_look
        look = self._second_look
        if look is None or wanted is None:
            return
        for track in tracks:
            if track.id == wanted.id and track.last_seen_s == frame.time_s:
                ask = partial(look, frame, track.box_xyxy)
                is_borne_out = self._in_time(ask, frame)
                self._policy.hear(track.id, is_borne_out, frame.time_s)

    def _fault(self, error: Exception, frame: Frame) -> Scene:
        """What is decided on a frame that cannot be judged."""
        if isinstance(error, _FrameFault):
            return self._scene(self._policy.fault(error.reason, frame.time_s))
        if self._trust.fault():
            known = isinstance(error, GateError)
            log.error("this frame counts for nothing: %s", error, exc_info=None if known else error)
        return self._scene(self._policy.fault(Reason.MODEL_FAULT, frame.time_s))

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


class _NoNews(Exception):  # noqa: N818
    """A frame says nothing that was not known."""


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


class _PaceLog:
    """Logs that the detector has become slow, too slow or fast enough, with a pause in between.

    Args:
        pace: of the detector.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._logged = (False, False)
        self._logged_s = -math.inf

    @property
    def sentence(self) -> str:
        """How fast the detector is, and how fast it should be."""
        pace = self._pace
        rate = f"the detector answers {pace.per_s:.1f} times a second in time"
        if pace.is_too_slow:
            return f"{rate}, too few to prove anything ({pace.needed_per_s:g} are needed)"
        return f"{rate}; older pictures are left out"

    def look(self, now_s: float) -> None:
        """Log a pace that is not the one that was logged last."""
        pace = self._pace
        now = pace.is_slow, pace.is_too_slow
        if now == self._logged or now_s - self._logged_s < _TELL_PACE_S:
            return
        self._logged, self._logged_s = now, now_s
        if pace.is_too_slow:
            log.error("too slow, the door stays locked: %s; %s", self.sentence, _MEND)
        elif pace.is_slow:
            log.warning("slow: %s; %s", self.sentence, _MEND)
        else:
            log.warning("the detector keeps its rate again")
