"""Text files of data sets: UTF-8, or UTF-16 as Windows writes it, told by their first bytes."""

from __future__ import annotations

import codecs

from mask_gate.training.errors import DataError, Problem

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode_text(data: bytes, where: str) -> str:
    """The text of a file, without the mark of its encoding.

    Args:
        data: the whole file.
        where: what messages call it.

    Raises:
        DataError: it is in another encoding.
    """
    encoding, rest = "utf-8", data
    for mark, name in _MARKS:
        if data.startswith(mark):
            encoding, rest = name, data[len(mark) :]
            break
    else:
        if len(data) > 3 and data[1::2].count(0) == len(data) // 2:
            encoding = "utf-16-le"  # without a mark; every second byte is zero
    try:
        return rest.decode(encoding)
    except UnicodeDecodeError as error:
        line = rest.count(b"\n", 0, error.start) + 1
        column = error.start - (rest.rfind(b"\n", 0, error.start) + 1) + 1
        what = f"byte {rest[error.start]:#04x} at column {column} is not {encoding.upper()}"
        raise DataError(Problem(where, what, "save it as UTF-8", line)) from None
