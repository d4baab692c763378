"""Window: a real one where there is a display to borrow, a sentence where there is none."""

import os
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from mask_gate.gate.display import window as screen
from mask_gate.gate.display.overlay import STATE_STYLES
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.display.visitor_screen import draw_visitor_screen
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import Decision, Reason, State
from mask_gate.gate.errors import OutputError

pytestmark = pytest.mark.process

PATIENCE_S = 60.0
PICTURE = np.full((120, 160, 3), 90, np.uint8)

on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells by variables whether to show"
)
needs_xvfb = pytest.mark.skipif(
    shutil.which("Xvfb") is None, reason="Xvfb is not installed: no display to open a window on"
)


def until(condition):
    end_s = time.monotonic() + PATIENCE_S
    while not (met := condition()) and time.monotonic() < end_s:
        time.sleep(0.02)
    return met


@pytest.fixture
def no_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)


@pytest.fixture
def xvfb(monkeypatch, no_display):
    """A display of our own, with the number Xvfb found free."""
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", "640x480x24", "-nolisten", "tcp"],
        pass_fds=(write,),
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as numbers:
        monkeypatch.setenv("DISPLAY", f":{numbers.readline().strip()}")
    yield server
    server.kill()
    server.wait()


@on_linux
def test_without_a_display_there_is_a_sentence(no_display):
    with pytest.raises(OutputError, match=r"no display is set.*--headless") as told:
        Window()
    assert told.value.exit_code == 5


@on_linux
def test_a_display_that_is_not_there_is_told_and_does_not_end_the_gate(monkeypatch, no_display):
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(OutputError, match="does not answer"):
        Window()


@needs_xvfb
class TestOnADisplay:
    def test_pictures_are_shown_and_close_ends_the_window(self, xvfb):
        children = []

        def start_child(title, full_screen):
            children.append(screen.start_window_process(title, full_screen))
            return children[0]

        window = Window("mask-gate test", start_child=start_child)
        assert window.alive
        for shape in ((120, 160, 3), (120, 160, 3), (61, 33, 3)):
            window.show(np.full(shape, 90, np.uint8))
            time.sleep(0.05)
        assert window.alive
        assert not window.quit_asked
        window.close()
        window.close()
        assert not window.alive
        assert not window.quit_asked
        (child,) = children
        assert child.returncode is not None

    def test_a_display_that_dies_takes_only_the_window_along(self, xvfb):
        window = Window("mask-gate test")
        window.show(PICTURE)
        xvfb.kill()
        assert until(lambda: window.show(PICTURE) or not window.alive)
        window.show(PICTURE)
        assert not window.quit_asked
        window.close()


STATES = {
    State.ALLOW: Reason.COMPLIANT,
    State.DENY: Reason.MASK_INCORRECT,
    State.FAULT: Reason.CAMERA_LOST,
}


@needs_xvfb
@pytest.mark.skipif(
    shutil.which("import") is None, reason="install imagemagick to photograph the display"
)
@pytest.mark.parametrize("state", STATES, ids=str)
def test_the_visitors_screen_fills_the_display_with_the_colour_of_its_state(xvfb, state, tmp_path):
    decision = Decision(state, STATES[state], 1.0)
    window = Window("mask-gate test", full_screen=True)
    assert until(lambda: window.size_wh == (640, 480))
    image = draw_visitor_screen(PICTURE, [], decision, load_texts("ko"), window.size_wh)
    colour = np.array(STATE_STYLES[state][0])

    def is_filled():
        window.show(image)
        time.sleep(0.1)
        photo = tmp_path / "display.png"
        subprocess.run(["import", "-window", "root", str(photo)], check=True)
        seen = cv2.imread(str(photo)).astype(int)
        return (np.abs(seen[:, :8] - colour).max(axis=2) < 12).all()

    assert until(is_filled)
    window.close()


class FakeWindow:
    """Stands in for OpenCV's window functions inside the viewer."""

    def __init__(self, keys, visible=1.0):
        self.keys, self.visible, self.shown, self.sizes = list(keys), visible, [], []

    def install(self, monkeypatch):
        monkeypatch.setattr(screen.cv2, "namedWindow", lambda *a: None)
        monkeypatch.setattr(screen.cv2, "resizeWindow", lambda _t, w, h: self.sizes.append((w, h)))
        monkeypatch.setattr(screen.cv2, "imshow", lambda _t, image: self.shown.append(image))
        monkeypatch.setattr(screen.cv2, "getWindowProperty", lambda *a: self.visible)
        monkeypatch.setattr(screen.cv2, "waitKey", self.wait_key)

    def wait_key(self, _ms):
        time.sleep(0.005)
        if not self.shown:
            return -1
        return self.keys.pop(0) if self.keys else -1


