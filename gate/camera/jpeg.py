"""JPEG: what its bytes say before anybody decodes them: whether it is whole, and how large."""

from __future__ import annotations

import struct

_SOI, _EOI = b"\xff\xd8", b"\xff\xd9"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})  # markers without a length
_NOT_A_FRAME = frozenset({0xC4, 0xC8, 0xCC})  # among C0..CF these three describe tables
_SCAN, _END = 0xDA, 0xD9
_PADDING = b"\0\r\n"
_MAX_SEGMENTS = 1000


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
