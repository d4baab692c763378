"""MjpegCapture: pictures of a camera that streams JPEGs over HTTP, the newest and only whole ones.

FFmpeg would read such a stream too. But it makes a full picture of a JPEG that was cut off, looks
at no header before it decodes, and has no bound for what a camera may send before a picture; here
the bytes themselves are seen first.
"""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from mask_gate.gate.camera.frame_buffer import MAX_PIXELS, MIN_SIDE_PX
from mask_gate.gate.camera.http_stream import HttpStream, StreamError
from mask_gate.gate.camera.jpeg import jpeg_size_hw
from mask_gate.gate.camera.multipart import MAX_BODY, Multipart, Part, boundary_of
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Image

ANSWER_S = 1.5

FRAME_S = 1.5
"""From one whole picture to the next; slow cameras give one a second."""


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
