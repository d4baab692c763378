"""JpegStream: whole JPEGs cut out of the bytes of a stream, whatever else stands between them.

Cameras announce lengths and boundaries that are not right, pad their pictures, leave boundaries
out, and send sound or XML between pictures. So nothing of that is believed: a picture is what
begins with the marker of a beginning, goes on with segments that lead from one to the next, and
ends with the marker of an end. Decoders are not so strict: they show what is there of a picture
that was cut off, and grey for the rest.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from mask_gate.gate.camera.capture_word import Word
from mask_gate.gate.camera.http_stream import StreamError

MAX_BODY = 8 * 1024 * 1024
"""Bytes of one picture: far more than any camera's."""

MAX_WORDS = 8192
"""Bytes kept of what stands before a picture."""

_BEGIN = re.compile(rb"\xff\xd8\xff+[\xc0-\xcf\xda-\xfe]")
_AFTER_PIXELS = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_NOT_A_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # among C0..CF these three describe tables
_BETWEEN_SCANS = frozenset({0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, *range(0xE0, 0xF0), 0xFE})
_SCAN, _END = 0xDA, 0xD9


@dataclass(frozen=True, slots=True)
class Jpeg:
    """One picture.

    Attributes:
        began_s: when its first bytes came.
        words: what stood before it, its headers among that.
        data: its bytes from the first to the last marker; empty of one that was cut off.
        size_hw: height and width in pixels, as it says itself.
    """

    began_s: float
    words: bytes
    data: bytes
    size_hw: tuple[int, int]


class JpegStream:
    """Cuts JPEGs out of a stream; holds no more of it than `MAX_BODY` and a little.

    Args:
        boundary: of the parts of the stream, if it has any; it never stands within a picture.
    """

    def __init__(self, boundary: bytes = b"") -> None:
        self._boundary = b"--" + boundary if len(boundary) >= 2 else b""
        self._data = bytearray()
        self._began_s = 0.0
        self._words = b""
        self._at: int | None = None  # how far the picture at the front is known; None: none there
        self._segment = 0  # where its last segment begins
        self._size_hw: tuple[int, int] | None = None
        self._in_pixels = False

    def feed(self, data: bytes, now_s: float) -> list[Jpeg]:
        """The pictures that are whole, or known to be cut off, with these bytes.

        Args:
            data: what came.
            now_s: when it came.

        Raises:
            StreamError: a picture is too large.
        """
        self._data += data
        found: list[Jpeg] = []
        while self._at is not None or self._begin(now_s):
            end = self._follow()
            if end is None:
                if len(self._data) > MAX_BODY:
                    raise StreamError(f"a picture is larger than {MAX_BODY} bytes", Word.DAMAGED)
                break
            found += self._take(end)
        return found

    def _begin(self, now_s: float) -> bool:
        """Look for the beginning of a picture, and put it to the front."""
        begin = _BEGIN.search(self._data)
        at = len(self._data) if begin is None else begin.start()
        self._words = bytes(self._data[max(0, at - MAX_WORDS) : at])
        del self._data[: at if begin else max(0, at - MAX_WORDS)]
        if begin is None:
            return False
        self._began_s, self._at, self._segment = now_s, 2, 2
        self._size_hw, self._in_pixels = None, False
        return True

    def _follow(self) -> int | None:
        """Where the picture ends; None while that is unknown, and 0 when it is none, or cut off."""
        while True:
            assert self._at is not None
            if self._in_pixels:
                marker = _AFTER_PIXELS.search(self._data, self._at)
                if marker is None:
                    self._at = max(self._at, len(self._data) - 1)
                    return None
                self._at, self._in_pixels = marker.start(), False
                kind = marker[0][-1]
                if kind == _END:
                    return marker.end() if self._size_hw else 0
                if kind not in _BETWEEN_SCANS:
                    self._segment = self._at  # what comes now belongs to the next one
                    return 0
            if (end := self._pass_segment()) is not None:
                return None if end < 0 else 0

    def _pass_segment(self) -> int | None:
        """Go behind the next segment; 0 if there is none, -1 while it is not whole."""
        data, at = self._data, self._at
        assert at is not None
        while at + 1 < len(data) and data[at] == data[at + 1] == 0xFF:
            at += 1  # fill bytes
        if at + 4 > len(data):
            return -1
        kind = data[at + 1]
        if data[at] != 0xFF or kind in (0, 0xD8, _END):
            return 0
        if kind in _STANDALONE:
            self._at = at + 2
            return None
        (length,) = struct.unpack_from(">H", data, at + 2)
        if length < 2:
            return 0
        if at + 2 + length > len(data):
            return -1
        if 0xC0 <= kind <= 0xCF and kind not in _NOT_A_FRAME:
            if length < 8 or 0 in (size_hw := struct.unpack_from(">HH", data, at + 5)):
                return 0
            self._size_hw = size_hw
        if kind == _SCAN and not _is_scan(data[at + 4 : at + 2 + length]):
            return 0
        self._segment, self._at, self._in_pixels = at, at + 2 + length, kind == _SCAN
        return None

    def _take(self, end: int) -> list[Jpeg]:
        """The picture that ends there; of one that does not, an empty one."""
        data = bytes(self._data[:end])
        size_hw, words, self._at = self._size_hw, self._words, None
        cut = data.find(self._boundary) if self._boundary else -1
        if cut >= 0:
            data = b""
        del self._data[: (cut if cut >= 0 else end) or max(self._segment, 2)]
        # What breaks before it has a size was none: some other bytes looked like a beginning.
        return [] if size_hw is None else [Jpeg(self._began_s, words, data, size_hw)]


def _is_scan(words: bytes | bytearray) -> bool:
    """Whether these can stand before the pixels: components, and which part of each is to come."""
    if len(words) < 6 or len(words) != 4 + 2 * words[0]:
        return False
    first, last, precision = words[-3:]
    return max(first, last) <= 63 and max(precision >> 4, precision & 15) <= 13
