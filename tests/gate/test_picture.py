"""The picture: drawn once, for the window and the recording, and for neither when there is none."""

from types import SimpleNamespace

import numpy as np
import pytest

from gate.domain import Decision, Frame, Reason, State
from gate.events import Scene
from gate.picture import Picture

FRAME = Frame(np.full((120, 160, 3), 90, np.uint8), 5.0, 1)
SCENE = Scene(Decision(State.DENY, Reason.NO_MASK, 5.0))


class FakeScreen:
    def __init__(self):
        self.alive, self.quit_asked, self.shown = True, False, []

    def show(self, image):
        self.shown.append(image)


@pytest.fixture
def screen():
    return FakeScreen()


@pytest.fixture
def recorder():
    written = []
    return SimpleNamespace(written=written, write=lambda *image: written.append(image))


def test_window_and_recording_get_the_same_drawing(screen, recorder):
    Picture(screen, recorder)(FRAME, SCENE)
    (image,) = screen.shown
    assert image.shape == FRAME.image.shape
    assert (image != FRAME.image).any()
    assert recorder.written == [(image, FRAME.time_s)]


def test_the_frame_itself_is_left_alone(screen):
    before = FRAME.image.copy()
    Picture(screen, None)(FRAME, SCENE)
    assert (FRAME.image == before).all()


def test_with_neither_nothing_is_drawn(monkeypatch):
    monkeypatch.setattr("gate.picture.draw", lambda *_: pytest.fail("drawn for nobody"))
    picture = Picture(None, None)
    picture(FRAME, SCENE)
    assert not picture.quit_asked


def test_a_window_that_went_away_is_told_once_and_missed_no_further(screen, recorder, caplog):
    picture = Picture(screen, recorder)
    screen.alive = False
    picture(FRAME, SCENE)
    picture(FRAME, SCENE)
    assert screen.shown == []
    assert len(recorder.written) == 2
    assert caplog.messages == ["the window is gone; the gate goes on without it"]


def test_quit_is_asked_by_the_window(screen):
    picture = Picture(screen, None)
    assert not picture.quit_asked
    screen.quit_asked = True
    assert picture.quit_asked
