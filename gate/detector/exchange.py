"""Exchange: the frames that cameras ask about, and the answers of the process in service."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from itertools import count

from mask_gate.gate.detector.child import ChildEndedError, DetectorChild
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import LateAnswerError, ModelError
from mask_gate.models.detections import Detections


@dataclass(frozen=True, slots=True)
class PendingFrame:
    """A frame that the process was asked about and has not answered yet."""

    number: int
    size_hw: tuple[int, int]
    camera: int


@dataclass(slots=True)
class _Caller:
    """What the thread of one camera waits for.

    Attributes:
        number: of the frame; None when it waits for nothing.
        outcome: what came of that frame.
    """

    number: int | None = None
    outcome: Detections | ModelError | None = None


class Exchange:
    """Lies between the threads of the cameras, which ask, and the one that reads the answers.

    Each camera asks about one frame at a time. An answer that comes after its deadline is thrown
    away, and until it has come no other frame is taken from that camera.

    Args:
        cameras: how many ask, each from one thread.
    """

    def __init__(self, cameras: int) -> None:
        self._numbers = count(1)
        self._changed = threading.Condition()  # guards what follows
        self._child: DetectorChild | None = None  # the one in service
        self._why_none = ""
        self._is_waited_for = True  # whether a replay waits for the next process
        self._was_served = False
        self._pending: deque[PendingFrame] = deque()  # oldest first; one of a camera at most
        self._callers = [_Caller() for _ in range(cameras)]
        self._sizes_hw: dict[tuple[int, int], None] = {}  # of frames so far, in order

    @property
    def cameras(self) -> int:
        """How many ask."""
        return len(self._callers)

    @property
    def child(self) -> DetectorChild | None:
        """The process in service, if there is one."""
        return self._child

    def sizes_hw(self) -> list[tuple[int, int]]:
        """Height and width of the cameras' frames, as far as they are known."""
        with self._changed:
            return list(self._sizes_hw)

    # ----------------------------------------------------------- in the threads of the cameras

    def wait_for_service(self) -> None:
        """Wait until the first process is in service.

        Raises:
            ModelError: it will never be.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._was_served or not self._is_waited_for)
            if not self._was_served:
                raise ModelError(self._why_none)

    def ask(self, frame: Frame, camera: int, result_s: float | None) -> Detections:
        """What the process finds in a frame.

        Args:
            frame: of that camera.
            camera: its number.
            result_s: as in `ProcessLimits`.

        Raises:
            ModelError: there is no sound answer about this very frame in time; where it is only
                late, a LateAnswerError.
        """
        caller = self._callers[camera]
        with self._changed:
            if result_s is None:
                self._changed.wait_for(lambda: self._child is not None or not self._is_waited_for)
            child = self._send(frame, camera)
            self._changed.wait_for(
                lambda: caller.outcome is not None or self._child is not child, result_s
            )
            outcome, caller.outcome, caller.number = caller.outcome, None, None
            if outcome is None and self._child is not child:
                outcome = ModelError(self._why_none)
        if outcome is None:
            raise LateAnswerError(
                f"no answer in {result_s:g} s; use a faster machine or a smaller model"
            )
        if isinstance(outcome, ModelError):
            raise outcome
        return outcome

    def _send(self, frame: Frame, camera: int) -> DetectorChild:
        """Ask the process in service about a frame, if there is one and the camera's last is done.

        Raises:
            ModelError: it cannot be asked; because of that last one, a LateAnswerError.
        """
        child = self._child
        if child is None:
            raise ModelError(self._why_none)
        if any(pending.camera == camera for pending in self._pending):
            raise LateAnswerError(
                "the detector still works on an earlier frame; this one is skipped"
            )
        try:
            pending = self.send(child, frame, camera)
        except ChildEndedError:
            raise ModelError("the detector's process has just ended") from None
        except ValueError as error:
            raise ModelError(f"the detector cannot take this frame: {error}") from error
        self._pending.append(pending)
        if len(self._sizes_hw) < self.cameras:
            self._sizes_hw[pending.size_hw] = None
        caller = self._callers[camera]
        caller.number, caller.outcome = pending.number, None
        return child

    # ------------------------------------------------------------- in the thread of the process

    def send(self, child: DetectorChild, frame: Frame, camera: int = 0) -> PendingFrame:
        """Ask a process about a frame, under a number that no other frame has had.

        Raises:
            ValueError: it is no picture, or too large.
            ChildEndedError: the process has ended.
        """
        number = next(self._numbers)
        child.ask(number, frame.image, camera)
        return PendingFrame(number, (frame.image.shape[0], frame.image.shape[1]), camera)

    def put_in_service(self, child: DetectorChild) -> None:
        """From now on, this process is asked."""
        with self._changed:
            self._child, self._was_served = child, True
            self._changed.notify_all()

    def take_out_of_service(self, why: str, *, wait: bool) -> None:
        """There is no process now, and whatever it was asked about has no answer.

        Args:
            why: a sentence for those who ask.
            wait: whether the next process is worth waiting for, where nothing else waits.
        """
        with self._changed:
            self._child = None
            self._pending.clear()
            self._why_none, self._is_waited_for = why, wait
            self._changed.notify_all()

    def oldest(self) -> PendingFrame | None:
        """The frame that waits for the longest."""
        with self._changed:  # whoever asks holds it until the frame is noted
            return next(iter(self._pending), None)

    def answer(self, pending: PendingFrame, outcome: Detections | ModelError) -> None:
        """Hand the answer about the oldest frame to its camera, if that still waits for it."""
        caller = self._callers[pending.camera]
        with self._changed:
            self._pending.popleft()
            if caller.number == pending.number:
                caller.outcome = outcome
            self._changed.notify_all()
