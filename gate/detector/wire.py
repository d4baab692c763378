"""Wire: how frames reach the detector's process, and how its answers come back.

The pixels lie in memory that both processes see; once they are whole, a question with their number,
place and size goes through a pipe. Messages come back through another: numbers as raw arrays, words
as UTF-8. Each message has the number of its frame; they come in the order of the questions.
"""

from __future__ import annotations

import fcntl
import json
import mmap
import os
import select
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from mask_gate.gate.domain import Image
from mask_gate.models.detections import Detections
from mask_gate.models.operating_point import OperatingPoint

MAX_FACES = 1000
"""No answer holds more; a bound that does not depend on configuration."""

_MAGIC = b"mgd1"
_QUESTION = struct.Struct("<4sQQII")  # magic, number, offset in bytes, height, width
_HEADER = struct.Struct("<4sIQI")  # magic, kind, number, bytes that follow
_FACE_BYTES = 32  # box 4 x float32, score float32, margin float32, label int64
_MAX_BYTES = MAX_FACES * _FACE_BYTES
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class WireError(ValueError):
    """What came through the pipe is nothing that the other side would send."""


class MessageKind(IntEnum):
    """What a message is."""

    READY = 1
    ANSWER = 2
    FAULT = 3
    LOG = 4


_KINDS = frozenset(int(kind) for kind in MessageKind)


@dataclass(frozen=True, slots=True)
class Question:
    """Asks about a picture in the memory.

    Attributes:
        number: of the frame.
        size_hw: of the picture in pixels.
        offset: where it begins, in bytes.
    """

    number: int
    size_hw: tuple[int, int]
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the detector's process.

    Attributes:
        number: of the frame it is about; with LOG the level, with READY 0.
        payload: with ANSWER arrays (`unpack_answer`), with READY JSON (`unpack_introduction`), else
            a sentence.
    """

    kind: MessageKind
    number: int
    payload: bytes

    @property
    def text(self) -> str:
        """The payload as a sentence, on one line."""
        return " ".join(self.payload.decode("utf-8", "backslashreplace").split())


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a process says of itself once it has loaded the weights.

    Attributes:
        model_id: identity of the weights (see `gate.detector.engines`).
        engine_name: what runs the network and where, for people.
        operating_point: what the weights bring, if they bring one.
    """

    model_id: str
    engine_name: str
    operating_point: OperatingPoint | None


