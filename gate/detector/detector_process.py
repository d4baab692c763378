"""DetectorProcess: the detector in a process of its own, where it can hang, die or lie safely."""

from __future__ import annotations

import json
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from mask_gate.gate.detector.answer import refuse_nonsense
from mask_gate.gate.detector.child import ChildEndedError, DetectorChild
from mask_gate.gate.detector.wire import Kind, Message, WireError, unpack_answer
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.gate.system.processes import RestartBudget
from mask_gate.gate.system.threads import DoorThread
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint

log = logging.getLogger(__name__)

UNSOUND_IN_A_ROW = 3
"""So many faults in a row are a broken process, such as one whose GPU is lost: it is replaced."""

RECENT_S = 2.0
"""A camera with a sound answer no older than this shows that the process is not broken."""

_LOOK_S = 0.1
_MEMORY_LOOK_S = 0.5
_CLOSE_S = 3.0
_MOST_LOGGED = 20  # lines of one process
_LEAST_RESTART_S = 5.0
_RESTART_FACTOR = 4.0  # a start that takes so many times longer than the first one hangs

SelfTest = Callable[[Callable[[Frame], Detections], OperatingPoint | None], list[str]]
"""Asks about pictures with known answers; remarks, or a ModelError (`gate.detector.selftest`)."""


@dataclass(frozen=True, slots=True)
class ProcessLimits:
    """How long the detector's process may take, and how large it and its answers may be.

    Attributes:
        result_s: an answer that takes longer is not waited for. None waits, as a replay does, also
            for a process that is being started again.
        hang_s: a process silent for longer about a frame is killed and replaced.
        start_s: loading the weights and the self-test take at most this.
        max_faces: more in one frame are a fault of that frame.
        max_pixels: of the largest frame.
        max_memory_mb: a process with more MiB in memory is killed and replaced.
    """

    result_s: float | None
    hang_s: float = 2.0
    start_s: float = 60.0
    max_faces: int = 100
    max_pixels: int = 3840 * 2160
    max_memory_mb: int = 4096


@dataclass(frozen=True, slots=True)
class _Question:
    """A frame that the process was asked about and has not answered yet."""

    number: int
    size_hw: tuple[int, int]
    seat: int


@dataclass(slots=True)
class _Seat:
    """What one camera waits for, and how its frames fared.

    Attributes:
        wanted: the frame a caller waits for.
        unsound: so many frames in a row have failed.
        answered_s: when the newest answer came, sound or not.
    """

    wanted: int | None = None
    outcome: Detections | ModelError | None = None
    unsound: int = 0
    answered_s: float = -math.inf


