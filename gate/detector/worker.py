"""The detector's process: loads the weights, then answers about frames in the order they come.

`python -m mask_gate.gate.detector.worker WEIGHTS DEVICE ENGINE DESCRIPTOR` is started by
`gate.detector.detector_process`, with the shared memory for frames as DESCRIPTOR, questions on
standard input and messages on standard output (see `gate.detector.wire`). It ends when its standard
input does.
"""

from __future__ import annotations

import contextlib
import json
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
    Kind,
    QuestionReader,
    pack_answer,
    pack_message,
)
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import GateError, ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint

_LONGEST_SENTENCE = 2000  # characters
_OOM_SCORE = 600  # of -1000..1000: short of memory, the kernel ends this process, not the gate


class Named(Protocol):
    """Something with a name for people.

    Attributes:
        operating_point: of its weights, if they bring one.
    """

    name: str
    operating_point: OperatingPoint | None


class Served(Protocol):
    """What can be served: `gate.detector.detector.Detector`.

    Attributes:
        model_id: fingerprint of the weights.
    """

    model_id: str

    @property
    def at_once(self) -> int:
        """Of so many frames that wait, `together` makes one model call."""

    @property
    def engine(self) -> Named:
        """What runs the network."""

    def __call__(self, frame: Frame) -> Detections:
        """Faces in pixels of the frame."""

    def together(self, frames: Sequence[Frame]) -> list[Detections | ModelError]:
        """The same for several frames, each its faces or why it does not count."""


def main(argv: Sequence[str]) -> int:
    """Serve the detector of a weights file until the gate hangs up; returns the exit code."""
    weights, device, engine, descriptor = argv

    def open_detector() -> Served:
        from mask_gate.gate.detector.detector import Detector  # loads a runtime for networks

        return Detector(Path(weights), device, engine=EngineKind(engine))

    return serve(open_detector, int(descriptor))


def serve(open_detector: Callable[[], Served], descriptor: int) -> int:
    """Answer questions on standard input until it ends.

    Whatever the detector raises about a frame is told as the fault of that frame.

    Args:
        open_detector: makes the detector; a GateError it raises is told and ends the process.
        descriptor: of the memory that frames come in.
    """
    say = _Speech(os.dup(1))
    os.dup2(2, 1)  # a library that prints must not be taken for an answer
    for ignored in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ignored, signal.SIG_IGN)  # the gate's pipe says when it is over
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_OOM_SCORE), encoding="ascii")
    threading.Thread(target=_end_with_pipe, name="end-with-pipe", daemon=True).start()
    logging.getLogger().addHandler(_LogToGate(say))
    try:
        detector = open_detector()
    except GateError as error:
        say(Kind.FAULT, 0, str(error))
        return error.exit_code
    memory = FrameMemory(descriptor, writable=False)
    point = detector.engine.operating_point
    about = {
        "model_id": detector.model_id,
        "engine_name": detector.engine.name,
        "operating_point": None if point is None else point.to_plain(),
    }
    say(Kind.READY, 0, json.dumps(about))
    questions = QuestionReader(sys.stdin.fileno())
    while asked := questions.read(detector.at_once):
        frames = [Frame(memory.picture(q.size_hw, q.offset), 0.0, q.number) for q in asked]
        for frame, answer in zip(frames, _answers(detector, frames), strict=True):
            kind, payload = _told(answer)
            say(kind, frame.index, payload)
    return 0


def _answers(detector: Served, frames: Sequence[Frame]) -> Sequence[Detections | Exception]:
    """What the detector finds in each frame, or why it does not."""
    try:
        return [detector(frames[0])] if len(frames) == 1 else detector.together(frames)
    except Exception as error:  # noqa: BLE001  (told to the gate, which judges and logs it)
        return [error] * len(frames)


def _told(answer: Detections | Exception) -> tuple[Kind, str | bytes]:
    """An answer, or a fault of the frame, in the words of the wire."""
    try:
        if isinstance(answer, Exception):
            raise answer
        return Kind.ANSWER, pack_answer(answer)
    except ModelError as error:
        return Kind.FAULT, str(error)
    except Exception as error:  # noqa: BLE001  (as above; also an answer that is none)
        return Kind.FAULT, f"the detector failed ({type(error).__name__}: {error})"


class _Speech:
    """Messages to the gate, each whole; a gate that is gone is no news here."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._speaking = threading.Lock()

    def __call__(self, kind: Kind, number: int, what: str | bytes) -> None:
        if isinstance(what, str):
            what = what[:_LONGEST_SENTENCE].encode("utf-8", "backslashreplace")
        unsent = memoryview(pack_message(kind, number, what))
        with self._speaking, contextlib.suppress(OSError):
            while unsent:
                unsent = unsent[os.write(self._descriptor, unsent) :]


class _LogToGate(logging.Handler):
    """Leaves it to the gate to log what parts of the detector have to say."""

    def __init__(self, say: _Speech) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one record on."""
        self._say(Kind.LOG, record.levelno, record.getMessage())


def _end_with_pipe() -> None:
    """End the process when the gate hangs up, also while a frame is being worked on."""
    ending = select.poll()
    ending.register(0, 0)  # POLLHUP is told unasked
    ending.poll()
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