class FrameMemory:
    """Memory for one picture of each camera, shared with a child that inherits `descriptor`.

    Its size is fixed and sealed, so that nobody can pull it away under the other.

    Args:
        descriptor: of the shared memory.
        writable: whether this side writes the pictures.
    """

    def __init__(self, descriptor: int, *, writable: bool) -> None:
        self.descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map = mmap.mmap(descriptor, self.size, access=access)

    @classmethod
    def create(cls, max_pixels: int, pictures: int = 1) -> FrameMemory:
        """Room for pictures of so many pixels each; a page takes memory once it is used.

        Raises:
            OSError: the system has none.
        """
        descriptor = os.memfd_create("mask-gate-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.truncate(descriptor, pictures * max_pixels * 3)
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
            return cls(descriptor, writable=True)
        except OSError:
            os.close(descriptor)
            raise

    def picture(self, size_hw: tuple[int, int], offset: int = 0) -> Image:
        """The memory from `offset` on seen as [H, W, 3] uint8 BGR.

        Raises:
            ValueError: it has no room for a picture of this size.
        """
        height, width = size_hw
        count = height * width * 3
        if not 0 < count <= self.size - offset:
            room = (self.size - offset) // 3
            raise ValueError(f"expected a picture of up to {room} pixels, got {size_hw}")
        return np.frombuffer(self._map, np.uint8, count, offset).reshape(height, width, 3)


def pack_question(question: Question) -> bytes:
    """Ask about a picture that is whole in the memory."""
    return _QUESTION.pack(_MAGIC, question.number, question.offset, *question.size_hw)


class QuestionReader:
    """Reads questions from a pipe, several at a time where several wait."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._unread = bytearray()

    def read(self, max_count: int = 1) -> list[Question]:
        """Wait for a question, and take what waits beside it; empty when no more will come.

        Raises:
            WireError: this is no question.
        """
        while len(self._unread) < max_count * _QUESTION.size:
            has_one = len(self._unread) >= _QUESTION.size
            if has_one and not select.select([self._descriptor], [], [], 0)[0]:
                break
            if not (data := os.read(self._descriptor, 4096)):
                break
            self._unread += data
        count = min(max_count, len(self._unread) // _QUESTION.size)
        return [self._next() for _ in range(count)]

    def _next(self) -> Question:
        magic, number, offset, height, width = _QUESTION.unpack_from(self._unread)
        if magic != _MAGIC:
            raise WireError(f"expected a question, got {bytes(self._unread[:16])!r}")
        del self._unread[: _QUESTION.size]
        return Question(number, (height, width), offset)


def pack_message(kind: MessageKind, number: int, payload: bytes) -> bytes:
    """One message as bytes."""
    return _HEADER.pack(_MAGIC, kind, number, len(payload)) + payload


def pack_introduction(introduction: Introduction) -> bytes:
    """An introduction as JSON."""
    point = introduction.operating_point
    about = {
        "model_id": introduction.model_id,
        "engine_name": introduction.engine_name,
        "operating_point": None if point is None else point.to_plain(),
    }
    return json.dumps(about).encode()


def unpack_introduction(message: Message) -> Introduction:
    """The inverse of `pack_introduction`.

    Raises:
        WireError: the message is no introduction.
    """
    if message.kind is not MessageKind.READY:
        raise WireError(f"{message.kind.name}, expected an introduction")
    try:
        about = json.loads(message.payload)
        point = OperatingPoint.from_plain(about["operating_point"])
        return Introduction(str(about["model_id"]), str(about["engine_name"]), point)
    except (ValueError, LookupError, TypeError) as error:
        raise WireError(f"{message.payload[:80]!r}, expected an introduction") from error


def pack_answer(found: Detections) -> bytes:
    """Detections as raw arrays, one after the other.

    Raises:
        ValueError: more faces than any answer may hold.
    """
    if len(found) > MAX_FACES:
        raise ValueError(f"the detector gave {len(found)} faces, expected at most {MAX_FACES}")
    return b"".join(
        (
            np.asarray(found.boxes_xyxy, "<f4").tobytes(),
            np.asarray(found.scores, "<f4").tobytes(),
            np.asarray(found.margins, "<f4").tobytes(),
            np.asarray(found.labels, "<i8").tobytes(),
        )
    )


def unpack_answer(payload: bytes) -> Detections:
    """The inverse of `pack_answer`; the numbers may be anything.

    Raises:
        WireError: the bytes are not whole faces.
    """
    count, rest = divmod(len(payload), _FACE_BYTES)
    if rest:
        raise WireError(f"expected {_FACE_BYTES} bytes a face, got {len(payload)}")
    floats = np.frombuffer(payload, "<f4", 6 * count).astype(np.float32)
    return Detections(
        boxes_xyxy=floats[: 4 * count].reshape(count, 4),
        scores=floats[4 * count : 5 * count],
        labels=np.frombuffer(payload, "<i8", count, offset=24 * count).astype(np.int64),
        margins=floats[5 * count :],
    )


class MessageReader:
    """Joins the pieces that a pipe gives to whole messages."""

    def __init__(self) -> None:
        self._unread = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """Take in a piece; returns the messages that are whole with it.

        Raises:
            WireError: this is no message; nothing after it can be read.
        """
        self._unread += data
        while len(self._unread) >= _HEADER.size:
            magic, kind, number, length = _HEADER.unpack_from(self._unread)
            if magic != _MAGIC or kind not in _KINDS or length > _MAX_BYTES:
                raise WireError(f"expected a message, got {bytes(self._unread[:16])!r}")
            end = _HEADER.size + length
            if len(self._unread) < end:
                return
            payload = bytes(self._unread[_HEADER.size : end])
            del self._unread[:end]
            yield Message(MessageKind(kind), number, payload)
