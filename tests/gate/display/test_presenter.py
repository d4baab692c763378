"""Presenter: draws each scene once for window and recording, and not at all without them."""

from types import SimpleNamespace

import numpy as np
import pytest

from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.presenter import Presenter
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.domain import Decision, Frame, Reason, State, Track
from mask_gate.gate.events import Scene

FRAME = Frame(np.full((120, 160, 3), 90, np.uint8), 5.0, 1)
SCENE = Scene(Decision(State.DENY, Reason.NO_MASK, 5.0))


TEXTS = load_texts("en")


def shown_by(screen, recorder, privacy=None, **more):
    return Presenter(screen, recorder, TEXTS, privacy or PrivacyConfig(), **more)


class FakeScreen:
    size_wh = None

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
    shown_by(screen, recorder)(FRAME, SCENE)
    (image,) = screen.shown
    assert image.shape == FRAME.image.shape
    assert (image != FRAME.image).any()
    assert recorder.written == [(image, FRAME.time_s)]


def test_the_frame_itself_is_left_alone(screen):
    before = FRAME.image.copy()
    shown_by(screen, None)(FRAME, SCENE)
    assert (FRAME.image == before).all()


def test_with_neither_nothing_is_drawn():
    picture = shown_by(None, None)
    picture(Frame(None, 5.0, 1), SCENE)  # to draw this would fail
    assert not picture.quit_asked


def test_a_window_that_went_away_is_told_once_and_missed_no_further(screen, recorder, caplog):
    picture = shown_by(screen, recorder)
    screen.alive = False
    picture(FRAME, SCENE)
    picture(FRAME, SCENE)
    assert screen.shown == []
    assert len(recorder.written) == 2
    assert caplog.messages == ["the window is gone; the gate goes on without it"]


def test_quit_is_asked_by_the_window(screen):
    picture = shown_by(screen, None)
    assert not picture.quit_asked
    screen.quit_asked = True
    assert picture.quit_asked


def test_the_visitors_screen_is_larger_than_the_picture_and_the_recording_is_not(screen, recorder):
    shown_by(screen, recorder, visitor_screen=True)(FRAME, SCENE)
    assert screen.shown[0].shape == (720, 1280, 3)
    assert recorder.written[0][0].shape == FRAME.image.shape


@pytest.mark.parametrize("visitor_screen", [False, True])
@pytest.mark.parametrize("who", ["visitor", "guard", "recording"])
def test_faces_are_blurred_for_those_the_configuration_names(recorder, visitor_screen, who):
    frame = Frame(np.random.default_rng(1).integers(0, 256, (120, 160, 3), np.uint8), 5.0, 1)
    face = Track(1, (40.0, 20.0, 100.0, 90.0), (), 4.0, 5.0)
    scene = Scene(SCENE.decision, (face,))

    def pictures(privacy):
        screen = FakeScreen()
        shown_by(screen, recorder, privacy, visitor_screen=visitor_screen)(frame, scene)
        return screen.shown[-1], recorder.written[-1][0]

    sharp = pictures(PrivacyConfig())
    given = pictures(PrivacyConfig(**{f"blur_{who}": True}))
    differs = [(a != b).any() for a, b in zip(sharp, given, strict=True)]
    assert differs == [who == ("visitor" if visitor_screen else "guard"), who == "recording"]


def test_a_listener_gets_each_scene_also_without_a_window():
    seen = []
    listener = SimpleNamespace(show=lambda frame, scene: seen.append((frame, scene)))
    shown_by(None, None, listener=listener)(FRAME, SCENE)
    assert seen == [(FRAME, SCENE)]
