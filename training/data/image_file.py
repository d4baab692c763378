"""Image files for training: told by their content, checked to the end, decoded one way only.

Accepted are JPEG, PNG, WebP and BMP with 8 bits a channel. Grey, palette and 1-bit images become
BGR, transparency is dropped, and the EXIF orientation is applied, so every reader sees the same
upright pixels. Everything else is refused by name. A damaged file is refused as well: OpenCV
alone would return a cut-off JPEG as a picture with a grey lower half.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.errors import DataError, Problem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_IMAGE_BYTES = 64_000_000
MAX_PIXELS = 50_000_000

_ACCEPTED = "save it as an 8-bit JPEG, PNG, WebP or BMP image"
_AGAIN = "get the file again from where it came"
_FOREIGN = (
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\0\0\1\0", "an icon"),
    (b"PK\3\4", "a zip archive"),
    (b"<", "an HTML or XML document"),
)
_ORIENTATION_TAG = 0x0112
_EXIF_MARK = b"Exif\0\0"


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says about itself before any pixel is decoded.

    Attributes:
        format_name: "JPEG", "PNG", "WebP" or "BMP".
        stored_wh: width and height in pixels as stored.
        orientation: EXIF orientation, 1 to 8; 5 to 8 exchange width and height.
    """

    format_name: str
    stored_wh: tuple[int, int]
    orientation: int = 1

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height of the upright image in pixels."""
        width, height = self.stored_wh
        return (height, width) if self.orientation >= 5 else (width, height)


def read_header(data: bytes, where: str) -> ImageHeader:
    """Walk the structure of an image file from its first byte to its last, without decoding.

    Args:
        data: the whole file.
        where: what messages call it.

    Raises:
        DataError: empty, not an accepted format, truncated, damaged, or larger than `MAX_PIXELS`.
    """
    if not data:
        raise DataError(Problem(where, "empty file", _AGAIN))
    try:
        header = _reader_for(data)(data)
    except _FaultyImageError as error:
        raise DataError(Problem(where, error.what, error.mend)) from None
    except (struct.error, IndexError):
        raise DataError(Problem(where, "truncated inside its header", _AGAIN)) from None
    width, height = header.stored_wh
    if width < 1 or height < 1:
        raise DataError(Problem(where, f"the image is {width}x{height} pixels", _AGAIN))
    if width * height > MAX_PIXELS:
        what = f"{width}x{height} pixels exceeds max_pixels {MAX_PIXELS}"
        raise DataError(Problem(where, what, "scale the image down"))
    return header


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """The pixels of an image file: [H, W, 3] uint8 BGR, upright.

    Args:
        data: the whole file.
        where: what messages call it.

    Raises:
        DataError: everything `read_header` refuses, and pixels that do not decode.
    """
    header = read_header(data, where)
    try:
        image = cv2.imdecode(
            np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        )
    except cv2.error:
        image = None
    width, height = header.stored_wh
    if image is None or image.shape != (height, width, 3):
        raise DataError(
            Problem(where, f"the pixels of this {header.format_name} do not decode", _AGAIN)
        )
    return _upright(np.asarray(image, np.uint8), header.orientation)


class _FaultyImageError(Exception):
    def __init__(self, what: str, mend: str) -> None:
        super().__init__(what)
        self.what, self.mend = what, mend


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (JEITA CP-3451, tag 274)."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def _reader_for(data: bytes) -> Callable[[bytes], ImageHeader]:
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _read_png
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _read_webp
    if data.startswith(b"BM"):
        return _read_bmp
    if data[4:8] == b"ftyp":
        raise _FaultyImageError(
            "this is a HEIC, AVIF or MP4 file, not an accepted image", _ACCEPTED
        )
    start = data.lstrip()
    for magic, kind in _FOREIGN:
        if data.startswith(magic) or (magic == b"<" and start.startswith(magic)):
            raise _FaultyImageError(f"this is {kind}, not an accepted image", _ACCEPTED)
    raise _FaultyImageError("this is no image of a known format", _ACCEPTED)


def _read_jpeg(data: bytes) -> ImageHeader:
    """Segments up to the frame header and the scans after it (ITU T.81, annex B)."""
    size_wh: tuple[int, int] | None = None
    orientation = 1
    at = 2
    while True:
        marker = data[at : at + 2]
        if len(marker) < 2:
            raise _FaultyImageError(
                f"truncated: {len(data)} bytes and no end-of-image marker", _AGAIN
            )
        code = marker[1]
        if marker[0] != 0xFF or code == 0x00:
            raise _FaultyImageError(f"damaged: no JPEG marker at byte {at}", _AGAIN)
        if code == 0xFF:  # a fill byte
            at += 1
            continue
        if code == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        at += 2 + length
        if code in (0xC0, 0xC1, 0xC2):
            bits, height, width, channels = struct.unpack_from(">BHHB", body)
            _check_jpeg_kind(bits, channels)
            size_wh = (width, height)
        elif 0xC3 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC):
            raise _FaultyImageError("a lossless or arithmetic-coded JPEG", _ACCEPTED)
        elif code == 0xE1 and body.startswith(_EXIF_MARK):
            orientation = _exif_orientation(body[len(_EXIF_MARK) :])
        elif code == 0xDA:
            at = _end_of_scan(data, at)
    if size_wh is None:
        raise _FaultyImageError("damaged: a JPEG without a frame header", _AGAIN)
    return ImageHeader("JPEG", size_wh, orientation)


def _check_jpeg_kind(bits: int, channels: int) -> None:
    if channels == 4:
        raise _FaultyImageError("a CMYK JPEG", _ACCEPTED)
    if bits != 8 or channels not in (1, 3):
        raise _FaultyImageError(f"a JPEG with {channels} channels of {bits} bits", _ACCEPTED)


def _end_of_scan(data: bytes, at: int) -> int:
    """Position of the marker that ends the entropy-coded data starting at `at`."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:  # a stuffed 0xff, a restart marker
            at += 2
        elif data[at + 1] == 0xFF:
            at += 1
        else:
            return at


