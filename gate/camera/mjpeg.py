"""MjpegCapture: pictures of a camera that streams JPEGs over HTTP, the newest and only whole ones.

FFmpeg would read such a stream too. But it makes a full picture of a JPEG that was cut off, looks
at no header before it decodes, has no bound for what a camera may send before a picture, and gives
up where lengths, boundaries or the kinds of parts are not as announced (docs/benchmarks.md).
"""

from __future__ import annotations

import re
from typing import cast

import cv2
import numpy as np

from mask_gate.gate.camera.capture_word import Word
from mask_gate.gate.camera.frame_buffer import MAX_PIXELS, MIN_SIDE_PX
from mask_gate.gate.camera.http_stream import HttpStream, StreamError
from mask_gate.gate.camera.jpeg_stream import MAX_BODY, Jpeg, JpegStream
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Image

FRAME_S = 1.5
"""From one whole picture to the next; slow cameras give one a second."""

_STAMP = re.compile(rb"^x-timestamp:[ \t]*([0-9]{1,17})(?:\.([0-9]{1,9}))?[ \t]*\r?$", re.I | re.M)
_FINE_DIGITS = 2  # behind the point of a stamp; with less it says little about a picture


class MjpegCapture:
    """One connection to a camera.

    Its first picture is never given: how old the single picture is that some addresses answer with,
    nobody knows.

    Args:
        stream: its answer has begun; owned and closed from now on.
        boundary: of its parts; empty if it has none.
        begin: the first bytes of the body, if they were received already.
        clock: monotonic seconds.

    Attributes:
        is_inter_coded: no; each picture stands for itself.
        passed_over: so many pictures came since the last grab beside the one it took.
        has_clock: whether the camera itself says when it took each picture.
    """

    def __init__(
        self,
        stream: HttpStream,
        boundary: bytes = b"",
        begin: bytes = b"",
        clock: Clock = uptime_s,
    ) -> None:
        self._stream = stream
        self._jpegs = JpegStream(boundary)
        self._begin = begin
        self._clock = clock
        self._count = 0
        self._stamps = StampReader()
        self._stamp_s: float | None = None
        self._newest = Jpeg(0.0, b"", b"", (0, 0))
        self.is_inter_coded = False
        self.passed_over = 0

    @property
    def has_clock(self) -> bool:
        """Whether there are stamps that can be believed."""
        return self._stamps.is_clock

    def grab(self) -> float | None:
        """Take the newest picture that has come, or wait for one.

        Returns:
            When it began to arrive, or None when there are no more.

        Raises:
            StreamError: there never was more than one.
        """
        try:
            found = self._arrived()
        except OSError as error:
            word = error.word if isinstance(error, StreamError) else Word.CLOSED
            if self._count > 1:
                return None
            if word is Word.CLOSED and self._count == 1:
                word = Word.SNAPSHOT
            elif word in (Word.CLOSED, Word.UNREACHED):
                word = Word.NO_PICTURE
            raise StreamError(f"{self._count} pictures: {error}", word) from error
        self.passed_over = len(found) - 1
        self._newest = next((jpeg for jpeg in reversed(found) if jpeg.data), found[-1])
        return self._newest.began_s

    def _arrived(self) -> list[Jpeg]:
        """Every picture that has come since the last call, at least one."""
        found: list[Jpeg] = []
        until_s = self._clock() + FRAME_S
        while not found or self._count < 2:
            data, self._begin = self._begin or self._stream.receive(until_s), b""
            if more := self._look_at(data):
                until_s = self._clock() + FRAME_S
                found += more
        size = 0
        while size < MAX_BODY and (data := self._stream.receive_now()):
            found += self._look_at(data)
            size += len(data)
        return found

    def _look_at(self, data: bytes) -> list[Jpeg]:
        found = self._jpegs.feed(data, self._clock())
        self._count += len(found)
        for jpeg in found:
            self._stamp_s = self._stamps.read(jpeg.words)
        return found

    def retrieve(self) -> Image | None:
        """Decode it; None if it was cut off, or is not of a size that cameras have."""
        data, (height, width) = self._newest.data, self._newest.size_hw
        if not data or min(height, width) < MIN_SIDE_PX or height * width > MAX_PIXELS:
            return None
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return cast("Image | None", image)

    def stamp_s(self) -> float | None:
        """The time that the camera itself says, where it does: X-Timestamp, in seconds."""
        return self._stamp_s

    def is_key_frame(self) -> bool:
        """Each one is."""
        return True

    def release(self) -> None:
        """Close the connection."""
        self._stream.close()


class StampReader:
    """Reads the header X-Timestamp of each picture, and says whether it can be believed.

    Most cameras write seconds with a fraction. Some write microseconds behind the point without
    their leading zeros, so that time jumps; the length of the fraction tells. Some write whole
    milliseconds or microseconds, and some whole seconds, which say too little.
    """

    def __init__(self) -> None:
        self._lengths: set[int] = set()

    @property
    def is_clock(self) -> bool:
        """Whether all stamps so far were of one kind, and that one fine enough."""
        return len(self._lengths) == 1 and min(self._lengths) >= _FINE_DIGITS

    def read(self, words: bytes) -> float | None:
        """Seconds from a zero of the camera's, or None if there is no stamp among these headers."""
        stamps = _STAMP.findall(words)
        if not stamps:
            return None
        whole, fraction = stamps[-1]
        digits = max(0, len(whole) - 10)  # today has ten digits in seconds, and had them since 2001
        self._lengths.add(len(fraction) if fraction else digits)
        if fraction:
            return float(whole + b"." + fraction)
        return float(whole) / float(10**digits)
