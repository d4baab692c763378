"""The detector's process: loads the weights, then answers about frames in the order they come.

`python -m mask_gate.gate.detector.worker WEIGHTS DEVICE ENGINE SIZE DESCRIPTOR` is started by
`gate.detector.detector_process`, with the longer side of the network's pictures as SIZE (0 is that
of the weights), the shared memory for frames as DESCRIPTOR, questions on standard input and
messages on standard output (see `gate.detector.wire`). It ends when its standard input does.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.wire import (
    FrameMemory,
    Introduction,
    MessageKind,
    QuestionReader,
    pack_answer,
    pack_introduction,
    pack_message,
)
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import GateError, ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint

_MAX_TEXT = 2000  # characters
_OOM_SCORE = 600  # of -1000..1000: short of memory, the kernel ends this process, not the gate


class EngineAbout(Protocol):
    """What the introduction says of an `Engine`.

    Attributes:
        name: what runs the network and where, for people.
        operating_point: of the weights, if they bring one.
    """

    name: str
    operating_point: OperatingPoint | None


class BatchDetector(Protocol):
    """What this process serves: `gate.detector.detector.Detector`.

    Attributes:
        model_id: identity of the weights (see `gate.detector.engines`).
    """

    model_id: str

    @property
    def batch_size(self) -> int:
        """Of so many frames that wait, `run_batch` makes one model call."""

    @property
    def engine(self) -> EngineAbout:
        """What runs the network."""

    def __call__(self, frame: Frame) -> Detections:
        """Faces in pixels of the frame."""

    def run_batch(self, frames: Sequence[Frame]) -> list[Detections | ModelError]:
        """The same for several frames, each its faces or why it does not count."""


def main(argv: Sequence[str]) -> int:
    """Serve the detector of a weights file until the gate hangs up; returns the exit code."""
    weights, device, engine, size, descriptor = argv

    def open_detector() -> BatchDetector:
        from mask_gate.gate.detector.detector import Detector  # loads a runtime for networks

        return Detector(
            Path(weights), device, engine=EngineKind(engine), input_size=int(size) or None
        )

    return serve(open_detector, int(descriptor))


def serve(open_detector: Callable[[], BatchDetector], descriptor: int) -> int:
    """Answer questions on standard input until it ends.

    Whatever the detector raises about a frame is sent as the fault of that frame.

    Args:
        open_detector: makes the detector; a GateError it raises is sent, and ends the process.
        descriptor: of the memory that frames come in.
    """
    send = _MessageSender(os.dup(1))
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # the gate's pipe says when it is over
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
    threading.Thread(target=_end_with_pipe, name="end-with-pipe", daemon=True).start()
    logging.getLogger().addHandler(_LogToGate(send))
    try:
        detector = open_detector()
    except GateError as error:
        send(MessageKind.FAULT, 0, str(error))
        return error.exit_code
    memory = FrameMemory(descriptor, writable=False)
    point = detector.engine.operating_point
    introduction = Introduction(detector.model_id, detector.engine.name, point)
    send(MessageKind.READY, 0, pack_introduction(introduction))
    questions = QuestionReader(sys.stdin.fileno())
    while asked := questions.read(detector.batch_size):
        frames = [Frame(memory.picture(q.size_hw, q.offset), 0.0, q.number) for q in asked]
        for frame, answer in zip(frames, _answers(detector, frames), strict=True):
            kind, payload = _message_of(answer)
            send(kind, frame.index, payload)
    return 0


def _answers(detector: BatchDetector, frames: Sequence[Frame]) -> Sequence[Detections | Exception]:
    """What the detector finds in each frame, or why it does not."""
    try:
        return [detector(frames[0])] if len(frames) == 1 else detector.run_batch(frames)
    except Exception as error:  # noqa: BLE001  (sent to the gate, which judges and logs it)
        return [error] * len(frames)


def _message_of(answer: Detections | Exception) -> tuple[MessageKind, str | bytes]:
    """Kind and payload of the message about a frame."""
    try:
        if isinstance(answer, Exception):
            raise answer
        return MessageKind.ANSWER, pack_answer(answer)
    except ModelError as error:
        return MessageKind.FAULT, str(error)
    except Exception as error:  # noqa: BLE001  (as above; also an answer that is none)
        return MessageKind.FAULT, f"the detector failed ({type(error).__name__}: {error})"


class _MessageSender:
    """Sends whole messages to the gate; once that is gone, the process ends anyway."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __call__(self, kind: MessageKind, number: int, payload: str | bytes) -> None:
        if isinstance(payload, str):
            payload = payload[:_MAX_TEXT].encode("utf-8", "backslashreplace")
        unsent = memoryview(pack_message(kind, number, payload))
        with self._lock, contextlib.suppress(OSError):
            while unsent:
                unsent = unsent[os.write(self._descriptor, unsent) :]


class _LogToGate(logging.Handler):
    """Has the gate log what parts of the detector log."""

    def __init__(self, send: _MessageSender) -> None:
        super().__init__(logging.WARNING)
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._send(MessageKind.LOG, record.levelno, record.getMessage())


def _end_with_pipe() -> None:
    """End the process when the gate hangs up, also while a frame is being worked on."""
    ending = select.poll()
    ending.register(0, 0)  # POLLHUP need not be asked for
    ending.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
