"""The visitor's screen: one state, told by colour, sign and texts, whatever the picture is."""

import dataclasses
from itertools import combinations

import cv2
import numpy as np
import pytest

from mask_gate.gate.display.overlay import STATE_STYLES
from mask_gate.gate.display.texts import language_codes, load_texts
from mask_gate.gate.display.visitor_screen import draw_visitor_screen
from mask_gate.gate.domain import Decision, Reason, Sighting, State, Track
from mask_gate.models.labels import MaskLabel

TEXTS = load_texts("en")
PICTURE = np.full((480, 640, 3), 90, np.uint8)
FACE = Track(1, (200.0, 100.0, 330.0, 260.0),
             (Sighting(5.0, MaskLabel.WITHOUT_MASK, 0.9, 0.8),), 4.0, 5.0)  # fmt: skip


def screen(state=State.DENY, reason=Reason.NO_MASK, texts=TEXTS, image=PICTURE, tracks=()):
    return draw_visitor_screen(image, tracks, Decision(state, reason, 5.0), texts)


def test_it_has_the_colour_of_its_state_all_around():
    for state in State:
        drawn = screen(state)
        assert (drawn[:, :4] == STATE_STYLES[state][0]).all()
        assert (drawn[:20] == STATE_STYLES[state][0]).all()


def test_states_differ_without_colour_and_without_words():
    nothing = dict.fromkeys(Reason, " ")
    blank = dataclasses.replace(TEXTS, states=dict.fromkeys(State, " "), advice=nothing)
    edges = [cv2.Canny(screen(state, texts=blank)[480:, :250], 60, 120) for state in State]
    for one, other in combinations(edges, 2):
        assert ((one > 0) != (other > 0)).sum() > 300


@pytest.mark.parametrize("code", language_codes())
def test_words_stand_out_from_their_ground_and_are_large(code):
    for state in State:
        drawn = screen(state, texts=load_texts(code))
        panel = drawn[464:, 250:].reshape(-1, 3).astype(float)
        letters = np.abs(panel - STATE_STYLES[state][0]).max(axis=1) > 60
        assert letters.sum() > 4000
        rows = np.flatnonzero(letters.reshape(256, -1).any(axis=1))
        assert rows[-1] - rows[0] > 120


def test_the_picture_with_its_boxes_is_in_it():
    with_box, without = screen(tracks=[FACE]), screen()
    assert (with_box != without).any()
    assert (with_box[464:] == without[464:]).all()


@pytest.mark.parametrize("size_wh", [(1280, 800), (1920, 1080), (800, 1280), (1080, 1920), (9, 5)])
@pytest.mark.parametrize("code", language_codes())
def test_it_is_laid_out_for_any_display(size_wh, code):
    decision = Decision(State.DENY, Reason.MASK_INCORRECT, 5.0)
    drawn = draw_visitor_screen(PICTURE, [FACE], decision, load_texts(code), size_wh)
    width, height = (max(side, 64) for side in size_wh)
    assert drawn.shape == (height, width, 3)
    picture = (drawn == PICTURE[0, 0]).all(axis=2)
    assert picture.any(axis=0).sum() > 0.6 * width or width > height
    assert picture.sum() > 0.25 * width * height


def test_visitors_are_not_shown_votes_and_numbers():
    decision = Decision(State.DENY, Reason.NO_MASK, 5.0, votes={1: {MaskLabel.WITHOUT_MASK: 9}})
    counted = draw_visitor_screen(PICTURE, [FACE], decision, TEXTS)
    assert (counted == screen(tracks=[FACE])).all()


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (1920, 1080), (1, 1), (2, 900)])
def test_any_picture_fits(size):
    assert screen(image=np.zeros((*size, 3), np.uint8)).shape == (720, 1280, 3)


def test_the_picture_given_is_left_alone():
    image = PICTURE.copy()
    image.flags.writeable = False
    screen(image=image, tracks=[FACE])
