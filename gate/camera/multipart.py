"""Multipart: the parts of a multipart/x-mixed-replace stream, cut out of its bytes as they come."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mask_gate.gate.camera.http_stream import StreamError, fields_of

MAX_BODY = 8 * 1024 * 1024
"""Bytes of one part: far more than any camera's picture."""

MAX_FIELDS = 8192
"""Bytes of the headers of one part, and of what may stand before a boundary."""

_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_TEXT = re.compile(rb"[^\r\n]")


@dataclass(frozen=True, slots=True)
class Part:
    """One part.

    Attributes:
        began_s: when the first bytes of its body came.
        fields: its headers, names in small letters.
        body: its bytes.
    """

    began_s: float
    fields: dict[str, str]
    body: bytes


def boundary_of(content_type: str) -> bytes | None:
    """The boundary that a Content-Type announces, or None if it announces no multipart stream.

    Cameras write it with dashes and without; they are no part of it here.
    """
    kind, _, words = content_type.partition(";")
    if not kind.strip().lower().startswith("multipart/"):
        return None
    found = re.search(r'(?:^|;)\s*boundary\s*=\s*("[^"]*"|[^;\s]+)', words, re.IGNORECASE)
    return found[1].strip('"').strip().encode("latin-1").lstrip(b"-") if found else None


class Multipart:
    """Cuts a stream into its parts; holds no more of it than `MAX_BODY` and a little.

    Args:
        boundary: as `boundary_of` says.
    """

    def __init__(self, boundary: bytes) -> None:
        if not boundary:
            raise StreamError("the camera announces a stream without a boundary")
        self._boundary = boundary
        self._marks = b"--" + boundary, b"\n" + boundary
        self._data = bytearray()
        self._searched = 0
        self._began_s = 0.0
        self._fields: dict[str, str] | None = None  # of the part whose body comes

    def feed(self, data: bytes, now_s: float) -> list[Part]:
        """The parts that are whole with these bytes.

        Args:
            data: what came.
            now_s: when it came.

        Raises:
            StreamError: this is no such stream, or one of its parts is too large.
        """
        if not self._data:
            self._began_s = now_s
        self._data += data
        parts: list[Part] = []
        while True:
            if self._fields is None:
                if (fields := self._take_fields()) is None:
                    return parts
                self._fields, self._began_s, self._searched = fields, now_s, 0
            if (body := self._take_body(self._fields)) is None:
                return parts
            parts.append(Part(self._began_s, self._fields, body))
            self._fields = None

    def _take_fields(self) -> dict[str, str] | None:
        """Read over a boundary and the headers after it; None while they are not whole."""
        end = _BLANK_LINE.search(self._data, self._first_text())
        if len(self._data) > MAX_FIELDS and (end is None or end.start() > MAX_FIELDS):
            raise StreamError(f"the headers of a part are longer than {MAX_FIELDS} bytes")
        if end is None:
            return None
        lines = bytes(self._data[: end.start()]).splitlines()
        del self._data[: end.end()]
        while lines and not self._is_boundary(lines[0]):
            del lines[0]  # the end of the part before, and words for old browsers
        if not lines:
            raise StreamError("the camera uses another boundary than it announced")
        return dict(fields_of(lines[1:]))

    def _first_text(self) -> int:
        """Where the lines begin that are not empty."""
        text = _TEXT.search(self._data)
        return text.start() if text else len(self._data)

    def _is_boundary(self, line: bytes) -> bool:
        name = line.strip()
        return name.startswith((b"--", self._boundary)) and name.lstrip(b"-") == self._boundary

    def _take_body(self, fields: dict[str, str]) -> bytes | None:
        """The body of the part, or None while it is not whole."""
        if (length := fields.get("content-length")) is not None:
            if not re.fullmatch("[0-9]{1,9}", length, re.ASCII) or int(length) > MAX_BODY:
                raise StreamError(f"a part of {length[:40]!r} bytes is larger than {MAX_BODY}")
            end = int(length) if len(self._data) >= int(length) else -1
        else:
            end = self._end_of_body()
        if max(end, len(self._data) if end < 0 else 0) > MAX_BODY:
            raise StreamError(f"a part is larger than {MAX_BODY} bytes")
        if end < 0:
            return None
        body = bytes(memoryview(self._data)[:end])
        del self._data[:end]
        return body

    def _end_of_body(self) -> int:
        """Where the line break before the next boundary begins, or -1."""
        found = [at for mark in self._marks if (at := self._data.find(mark, self._searched)) >= 0]
        if not found:
            self._searched = max(0, len(self._data) - len(self._boundary) - 4)
            return -1
        end = min(found)
        while end > 0 and self._data[end - 1] in b"\r\n":
            end -= 1
        return end