def run_viewer(monkeypatch, window, data, *, hang_up=True):
    """What the viewer says when `data` comes through its pipe."""
    window.install(monkeypatch)
    return run_viewer_on(data, hang_up=hang_up, full_screen=False)


def run_viewer_on(data, *, hang_up=False, full_screen=True):
    read, write = os.pipe()
    said_read, said_write = os.pipe()
    os.write(write, data)
    if hang_up:
        os.close(write)
    with os.fdopen(read, "rb") as pictures, os.fdopen(said_write, "wb") as words:
        screen.show_pictures("test", pictures, words, full_screen=full_screen)
        if not hang_up:
            os.close(write)
    with os.fdopen(said_read, "rb") as said:
        return said.read().split()


def sent(image):
    """As the gate writes a picture: height and width as little-endian 32 bits, then its bytes."""
    height, width = image.shape[:2]
    return height.to_bytes(4, "little") + width.to_bytes(4, "little") + image.tobytes()


@pytest.mark.parametrize("key", [ord("q"), ord("Q"), 27])
def test_q_and_escape_quit(monkeypatch, key):
    window = FakeWindow([-1, ord("x"), key])
    assert run_viewer(monkeypatch, window, sent(PICTURE), hang_up=False) == [b"ready", b"quit"]
    assert np.array_equal(window.shown[0], PICTURE)
    assert window.sizes == [(160, 120)]
    assert window.keys == []


def test_closing_the_window_quits(monkeypatch):
    window = FakeWindow([], visible=0.0)
    assert run_viewer(monkeypatch, window, sent(PICTURE), hang_up=False) == [b"ready", b"quit"]


class FakeDisplay:
    """An X display of which only the `painted`-th window on it is ever painted."""

    size_wh = (640, 480)

    def __init__(self, windows, painted):
        self.windows, self.painted = windows, painted

    def colour_at(self, _x, _y):
        return (90, 90, 90) if len(self.windows) >= self.painted else (0, 0, 0)


@pytest.mark.parametrize("painted", [1, 3])
def test_a_full_screen_that_is_never_painted_is_opened_anew(monkeypatch, painted):
    """Qt sometimes misses that a bare X server has mapped its window."""
    opened, enlarged = [], []
    window = FakeWindow([])
    window.install(monkeypatch)
    monkeypatch.setattr(screen.cv2, "namedWindow", lambda *a: opened.append(a))
    monkeypatch.setattr(screen.cv2, "destroyWindow", lambda _t: None)
    monkeypatch.setattr(screen.cv2, "moveWindow", lambda *a: None)
    monkeypatch.setattr(screen.cv2, "setWindowProperty", lambda *a: enlarged.append(a))
    monkeypatch.setattr(screen.cv2, "getWindowImageRect", lambda _t: (0, 149, 640, 182))
    monkeypatch.setattr(screen, "PAINT_S", 0.01)
    display = FakeDisplay(opened, painted)
    monkeypatch.setattr(screen, "XDisplay", lambda: display)

    def press_q_when_painted(_ms):
        time.sleep(0.02)
        return ord("q") if window.shown and len(opened) == painted else -1

    monkeypatch.setattr(screen.cv2, "waitKey", press_q_when_painted)
    said = run_viewer_on(sent(PICTURE))
    assert said == [b"ready", b"size", b"640", b"480", b"quit"]
    assert len(opened) == painted == len(enlarged)
    assert len(window.shown) == painted  # what was shown is shown again
    assert window.sizes[-1] == (640, 480)


@pytest.mark.parametrize("data", [b"", b"\x01", sent(PICTURE)[:-1]], ids=["none", "half", "cut"])
def test_the_viewer_ends_with_its_pipe(monkeypatch, data):
    window = FakeWindow([])
    assert run_viewer(monkeypatch, window, data) == [b"ready"]
    assert window.shown == []


def test_a_quit_is_heard_by_the_gate(monkeypatch):
    said = "import sys, time; print('ready', flush=True); sys.stdin.buffer.read(12); print('quit')"
    monkeypatch.setenv("DISPLAY", ":0")

    def start_child(_title, _full_screen):
        command = [sys.executable, "-c", said]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    window = Window(start_child=start_child)
    assert not window.quit_asked
    window.show(PICTURE)
    assert until(lambda: window.quit_asked)
    assert until(lambda: not window.alive)
    window.close()
