"""XDisplay: what an X server says of its display: how large it is, and what is seen of it."""

from __future__ import annotations

import ctypes
from typing import Any

_ALL_PLANES = ctypes.c_ulong(-1)
_Z_PIXMAP = 2
_TRUE_COLOUR_DEPTHS = (24, 32)


class XDisplay:
    """The display that DISPLAY names.

    Raises:
        OSError: there is none, or no library that speaks to it.
    """

    def __init__(self) -> None:
        self._x11 = _library()
        opened = self._x11.XOpenDisplay(None)
        if not opened:
            raise OSError("no X display")
        self._display = ctypes.c_void_p(opened)
        self._root = ctypes.c_ulong(self._x11.XDefaultRootWindow(self._display))

    @property
    def size_wh(self) -> tuple[int, int]:
        """Columns and rows now; a display may be turned while it is used."""
        root, x, y = ctypes.c_ulong(), ctypes.c_int(), ctypes.c_int()
        width, height, border, depth = (ctypes.c_uint() for _ in range(4))
        places = (root, x, y, width, height, border, depth)
        self._x11.XGetGeometry(self._display, self._root, *map(ctypes.byref, places))
        return width.value, height.value

    def colour_at(self, x: int, y: int) -> tuple[int, int, int] | None:
        """BGR of one pixel of the display; None where its pixels are of another kind."""
        if self._x11.XDefaultDepth(self._display, 0) not in _TRUE_COLOUR_DEPTHS:
            return None
        image = self._x11.XGetImage(self._display, self._root, x, y, 1, 1, _ALL_PLANES, _Z_PIXMAP)
        if not image:
            return None
        pixel = self._x11.XGetPixel(ctypes.c_void_p(image), 0, 0)
        self._x11.XDestroyImage(ctypes.c_void_p(image))
        return pixel & 255, pixel >> 8 & 255, pixel >> 16 & 255


def _library() -> Any:  # noqa: ANN401 - its functions are found by name
    """The X library, told which of its functions give a pointer or a long."""
    x11 = ctypes.CDLL("libX11.so.6")
    for function, kind in (
        (x11.XOpenDisplay, ctypes.c_void_p),
        (x11.XDefaultRootWindow, ctypes.c_ulong),
        (x11.XGetImage, ctypes.c_void_p),
        (x11.XGetPixel, ctypes.c_ulong),
    ):
        function.restype = kind
    return x11