class DetectorProcess:
    """Callable like a `Detector`; a thread starts, watches and replaces the process.

    Each camera has a seat, and one frame at a time is asked about from a seat, by number. An answer
    that comes after its deadline is thrown away, and until it has come no other frame is taken from
    there; an answer to anything but the oldest question is the end of the process. Each process
    passes the self-test before it is asked about a frame, and each answer is held against what is
    possible at all. A process that ends, hangs, grows too large, talks nonsense or fails
    `UNSOUND_IN_A_ROW` frames of every camera is replaced, after too many deaths only now and then
    (`RestartBudget` has the rule). While there is none, calls raise at once.

    Args:
        command: starts it; see `gate.detector.child.worker_command`.
        selftest: what each process must pass.
        limits: what it may take.
        budget: how often it may die.
        seats: how many cameras ask it.

    Attributes:
        model_id: fingerprint of the weights; a process that has loaded others is not used.
        engine_name: what runs the network and where, for people.
        operating_point: what the weights bring; it belongs to them as `model_id` does.

    Raises:
        ModelError: the weights cannot be used, the device is not there, the self-test was not
            passed, or the process was not ready in `start_s`.
    """

    def __init__(
        self,
        command: Sequence[str],
        selftest: SelfTest,
        limits: ProcessLimits,
        budget: RestartBudget | None = None,
        seats: int = 1,
    ) -> None:
        self.model_id = ""
        self.engine_name = ""
        self.operating_point: OperatingPoint | None = None
        self._command = command
        self._selftest = selftest
        self._limits = limits
        self._budget = budget or RestartBudget()
        self._start_s = limits.start_s
        self._numbers = count(1)
        self._logged = 0
        self._memory_looked_s = 0.0
        self._closing = threading.Event()
        self._changed = threading.Condition()  # guards what follows
        self._child: DetectorChild | None = None  # the one in service
        self._asked: deque[_Question] = deque()  # oldest first; one of a seat at most
        self._seats = [_Seat() for _ in range(seats)]
        self._excuse = ""  # why there is none in service
        self._ever_ready = False
        self._over = False
        self._watcher = DoorThread(target=self._keep, name="detector")
        self._watcher.start()
        try:
            with self._changed:
                self._changed.wait_for(lambda: self._ever_ready or self._over)
        except BaseException:
            self.close()
            raise
        if not self._ever_ready:
            raise ModelError(self._excuse)

    @property
    def pid(self) -> int | None:
        """Of the process in service, if there is one."""
        child = self._child
        return None if child is None else child.pid

    def __call__(self, frame: Frame, number: int = 0) -> Detections:
        """Faces in pixels of the frame, best first, one label each.

        Args:
            frame: of one camera.
            number: of that camera's seat; each has one thread that asks.

        Raises:
            ModelError: there is no sound answer about this very frame in time.
        """
        seat = self._seats[number]
        with self._changed:
            child = self._ask(frame, number)
            self._changed.wait_for(
                lambda: seat.outcome is not None or self._child is not child,
                self._limits.result_s,
            )
            outcome, seat.outcome, seat.wanted = seat.outcome, None, None
            if outcome is None and self._child is not child:
                outcome = ModelError(self._excuse)
        if outcome is None:
            raise ModelError(
                f"no answer in {self._limits.result_s:g} s; use a faster machine or a smaller model"
            )
        if isinstance(outcome, ModelError):
            raise outcome
        return outcome

    def close(self) -> None:
        """End the process; calls raise from then on. May be called twice."""
        self._closing.set()
        self._watcher.join(_CLOSE_S)

    def _ask(self, frame: Frame, seat: int) -> DetectorChild:
        """Ask the process in service about a frame, if there is one and the seat is free.

        Raises:
            ModelError: it cannot be asked.
        """
        if self._limits.result_s is None:
            self._changed.wait_for(
                lambda: self._child is not None or self._over or self._budget.out_of_service
            )
        if self._child is None:
            raise ModelError(self._excuse)
        if any(question.seat == seat for question in self._asked):
            raise ModelError("the detector still works on an earlier frame; this one is skipped")
        number = next(self._numbers)
        try:
            self._child.ask(number, frame.image, seat)
        except ChildEndedError:
            raise ModelError("the detector's process has just ended") from None
        except ValueError as error:
            raise ModelError(f"the detector cannot take this frame: {error}") from error
        self._asked.append(_Question(number, _size_hw(frame), seat))
        self._seats[seat].wanted, self._seats[seat].outcome = number, None
        return self._child

    # ------------------------------------------------------------------ in the watching thread

    def _keep(self) -> None:
        """Have a process as long as the gate runs, or until the first one turns out to be none."""
        reason = ""
        while not self._closing.is_set():
            reason, served_s = self._live()
            if self._closing.is_set() or not self._ever_ready:
                break
            was_out = self._budget.out_of_service
            with self._changed:
                pause_s = self._budget.died(time.monotonic(), served_s)
                self._excuse = self._why_none(reason)
                self._changed.notify_all()
            if served_s > 0 or self._budget.out_of_service > was_out:
                log.error("%s", self._excuse)
            self._closing.wait(pause_s)
        with self._changed:
            self._excuse = self._why_none(reason)
            self._over = True
            self._changed.notify_all()

    def _why_none(self, reason: str) -> str:
        """A sentence for callers, while there is no process in service."""
        if not self._ever_ready:
            return reason
        if self._closing.is_set():
            return "the detector is closed"
        budget = self._budget
        if not budget.out_of_service:
            return f"{reason}; the detector is being started again"
        return (
            f"{reason}; the detector is out of service, for it ended more than {budget.most} times "
            f"in {budget.window_s:g} s, and is tried again every {budget.retry_s:g} s"
        )

    def _live(self) -> tuple[str, float]:
        """One process from its start to its end: why it ended, and for how long it had served."""
        child: DetectorChild | None = None
        served_from_s, hung_up = None, False
        try:
            child = DetectorChild(self._command, self._limits.max_pixels, len(self._seats))
            self._make_ready(child)
            served_from_s = time.monotonic()
            self._serve(child)
            reason = "the detector is closed"
        except ChildEndedError:
            reason, hung_up = "the detector's process ended", True
        except ModelError as error:
            reason = str(error)
        except WireError as error:
            reason = f"the detector's process talks nonsense: {error}"
        except OSError as error:
            reason = f"the detector's process cannot be started ({error.strerror or error})"
        except Exception as error:  # this thread must not die of anything
            log.exception("the detector's process is given up")
            reason = f"the detector's process cannot be watched ({error!r})"
        with self._changed:
            self._child = None
            self._asked.clear()
            self._excuse = self._why_none(reason)
            self._changed.notify_all()
        if child is not None:
            account = child.end(linger=hung_up)
            reason = f"the detector's process {account}" if hung_up else reason
        if hung_up and not self._ever_ready:
            reason += " before it was ready; give another checkpoint or device"
        return reason, 0.0 if served_from_s is None else time.monotonic() - served_from_s

    def _make_ready(self, child: DetectorChild) -> None:
        """Hear the process introduce itself, put it to the test, and then into service.

        Raises:
            ModelError: it says that it cannot work, does not pass, or takes too long.
            ChildEndedError: it has ended, or the gate ends.
        """
        began_s = time.monotonic()
        self._logged = 0
        for seat in self._seats:
            seat.unsound, seat.answered_s = 0, -math.inf
        messages = self._messages(child, began_s)
        model_id, engine_name, point = _introduction(next(messages))
        if self._ever_ready and model_id != self.model_id:
            raise ModelError(
                f"the weights are others than at the start ({model_id:.19} for "
                f"{self.model_id:.19}); put them back, or start the gate again"
            )
        if self._ever_ready and point != self.operating_point:
            raise ModelError(
                "the weights bring another operating point than at the start; put them back, or "
                "start the gate again"
            )

        def detect(frame: Frame) -> Detections:
            number = next(self._numbers)
            child.ask(number, frame.image)
            return self._read(next(messages), _Question(number, _size_hw(frame), 0))

        remarks = self._selftest(detect, point)
        took_s = time.monotonic() - began_s
        if self._ever_ready:
            log.warning("the detector is back after a start of %.1f s: %s", took_s, engine_name)
        else:
            self._start_s = min(self._start_s, max(_LEAST_RESTART_S, _RESTART_FACTOR * took_s))
            for remark in remarks:
                log.warning("%s", remark)
        with self._changed:
            self.model_id, self.engine_name, self.operating_point = model_id, engine_name, point
            self._child, self._ever_ready = child, True
            self._changed.notify_all()

    def _messages(self, child: DetectorChild, began_s: float) -> Iterator[Message]:
        """What a process says until it is in service; what it logs is passed on."""
        while not self._closing.is_set():
            if time.monotonic() - began_s > self._start_s:
                took_s, self._start_s = self._start_s, min(2 * self._start_s, self._limits.start_s)
                raise ModelError(
                    f"the detector was not ready in {took_s:.0f} s; use a smaller model or a "
                    "faster machine"
                )
            self._look_at_memory(child)
            for message in child.hear(_LOOK_S):
                if message.kind is Kind.LOG:
                    self._log(message)
                else:
                    yield message
        raise ChildEndedError

    def _serve(self, child: DetectorChild) -> None:
        """Pass on the answers of the process in service, until the gate ends.

        Raises:
            ModelError: it must be replaced.
            WireError: it talks nonsense.
            ChildEndedError: it has ended.
        """
        silence = _Silence()
        while not self._closing.is_set():
            for message in child.hear(_LOOK_S):
                self._take(message)
            oldest = next(iter(self._asked), None)
            if silence.about(oldest, time.monotonic()) > self._limits.hang_s:
                raise ModelError(f"the detector's process was silent for {self._limits.hang_s:g} s")
            self._look_at_memory(child)

    def _take(self, message: Message) -> None:
        """Hand an answer to the caller, if it is still waited for."""
        if message.kind is Kind.LOG:
            self._log(message)
            return
        with self._changed:  # whoever asks holds it until the question is noted
            asked = next(iter(self._asked), None)
        if asked is None:
            raise WireError(f"an answer about frame {message.number}, asked about none")
        seat = self._seats[asked.seat]
        outcome: Detections | ModelError
        try:
            outcome = self._read(message, asked)
            seat.unsound = 0
        except ModelError as error:
            outcome = error
            seat.unsound += 1
        seat.answered_s = time.monotonic()
        if isinstance(outcome, Detections) and len(outcome) > self._limits.max_faces:
            # A scene may do that, such as a wall of portraits: no reason to replace the process.
            outcome = ModelError(
                f"the model gave {len(outcome)} faces, expected at most {self._limits.max_faces}"
            )
        with self._changed:
            self._asked.popleft()
            if seat.wanted == asked.number:
                seat.outcome = outcome
            self._changed.notify_all()
        if self._is_broken(seat.answered_s):
            raise ModelError(
                f"the detector failed {seat.unsound} frames in a row, the last so: {outcome}"
            )

    def _is_broken(self, now_s: float) -> bool:
        """Whether every camera that was answered of late had nothing but faults: it is not them."""
        recent = [seat for seat in self._seats if now_s - seat.answered_s <= RECENT_S]
        return all(seat.unsound >= UNSOUND_IN_A_ROW for seat in recent)

    def _read(self, message: Message, asked: _Question) -> Detections:
        """The answer in a message, checked.

        Raises:
            ModelError: the detector failed, or the answer is none that a sound one gives.
            WireError: it is no answer to this question.
        """
        if message.number != asked.number:
            raise WireError(f"about frame {message.number}, asked about frame {asked.number}")
        if message.kind is Kind.FAULT:
            raise ModelError(message.text)
        if message.kind is not Kind.ANSWER:
            raise WireError(f"{message.kind.name}, expected an answer")
        found = unpack_answer(message.payload)
        refuse_nonsense(found, asked.size_hw)
        return found

    def _look_at_memory(self, child: DetectorChild) -> None:
        now_s = time.monotonic()
        if now_s - self._memory_looked_s < _MEMORY_LOOK_S:
            return
        self._memory_looked_s = now_s
        held_mb = child.memory_bytes() / 2**20
        if held_mb > self._limits.max_memory_mb:
            raise ModelError(
                f"the detector's process had {held_mb:.0f} MiB in memory, more than "
                f"{self._limits.max_memory_mb}"
            )

    def _log(self, message: Message) -> None:
        self._logged += 1
        if self._logged <= _MOST_LOGGED:
            log.log(min(message.number, logging.CRITICAL), "%s", message.text)


