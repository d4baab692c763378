"""ProcessRun: the messages of one process, read and checked, from its introduction to its end."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

from mask_gate.gate.detector.child import ChildEndedError, DetectorChild
from mask_gate.gate.detector.exchange import Exchange, PendingFrame
from mask_gate.gate.detector.health import FaultCounter, SilenceWatch, StartLimit, check_memory
from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.detector.wire import (
    Introduction,
    Message,
    MessageKind,
    WireError,
    unpack_answer,
    unpack_introduction,
)
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections, DetectionsError, TooManyFacesError

log = logging.getLogger(__name__)

_MEMORY_POLL_S = 0.5
_MAX_LOGGED = 20  # lines of one process


class ProcessRun:
    """One process as the thread sees it that reads its messages.

    Args:
        child: the process.
        exchange: where cameras ask it, once it is in service.
        limits: what it may take.
        start_limit: how long it may take, from now on, until it is in service.
        closing: set when the gate ends.
    """

    def __init__(
        self,
        child: DetectorChild,
        exchange: Exchange,
        limits: ProcessLimits,
        start_limit: StartLimit,
        closing: threading.Event,
    ) -> None:
        self.child = child
        self._exchange = exchange
        self._limits = limits
        self._closing = closing
        self._faults = FaultCounter(exchange.cameras, limits)
        self._silence = SilenceWatch(limits)
        self._logged = 0
        self._memory_checked_s = 0.0
        self._messages = self._messages_before_service(start_limit, time.monotonic())

    def introduction(self) -> Introduction:
        """What the process says of itself, once it has loaded the weights.

        Raises:
            ModelError: it says why it cannot work, or takes too long.
            WireError: it says anything else.
            ChildEndedError: it has ended, or the gate ends.
        """
        message = next(self._messages)
        if message.kind is MessageKind.FAULT:
            raise ModelError(message.text)
        return unpack_introduction(message)

    def detect(self, frame: Frame) -> Detections:
        """What the process finds in a frame of the self-test.

        Raises:
            ModelError: nothing that a sound detector finds, or it takes too long.
            WireError: it says anything else.
            ChildEndedError: it has ended, or the gate ends.
        """
        asked = self._exchange.send(self.child, frame)
        return self._read(next(self._messages), asked)

    def serve(self) -> None:
        """Pass on the answers of the process in service, until the gate ends.

        Raises:
            ModelError: it must be replaced.
            WireError: it says what is no answer.
            ChildEndedError: it has ended.
        """
        while not self._closing.is_set():
            for message in self.child.read(self._limits.poll_s):
                if message.kind is MessageKind.LOG:
                    self._log(message)
                else:
                    self._pass_on(message)
            oldest = self._exchange.oldest()
            number = None if oldest is None else oldest.number
            starved_s = 0.0 if number is None else self.child.starved_s()
            self._silence.look(number, time.monotonic(), starved_s)
            self._check_memory()

    def _messages_before_service(
        self, start_limit: StartLimit, began_s: float
    ) -> Iterator[Message]:
        """What a process says until it is in service; what it logs is passed on."""
        while not self._closing.is_set():
            start_limit.check(time.monotonic() - began_s)
            self._check_memory()
            for message in self.child.read(self._limits.poll_s):
                if message.kind is MessageKind.LOG:
                    self._log(message)
                else:
                    yield message
        raise ChildEndedError

    def _pass_on(self, message: Message) -> None:
        """Hand an answer to the camera that asked; see what it tells of the process.

        Raises:
            ModelError: the process is broken.
            WireError: nobody asked for this.
        """
        asked = self._exchange.oldest()
        if asked is None:
            raise WireError(f"an answer about frame {message.number}, asked about none")
        outcome: Detections | ModelError
        try:
            outcome, is_sound = self._read(message, asked), True
        except _CrowdError as error:
            # A scene may do that, such as a wall of portraits: no reason to replace the process.
            outcome, is_sound = error, True
        except ModelError as error:
            outcome, is_sound = error, False
        now_s = time.monotonic()
        self._faults.note(asked.camera, is_sound, now_s)
        self._exchange.answer(asked, outcome)
        if self._faults.all_fail(now_s):
            failed = self._faults.in_a_row(asked.camera)
            raise ModelError(
                f"the detector failed {failed} frames in a row, the last so: {outcome}"
            )

    def _read(self, message: Message, asked: PendingFrame) -> Detections:
        """The answer in a message, checked.

        Raises:
            ModelError: the detector failed, or the answer is none that a sound one gives.
            WireError: it is no answer to this question.
        """
        if message.number != asked.number:
            raise WireError(f"about frame {message.number}, asked about frame {asked.number}")
        if message.kind is MessageKind.FAULT:
            raise ModelError(message.text)
        if message.kind is not MessageKind.ANSWER:
            raise WireError(f"{message.kind.name}, expected an answer")
        found = unpack_answer(message.payload)
        try:
            found.check(asked.size_hw, self._limits.max_faces)
        except TooManyFacesError as error:
            raise _CrowdError(str(error)) from error
        except DetectionsError as error:
            raise ModelError(str(error)) from error
        return found

    def _check_memory(self) -> None:
        now_s = time.monotonic()
        if now_s - self._memory_checked_s >= _MEMORY_POLL_S:
            self._memory_checked_s = now_s
            check_memory(self.child.memory_bytes(), self._limits)

    def _log(self, message: Message) -> None:
        self._logged += 1
        if self._logged <= _MAX_LOGGED:
            log.log(min(message.number, logging.CRITICAL), "%s", message.text)


class _CrowdError(ModelError):
    """More faces than the gate can do with, and nothing else wrong."""
