"""Window: shows what the gate sees on the display, from a process of its own.

A window toolkit may end its whole process when the display goes away, and it may stall; neither
must reach the loop that holds a door. So pictures go through a pipe to a child, which shows the
newest one; the loop never waits for it, and the gate goes on without a window when it is gone.
"""

from __future__ import annotations

import contextlib
import os
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import BinaryIO

import cv2
import numpy as np

from mask_gate.gate.display.x_display import XDisplay
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

START_TIMEOUT_S = 20.0
QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})  # 27 is Escape

_HEADER = struct.Struct("<II")  # height, width; then height * width * 3 bytes of BGR
_READY, _QUIT = b"ready", b"quit"
_SIZE = b"size"  # then columns and rows of the display
_FULL = "full-screen"
_NEW_WINDOWS = 10
"""So many times a window is opened anew that is not painted."""
PAINT_S = 1.0
"""A picture is seen sooner, also on a slow machine; where it is not, a new window does no harm."""
_EDGE_PX = 4
_SAME_COLOUR = 12


def _no_window(why: str) -> OutputError:
    return OutputError(f"no window can be opened ({why}); run with --headless, or set DISPLAY")


def start_window_process(title: str, full_screen: bool) -> subprocess.Popen[bytes]:
    """Start the process that owns the window; it ends with its pipe, so none is left behind."""
    return start(
        module_command("gate.display.window", title, *([_FULL] if full_screen else [])),
        stderr=subprocess.DEVNULL,  # the toolkit talks about fonts and themes
    )


class Window:
    """A window for pictures.

    Args:
        title: of the window.
        full_screen: whether it covers the whole screen, without a frame.
        start_child: starts the process that owns the window, given title and full screen.

    Raises:
        OutputError: no window can be opened here.
    """

    def __init__(
        self,
        title: str = "mask-gate",
        *,
        full_screen: bool = False,
        start_child: Callable[[str, bool], subprocess.Popen[bytes]] = start_window_process,
    ) -> None:
        if sys.platform.startswith("linux") and not (
            os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
        ):
            raise _no_window("no display is set")
        self._asked = threading.Event()
        self._gone = threading.Event()
        self._ready = threading.Event()
        self._changed = threading.Condition()
        self._newest: Image | None = None
        self._size_wh: tuple[int, int] | None = None
        self._child = start_child(title, full_screen)
        DoorThread(target=self._listen, name="screen-listen").start()
        if not self._ready.wait(START_TIMEOUT_S) or self._gone.is_set():
            self.close()
            raise _no_window("the display does not answer")
        DoorThread(target=self._send, name="screen-send").start()

    @property
    def quit_asked(self) -> bool:
        """Whether somebody pressed q or Escape, or closed the window."""
        return self._asked.is_set()

    @property
    def alive(self) -> bool:
        """Whether the window is still there; when not, pictures shown go nowhere."""
        return not self._gone.is_set()

    @property
    def size_wh(self) -> tuple[int, int] | None:
        """Columns and rows that a full screen has; None for another, and where nobody knows."""
        return self._size_wh

    def show(self, image: Image) -> None:
        """Show [H, W, 3] uint8 BGR as soon as possible; returns at once, keeps the newest only."""
        with self._changed:
            self._newest = image
            self._changed.notify_all()

    def close(self) -> None:
        """Close the window; may be called twice."""
        self._gone.set()
        with self._changed:
            self._changed.notify_all()
        self._child.kill()
        self._child.wait()

    def _listen(self) -> None:
        """Read from the child that it is ready, that somebody wants to quit, or that it ended."""
        assert self._child.stdout is not None
        with self._child.stdout as replies:
            for line in replies:
                if line.strip() == _READY:
                    self._ready.set()
                elif line.strip() == _QUIT:
                    self._asked.set()
                elif line.startswith(_SIZE):
                    width, height = map(int, line.split()[1:])
                    self._size_wh = width, height
        self._gone.set()
        self._ready.set()
        with self._changed:
            self._changed.notify_all()

    def _send(self) -> None:
        """Hand the newest picture to the child, as fast as it takes them."""
        assert self._child.stdin is not None
        with contextlib.suppress(OSError), self._child.stdin as pipe:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._newest is not None or self._gone.is_set())
                    image, self._newest = self._newest, None
                if self._gone.is_set() or image is None:
                    return
                pipe.write(_HEADER.pack(*image.shape[:2]))
                pipe.write(np.ascontiguousarray(image).data)
                pipe.flush()


# ---------------------------------------------------------------------------- in the child


