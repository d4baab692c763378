"""MjpegCapture: pictures of a camera that streams JPEGs over HTTP, the newest and only whole ones.

FFmpeg would read such a stream too. But it makes a full picture of a JPEG that was cut off, looks
at no header before it decodes, and has no bound for what a camera may send before a picture; here
the bytes themselves are seen first.
"""

from __future__ import annotations

import struct
from typing import cast

import cv2
import numpy as np

from mask_gate.gate.camera.frame_buffer import MAX_PIXELS, MIN_SIDE_PX
from mask_gate.gate.camera.http_stream import HttpStream, StreamError
from mask_gate.gate.camera.multipart import MAX_BODY, Multipart, Part, boundary_of
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Image

ANSWER_S = 1.5

FRAME_S = 1.5
"""From one whole picture to the next; slow cameras give one a second."""

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_NOT_A_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # among C0..CF these three describe tables
_SCAN, _END = 0xDA, 0xD9
_PADDING = b"\0\r\n"
_MAX_SEGMENTS = 1000


class MjpegCapture:
    """One connection to a camera.

    Args:
        stream: its answer has begun; owned and closed from now on.
        boundary: of its parts.
        clock: monotonic seconds.

    Attributes:
        is_inter_coded: no; each picture stands for itself.
        passed_over: so many pictures came since the last grab beside the one it took.

    Raises:
        StreamError: there is no boundary.
    """

    def __init__(self, stream: HttpStream, boundary: bytes, clock: Clock = uptime_s) -> None:
        self._stream = stream
        self._parts = Multipart(boundary)
        self._clock = clock
        self._newest = Part(0.0, {}, b"")
        self.is_inter_coded = False
        self.passed_over = 0

    def grab(self) -> float | None:
        """Take the newest picture that has come, or wait for one.

        Returns:
            When it began to arrive, or None when there are no more.
        """
        until_s = self._clock() + FRAME_S
        found: list[Part] = []
        size = 0
        try:
            while not found:
                found = self._parts.feed(self._stream.receive(until_s), self._clock())
            while size < MAX_BODY and (data := self._stream.receive_now()):
                found += self._parts.feed(data, self._clock())
                size += len(data)
        except OSError:
            return None
        self.passed_over = len(found) - 1
        self._newest = found[-1]
        return self._newest.began_s

    def retrieve(self) -> Image | None:
        """Decode it; None if it is not one whole JPEG of a size that cameras have."""
        data = self._newest.body
        size_hw = jpeg_size_hw(data)
        if size_hw is None or min(size_hw) < MIN_SIDE_PX or size_hw[0] * size_hw[1] > MAX_PIXELS:
            return None
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return cast("Image | None", image)

    def stamp_s(self) -> float | None:
        """The time that the camera itself says, where it does: X-Timestamp, in seconds."""
        try:
            return float(self._newest.fields["x-timestamp"])
        except (KeyError, ValueError):
            return None

    def is_key_frame(self) -> bool:
        """Each one is."""
        return True

    def release(self) -> None:
        """Close the connection."""
        self._stream.close()


def open_mjpeg(url: str) -> MjpegCapture | None:
    """A camera that streams JPEGs, or None if the address answers with something else.

    Raises:
        StreamError: it does not answer, or refuses.
    """
    stream = HttpStream(url, ANSWER_S, uptime_s)
    try:
        boundary = boundary_of(stream.headers.get("content-type", ""))
        if boundary is not None:
            return MjpegCapture(stream, boundary)
    except StreamError:
        stream.close()
        raise
    stream.close()
    return None


def jpeg_size_hw(data: bytes | bytearray) -> tuple[int, int] | None:
    """Height and width in pixels, or None if these are not the bytes of one whole JPEG.

    Whole means that it begins and ends with the right markers and names its size before its
    pixels. Decoders show what is there of a picture that was cut off, and grey for the rest.
    """
    if data[:2] != _SOI or bytes(data[-64:]).rstrip(_PADDING)[-2:] != _EOI:
        return None
    position = 2
    for _ in range(_MAX_SEGMENTS):
        while position + 1 < len(data) and data[position] == data[position + 1] == 0xFF:
            position += 1  # fill bytes
        if position + 4 > len(data) or data[position] != 0xFF:
            return None
        kind = data[position + 1]
        if kind in _STANDALONE:
            position += 2
            continue
        if kind in (_SCAN, _END):
            return None
        if 0xC0 <= kind <= 0xCF and kind not in _NOT_A_FRAME:
            return _size_hw(data, position + 4)
        (length,) = struct.unpack_from(">H", data, position + 2)
        position += 2 + max(length, 2)
    return None


def _size_hw(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    if at + 5 > len(data):
        return None
    height, width = struct.unpack_from(">xHH", data, at)
    return (height, width) if height and width else None
