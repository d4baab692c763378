"""Image files for training: told by their content, read to the last pixel, decoded one way only.

Accepted are JPEG, PNG, WebP and BMP with 8 bits a channel. Grey, palette and 1-bit images become
BGR, transparency is dropped, and the EXIF orientation is applied, so every reader sees the same
upright pixels. Everything else is refused by name, and so is a damaged file: OpenCV would return
a cut-off JPEG as a picture with a grey lower half; Pillow does not.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mask_gate.training.errors import DataError, Problem

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
MAX_IMAGE_BYTES = 64_000_000
MAX_PIXELS = 50_000_000

_ACCEPTED = "save it as an 8-bit JPEG, PNG, WebP or BMP image"
_AGAIN = "get the file again from where it came"
# What files begin with; the first four are read.
_KINDS = (
    (b"\xff\xd8", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"RIFF", "WebP"),
    (b"BM", "BMP"),
    (b"GIF8", "a GIF image"),
    (b"%PDF", "a PDF document"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"\0\0\1\0", "an icon"),
    (b"PK\3\4", "a zip archive"),
    (b"version https://git-lfs", "a Git LFS pointer (`git lfs pull` gets the image)"),
    (b"<", "an HTML or XML document"),
)
_READ = ("JPEG", "PNG", "WebP", "BMP")
_PNG_BITS_AT = 24  # ISO/IEC 15948: signature, length and name of IHDR, width, height
_ORIENTATION_TAG = 0x0112


def image_size_wh(data: bytes, where: str) -> tuple[int, int]:
    """Width and height of the upright image in pixels, from the file's header alone.

    Args:
        data: the whole file.
        where: what messages call it.

    Raises:
        DataError: empty, not an accepted format, damaged in its header, or above `MAX_PIXELS`.
    """
    image = _opened(data, where)
    width, height = image.size
    return (height, width) if _orientation(image, data) >= 5 else (width, height)


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """The pixels of an image file: [H, W, 3] uint8 BGR, upright.

    Args:
        data: the whole file.
        where: what messages call it.

    Raises:
        DataError: everything `image_size_wh` refuses, and pixels that are missing or damaged.
    """
    image = _opened(data, where)
    with _damage_told(where):
        if image.format == "PNG":  # the only kind with checksums, which decoding passes over
            image.verify()
            image = _opened(data, where)
        rgb = np.asarray(image.convert("RGB"))
    return _upright(rgb[..., ::-1], _orientation(image, data))


def is_turned(data: bytes, where: str) -> bool:
    """Whether the EXIF orientation turns or mirrors the pixels of an image file.

    Args:
        data: the whole file.
        where: what messages call it.

    Raises:
        DataError: everything `image_size_wh` refuses.
    """
    return _orientation(_opened(data, where), data) != 1


def _opened(data: bytes, where: str) -> Image.Image:
    """The image of an accepted kind and size, no pixel of it decoded yet."""
    if not data:
        raise DataError(Problem(where, "empty file", _AGAIN))
    kind = _kind_of(data)
    if kind not in _READ:
        raise DataError(Problem(where, f"this is {kind}, not an accepted image", _ACCEPTED))
    try:
        with _damage_told(where):
            image = Image.open(io.BytesIO(data), formats=(kind,))
    except Image.DecompressionBombError:
        raise DataError(_too_large(where, "the image")) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(_too_large(where, f"{width}x{height} pixels"))
    odd = _oddity(image, data, kind)
    if odd is not None:
        raise DataError(Problem(where, odd, _ACCEPTED))
    return image


def _kind_of(data: bytes) -> str:
    """One of `_READ`, or in words what the file is instead."""
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or MP4 file"
    if data.startswith(b"RIFF") and data[8:12] != b"WEBP":
        return "a sound or video file"
    for magic, kind in _KINDS:
        if data.startswith(magic) or (magic == b"<" and data.lstrip().startswith(magic)):
            return kind
    return "no image of a known format"


def _oddity(image: Image.Image, data: bytes, kind: str) -> str | None:
    """What an accepted kind of file holds that is not accepted."""
    if kind in ("PNG", "WebP") and getattr(image, "is_animated", False):
        return f"an animated {kind}"
    if kind == "PNG" and data[_PNG_BITS_AT] == 16:
        return "a PNG with 16 bits a channel"
    if image.mode == "CMYK":
        return f"a CMYK {kind}"
    return None


def _too_large(where: str, what: str) -> Problem:
    return Problem(where, f"{what} exceeds max_pixels {MAX_PIXELS}", "scale the image down")


@contextmanager
def _damage_told(where: str) -> Iterator[None]:
    """Turn whatever Pillow makes of a file that is not whole into our own error."""
    try:
        yield
    except Image.DecompressionBombError:
        raise
    except Exception as error:  # damaged bytes make its readers fail in any way there is
        what = "truncated or damaged"
        if isinstance(error, OSError) and not isinstance(error, UnidentifiedImageError):
            what += f" ({error})"
        raise DataError(Problem(where, what, _AGAIN)) from error


def _orientation(image: Image.Image, data: bytes) -> int:
    """The EXIF orientation, 1 to 8; 1 where the file says nothing usable of it."""
    if image.format == "PNG" and b"eXIf" not in data:
        return 1  # Pillow would decode the whole image to look behind it
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except (SyntaxError, ValueError, OSError, KeyError, IndexError, TypeError):
        return 1  # a remark beside the pixels: a garbled one costs nothing
    return value if value in range(1, 9) else 1


def _upright(image: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Apply an EXIF orientation (JEITA CP-3451, tag 274)."""
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
