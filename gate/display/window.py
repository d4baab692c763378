"""Window: shows what the gate sees on the display, from a process of its own.

A window toolkit may end its whole process when the display goes away, and it may stall; neither
must reach the loop that holds a door. So pictures go through a pipe to a child, which shows the
newest one; the loop never waits for it, and the gate goes on without a window when it is gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

import cv2
import numpy as np

from mask_gate.gate.domain import Image
from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

START_TIMEOUT_S = 20.0
QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})  # 27 is Escape

_HEADER = struct.Struct("<II")  # height, width; then height * width * 3 bytes of BGR
_READY, _QUIT = b"ready", b"quit"
_FULL = "full-screen"


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
    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
    if full_screen:
        cv2.setWindowProperty(title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        if (size := _display_size()) is not None:  # a bare X server has nobody who enlarges it
            cv2.moveWindow(title, 0, 0)
            cv2.resizeWindow(title, *size)
    _say(replies, _READY)
    newest: list[Image] = []
    ended = threading.Event()
    DoorThread(target=_receive, args=(pictures, newest, ended)).start()
    sized = False
    while not ended.is_set():
        if newest:
            image = newest.pop()
            if not sized and not full_screen:
                cv2.resizeWindow(title, image.shape[1], image.shape[0])
            sized = True
            cv2.imshow(title, image)
        key = cv2.waitKey(15) & 0xFF
        if key in QUIT_KEYS or (sized and cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1):
            _say(replies, _QUIT)
            return


def _display_size() -> tuple[int, int] | None:
    """Columns and rows of the X display, if there is one."""
    with contextlib.suppress(OSError, AttributeError):
        x11 = ctypes.CDLL("libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        if display := x11.XOpenDisplay(None):
            shown = ctypes.c_void_p(display)
            size = x11.XDisplayWidth(shown, 0), x11.XDisplayHeight(shown, 0)
            x11.XCloseDisplay(shown)
            return size
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
