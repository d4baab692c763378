"""FrameBuffer: the newest frame of one process, in memory that another one reads.

Three slots: one holds the newest frame, one may be under the reader's eyes, one is free to write.
The kernel's record locks keep each slot to one process at a time; they order what both see on any
processor, and the kernel takes them back from a process that is killed. So no frame is ever torn,
and neither side waits for the other.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
import tempfile
from dataclasses import dataclass
from typing import cast

import numpy as np

from mask_gate.gate.domain import Image

MAX_PIXELS = 4096 * 4096
"""Of the largest frame a live camera may send; memory is only used as far as frames reach."""

MIN_SIDE_PX = 16

_SLOTS = 3
_PAGE = 4096  # the first page: byte 0 is the newest slot + 1, then one header per slot
_HEADER = struct.Struct("=QdII")  # index (0: none), time in seconds, height, width
_HEADER_BYTES = 64


@dataclass(frozen=True, slots=True, eq=False)
class BufferedFrame:
    """What lies in the buffer.

    Attributes:
        image: [H, W, 3] uint8 BGR, a copy.
        time_s: monotonic seconds, as its writer says.
        index: as its writer counts, from 1.
    """

    image: Image
    time_s: float
    index: int


class FrameBuffer:
    """One end of the buffer: a process either writes or reads.

    Its size is fixed and sealed, so that no process can pull the memory away under another.

    Args:
        descriptor: of the memory (see `allocate`); owned and closed by this object.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        size = os.fstat(descriptor).st_size
        self._slot_bytes = (size - _PAGE) // _SLOTS
        self._memory = mmap.mmap(descriptor, size)

    @classmethod
    def allocate(cls, max_pixels: int = MAX_PIXELS) -> FrameBuffer:
        """A buffer of its own, for a child that inherits `descriptor`.

        Raises:
            OSError: there is no memory or no descriptor left.
        """
        slot_bytes = -(-3 * max_pixels // _PAGE) * _PAGE  # room for one frame, in whole pages
        descriptor = _anonymous_file(_PAGE + _SLOTS * slot_bytes)
        try:
            return cls(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def write(self, image: Image, time_s: float, index: int) -> bool:
        """Put a frame in place of the newest; False if it does not fit or nobody lets us.

        Args:
            image: [H, W, 3] uint8 BGR.
            time_s: monotonic seconds.
            index: larger than those before.
        """
        if not self._fits(*image.shape[:2]):
            return False
        newest = self._memory[0]
        for slot in range(_SLOTS):
            if slot + 1 != newest and self._lock(slot, fcntl.LOCK_EX):
                try:
                    self._set_header(slot, 0, 0.0, 0, 0)  # whatever happens now, it is no frame
                    self._pixels(slot, image.shape[0], image.shape[1])[:] = image
                    self._set_header(slot, index, time_s, image.shape[0], image.shape[1])
                    self._memory[0] = slot + 1
                finally:
                    self._unlock(slot)
                return True
        return False

    def newest(self, after_index: int) -> BufferedFrame | None:
        """The newest frame, if it came after the one called `after_index`; never one half written.

        What cannot be a frame, because the writer is damaged, is None too.
        """
        for _ in range(_SLOTS):
            slot = self._memory[0] - 1
            if not 0 <= slot < _SLOTS:
                return None
            if self._lock(slot, fcntl.LOCK_SH):
                try:
                    return self._read(slot, after_index)
                finally:
                    self._unlock(slot)
        return None

    def close(self) -> None:
        """Let go of the memory."""
        self._memory.close()
        os.close(self.descriptor)

    def _read(self, slot: int, after_index: int) -> BufferedFrame | None:
        index, time_s, height, width = _HEADER.unpack_from(self._memory, self._header_at(slot))
        if index <= after_index or not self._fits(height, width):
            return None
        return BufferedFrame(self._pixels(slot, height, width).copy(), time_s, index)

    def _fits(self, height: int, width: int) -> bool:
        return min(height, width) >= MIN_SIDE_PX and height * width * 3 <= self._slot_bytes

    def _pixels(self, slot: int, height: int, width: int) -> Image:
        begin = _PAGE + slot * self._slot_bytes
        flat = np.frombuffer(self._memory, np.uint8, height * width * 3, begin)
        return cast(Image, flat.reshape(height, width, 3))

    def _set_header(self, slot: int, index: int, time_s: float, height: int, width: int) -> None:
        _HEADER.pack_into(self._memory, self._header_at(slot), index, time_s, height, width)

    @staticmethod
    def _header_at(slot: int) -> int:
        return _HEADER_BYTES * (slot + 1)

    def _lock(self, slot: int, how: int) -> bool:
        """Take the slot for this process unless another one has it."""
        try:
            fcntl.lockf(self.descriptor, how | fcntl.LOCK_NB, _HEADER_BYTES, self._header_at(slot))
        except (BlockingIOError, PermissionError):  # which of them differs by system
            return False
        return True

    def _unlock(self, slot: int) -> None:
        fcntl.lockf(self.descriptor, fcntl.LOCK_UN, _HEADER_BYTES, self._header_at(slot))


def _anonymous_file(size: int) -> int:
    """Memory without a name, of a size that can never change; it ends with its last user."""
    if not hasattr(os, "memfd_create"):  # not on Linux
        with tempfile.TemporaryFile() as file:
            os.truncate(file.fileno(), size)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("camera", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