def show_pictures(
    title: str, pictures: BinaryIO, replies: BinaryIO, *, full_screen: bool = False
) -> None:
    """Show every picture that comes through the pipe, until it ends or somebody wants to quit."""
    display = _display() if full_screen else None
    shown = _FullScreen(title, display) if full_screen else _Framed(title)
    _say(replies, _READY)
    newest: list[Image] = []
    ended = threading.Event()
    DoorThread(target=_receive, args=(pictures, newest, ended)).start()
    any_shown = False
    size_wh: tuple[int, int] | None = None
    while not ended.is_set():
        if newest:
            shown.show(newest.pop())
            any_shown = True
        if shown.size_wh is not None and shown.size_wh != size_wh:
            size_wh = shown.size_wh
            _say(replies, b"%s %d %d" % (_SIZE, *size_wh))
        key = cv2.waitKey(15) & 0xFF
        if key in QUIT_KEYS or (
            any_shown and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1
        ):
            _say(replies, _QUIT)
            return
        shown.look()


class _Framed:
    """An ordinary window, as large as its first picture until somebody changes that."""

    size_wh: tuple[int, int] | None = None

    def __init__(self, title: str) -> None:
        self._title = title
        self._sized = False
        _open(title)

    def show(self, image: Image) -> None:
        if not self._sized:
            cv2.resizeWindow(self._title, image.shape[1], image.shape[0])
            self._sized = True
        cv2.imshow(self._title, image)

    def look(self) -> None:
        """Nothing to repair."""


class _FullScreen:
    """A window that covers the display, and is repaired where it turns out not to.

    A bare X server has nobody who enlarges windows, so that size and place are set by hand as well.
    On a busy machine Qt sometimes misses that such a server has mapped its window, and never paints
    it; a new window is the only cure that was found.
    """

    def __init__(self, title: str, display: XDisplay | None) -> None:
        self._title = title
        self._display = display
        self._image: Image | None = None
        self._shown_s = 0.0
        self._tries_left = _NEW_WINDOWS
        self.size_wh: tuple[int, int] | None = None
        self._open()

    def show(self, image: Image) -> None:
        if self._image is None:
            self._shown_s = time.monotonic()
        self._image = image
        self._cover()
        cv2.imshow(self._title, image)

    def look(self) -> None:
        """Open the window anew where the first pictures are not to be seen on the display."""
        if self._display is None or self._image is None or not self._tries_left:
            return
        if self._is_seen():
            self._tries_left = 0  # it is painted from now on
        elif time.monotonic() - self._shown_s > PAINT_S:
            self._tries_left -= 1
            cv2.destroyWindow(self._title)
            self._open()
            cv2.imshow(self._title, self._image)
            self._shown_s = time.monotonic()

    def _open(self) -> None:
        _open(self._title)
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        self._cover()

    def _cover(self) -> None:
        if self._display is None:
            width, height = cv2.getWindowImageRect(self._title)[2:]
            self.size_wh = (width, height) if min(width, height) > 0 else None
            return
        self.size_wh = size_wh = self._display.size_wh
        if tuple(cv2.getWindowImageRect(self._title)) != (0, 0, *size_wh):
            cv2.moveWindow(self._title, 0, 0)
            cv2.resizeWindow(self._title, *size_wh)

    def _is_seen(self) -> bool:
        """Whether the middle of the left edge has the colour that the picture has there."""
        assert self._display is not None
        assert self._image is not None
        seen = self._display.colour_at(_EDGE_PX, self._display.size_wh[1] // 2)
        wanted = self._image[self._image.shape[0] // 2, min(_EDGE_PX, self._image.shape[1] - 1)]
        return seen is None or bool(np.abs(np.array(seen) - wanted).max() <= _SAME_COLOUR)


def _open(title: str) -> None:
    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)


def _display() -> XDisplay | None:
    """The X display, if there is one."""
    with contextlib.suppress(OSError, AttributeError):
        return XDisplay()
    return None


def _receive(pictures: BinaryIO, newest: list[Image], ended: threading.Event) -> None:
    """Keep the newest picture of the pipe in a list of at most one."""
    try:
        while len(header := pictures.read(_HEADER.size)) == _HEADER.size:
            height, width = _HEADER.unpack(header)
            data = pictures.read(height * width * 3)
            if len(data) < height * width * 3:
                return
            newest[:] = [np.frombuffer(data, np.uint8).reshape(height, width, 3)]
    finally:
        ended.set()


def _say(replies: BinaryIO, word: bytes) -> None:
    replies.write(word + b"\n")
    replies.flush()


if __name__ == "__main__":
    show_pictures(
        sys.argv[1], sys.stdin.buffer, sys.stdout.buffer, full_screen=_FULL in sys.argv[2:]
    )