def _read_png(data: bytes) -> ImageHeader:
    """Every chunk with its checksum, up to IEND (ISO/IEC 15948)."""
    width, height, bits = struct.unpack_from(">IIB", data, 16)
    if bits == 16:
        raise _FaultyImageError("a PNG with 16 bits a channel", _ACCEPTED)
    orientation = 1
    at = 8
    while True:
        if at + 8 > len(data):
            raise _FaultyImageError(f"truncated: {len(data)} bytes and no IEND chunk", _AGAIN)
        (length,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            raise _FaultyImageError(f"truncated, {end - len(data)} bytes missing", _AGAIN)
        body = memoryview(data)[at + 4 : end - 4]
        if zlib.crc32(body) != struct.unpack_from(">I", data, end - 4)[0]:
            name = kind.decode("ascii", "replace")
            raise _FaultyImageError(f"damaged: checksum of chunk {name} at byte {at}", _AGAIN)
        if kind == b"acTL":
            raise _FaultyImageError("an animated PNG", _ACCEPTED)
        if kind == b"eXIf":
            orientation = _exif_orientation(bytes(body[4:]))
        if kind == b"IEND":
            return ImageHeader("PNG", (width, height), orientation)
        at = end


def _read_webp(data: bytes) -> ImageHeader:
    """RIFF chunks and the size in the first of them (RFC 9649)."""
    (riff_size,) = struct.unpack_from("<I", data, 4)
    if riff_size + 8 > len(data):
        raise _FaultyImageError(f"truncated, {riff_size + 8 - len(data)} bytes missing", _AGAIN)
    size_wh: tuple[int, int] | None = None
    orientation = 1
    at = 12
    while at + 8 <= riff_size + 8:
        kind, (length,) = data[at : at + 4], struct.unpack_from("<I", data, at + 4)
        body = at + 8
        if body + length > len(data):
            raise _FaultyImageError(f"damaged: a WebP chunk at byte {at} is too long", _AGAIN)
        if kind == b"VP8X":
            if data[body] & 0x02:
                raise _FaultyImageError("an animated WebP", _ACCEPTED)
            size_wh = (_uint24(data, body + 4) + 1, _uint24(data, body + 7) + 1)
        elif kind == b"VP8L" and size_wh is None:
            (packed,) = struct.unpack_from("<I", data, body + 1)
            size_wh = ((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1)
        elif kind == b"VP8 " and size_wh is None:
            width, height = struct.unpack_from("<HH", data, body + 6)
            size_wh = (width & 0x3FFF, height & 0x3FFF)
        elif kind == b"EXIF":
            orientation = _exif_orientation(data[body : body + length].removeprefix(_EXIF_MARK))
        at = body + length + (length & 1)
    if size_wh is None:
        raise _FaultyImageError("damaged: a WebP without an image chunk", _AGAIN)
    return ImageHeader("WebP", size_wh, orientation)


def _uint24(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _read_bmp(data: bytes) -> ImageHeader:
    """File size and the BITMAPINFOHEADER; a negative height means rows from the top."""
    file_size, header_size = struct.unpack_from("<I8xI", data, 2)
    if header_size < 40:
        raise _FaultyImageError("a BMP of the OS/2 kind", _ACCEPTED)
    width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
    if bits not in (1, 4, 8, 24, 32):
        raise _FaultyImageError(f"a BMP with {bits} bits a pixel", _ACCEPTED)
    (pixels_at,) = struct.unpack_from("<I", data, 10)
    rows = (
        pixels_at + (abs(width) * bits + 31) // 32 * 4 * abs(height) if compression in (0, 3) else 0
    )
    missing = max(file_size, rows) - len(data)
    if missing > 0:
        raise _FaultyImageError(f"truncated, {missing} bytes missing", _AGAIN)
    return ImageHeader("BMP", (width, abs(height)))


def _exif_orientation(tiff: bytes) -> int:
    """The orientation in the first directory of a TIFF block; 1 where it says nothing usable."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 8:
        return 1
    (directory,) = struct.unpack_from(order + "I", tiff, 4)
    if directory + 2 > len(tiff):
        return 1
    (entries,) = struct.unpack_from(order + "H", tiff, directory)
    for entry in range(directory + 2, directory + 2 + 12 * entries, 12):
        if entry + 12 > len(tiff):
            return 1
        tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == _ORIENTATION_TAG:
            return value if 1 <= value <= 8 else 1
    return 1
