"""LineReader: lines out of a pipe from a process that may send anything."""

from __future__ import annotations

from collections.abc import Iterator


class LineReader:
    """Puts pieces together to lines; a line that is too long is dropped up to its end.

    Args:
        most_bytes: of a line, without its end.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._begun = b""
        self._is_too_long = False

    def take(self, data: bytes) -> Iterator[bytes | None]:
        """Take a piece; the lines that it ends, None for one that was too long."""
        *ended, rest = data.split(b"\n")
        for part in ended:
            self._add(part)
            line, is_too_long = self._begun, self._is_too_long
            self._begun, self._is_too_long = b"", False
            yield None if is_too_long else line
        self._add(rest)

    def _add(self, part: bytes) -> None:
        if len(self._begun) + len(part) > self._most_bytes:
            self._begun, self._is_too_long = b"", True
        elif not self._is_too_long:
            self._begun += part
