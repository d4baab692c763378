"""DecoderErrors: what decoders say about a damaged picture, heard on this process's standard error.

OpenCV gives a picture whose bytes are damaged like any other: with a grey bottom, or smeared until
the next key frame. Only a line on standard error tells. A process that does nothing but capture
can listen to itself: both its outputs become a file in memory, and whatever has been written there
while a picture was decoded is about that picture.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from typing import IO

_LONGEST = 65536

# Many USB cameras leave a few bytes over in every picture; and time stamps are judged elsewhere.
_HARMLESS = re.compile(
    rb"\b(SEI|DTS|PTS|dts|pts|timestamps?|deprecated)\b"
    rb"|: ([0-9]|1[0-6]) extraneous bytes before marker 0xd9"
)


class DecoderErrors:
    """The standard error (and output) of this process, from now on a file in memory.

    The libraries must be told to write there at once, and only what is an error.

    Attributes:
        last: what was written before `heard` last asked.
    """

    def __init__(self) -> None:
        self.last = b""
        with _file_in_memory() as file:
            for standard in (1, 2):
                os.dup2(file.fileno(), standard)
        fcntl.fcntl(2, fcntl.F_SETFL, fcntl.fcntl(2, fcntl.F_GETFL) | os.O_APPEND)

    def heard(self) -> bool:
        """Whether anything was written since the last call that tells of damage."""
        size = os.fstat(2).st_size
        self.last = os.pread(2, min(size, _LONGEST), 0) if size else b""
        if size:
            os.ftruncate(2, 0)
        return tells_of_damage(self.last)


def tells_of_damage(text: bytes) -> bool:
    """Whether any line is more than what sound cameras cause too."""
    return any(line.strip() and not _HARMLESS.search(line) for line in text.splitlines())


def _file_in_memory() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("complaints"), "r+b")
    return tempfile.TemporaryFile()