class _Silence:
    """For how long a process has kept a question waiting, as far as we were awake ourselves.

    What passes while the whole machine stands still, or both processes were stopped, is no silence.
    """

    def __init__(self) -> None:
        self._question: _Question | None = None
        self._silent_s = 0.0
        self._looked_s = 0.0

    def about(self, question: _Question | None, now_s: float) -> float:
        """Seconds of silence about `question`; called every `_LOOK_S` or more often."""
        if question is None or question is not self._question:
            self._silent_s = 0.0
        else:
            self._silent_s += min(now_s - self._looked_s, 2 * _LOOK_S)
        self._question, self._looked_s = question, now_s
        return self._silent_s


def _introduction(message: Message) -> tuple[str, str, OperatingPoint | None]:
    """Model id, engine name and operating point, as a process tells them first.

    Raises:
        ModelError: it says why it cannot work.
        WireError: it says anything else.
    """
    if message.kind is Kind.FAULT:
        raise ModelError(message.text)
    if message.kind is not Kind.READY:
        raise WireError(f"{message.kind.name}, expected an introduction")
    try:
        about = json.loads(message.payload)
        point = OperatingPoint.from_plain(about["operating_point"])
        return str(about["model_id"]), str(about["engine_name"]), point
    except (ValueError, LookupError, TypeError) as error:
        raise WireError(f"{message.payload[:80]!r}, expected an introduction") from error


def _size_hw(frame: Frame) -> tuple[int, int]:
    return frame.image.shape[0], frame.image.shape[1]
