"""The overlay: it shows what it was given, fits every picture and never touches the one given."""

import dataclasses
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.display import overlay
from mask_gate.gate.display.texts import load_texts
from mask_gate.gate.domain import Decision, Reason, Sighting, State, Track
from mask_gate.models.class_colours import class_bgr
from mask_gate.models.labels import MaskLabel

ENGLISH = load_texts("en")
NOW_S = 10.0
GREY = 127


def draw(image, tracks, decision, texts=ENGLISH):
    return overlay.draw_overlay(image, tracks, decision, texts)


def picture(height=480, width=640):
    return np.full((height, width, 3), GREY, np.uint8)


def person(box, label=MaskLabel.WITH_MASK, id=1, last_seen_s=NOW_S):
    sightings = () if label is None else (Sighting(last_seen_s, label, 0.9, 0.8),)
    return Track(id, box, sightings, NOW_S - 1, last_seen_s)


def decision(state=State.CHECKING, reason=Reason.UNCERTAIN, votes=None):
    return Decision(state, reason, NOW_S, votes=votes or {})


def changed(before, after):
    return (before != after).any(axis=2)


def has_colour(image, colour):
    return bool((np.abs(image.astype(int) - colour).max(axis=2) < 12).any())


def test_the_picture_given_is_left_alone():
    image = picture()
    image.flags.writeable = False
    drawn = draw(image, [person((100, 100, 200, 220))], decision())
    assert drawn.shape == image.shape
    assert drawn.dtype == np.uint8
    assert not np.shares_memory(drawn, image)
    assert (image == GREY).all()


def test_nobody_there_changes_only_the_banner():
    image = picture()
    rows = changed(image, draw(image, [], decision(State.IDLE, Reason.NO_FACE))).any(axis=1)
    assert rows[-40:].all()
    assert not rows[:360].any()


@pytest.mark.parametrize(
    ("label", "colour"),
    [
        *((label, class_bgr(label)) for label in MaskLabel),
        (None, overlay.GREY),
    ],
)
def test_every_class_has_its_colour_on_the_box(label, colour):
    drawn = draw(picture(), [person((200, 100, 330, 260), label)], decision())
    corner = drawn[97:104, 197:204].reshape(-1, 3).astype(int)
    assert (np.abs(corner - colour).max(axis=1) < 12).any()


def test_the_colours_of_the_classes_differ_in_brightness_too():
    looks = [overlay.LABEL_STYLES[label][0] for label in MaskLabel]
    grey = [int(cv2.cvtColor(np.uint8([[look]]), cv2.COLOR_BGR2GRAY)[0, 0]) for look in looks]
    assert len({overlay.LABEL_STYLES[label][1] for label in MaskLabel}) == 3
    assert min(abs(a - b) for a, b in combinations(grey, 2)) >= 5


def test_votes_decide_the_class_and_a_tie_is_shown_as_unsure():
    track = person((200, 100, 330, 260), MaskLabel.WITH_MASK)
    denied = draw(picture(), [track], decision(votes={1: {MaskLabel.WITHOUT_MASK: 7}}))
    assert has_colour(denied[:300], overlay.VERMILLION)
    assert not has_colour(denied[:300], overlay.GREEN)
    tie = {1: {MaskLabel.WITHOUT_MASK: 4, MaskLabel.WITH_MASK: 4}}
    unsure = draw(picture(), [track], decision(votes=tie))
    assert has_colour(unsure[:300], overlay.GREY)
    assert not has_colour(unsure[:300], overlay.GREEN)


def test_the_tag_tells_votes_and_track_id():
    def tag(id, votes):
        drawn = draw(picture(), [person((200, 200, 330, 360), id=id)], decision(votes={id: votes}))
        return drawn[150:198]

    seven, eight = ({MaskLabel.WITH_MASK: n, MaskLabel.WITHOUT_MASK: 9 - n} for n in (7, 8))
    assert changed(tag(1, seven), tag(1, eight)).any()
    assert changed(tag(1, seven), tag(2, seven)).any()


def test_a_track_missed_in_this_frame_looks_paler():
    here = draw(picture(), [person((200, 100, 330, 260))], decision())
    missed = draw(picture(), [person((200, 100, 330, 260), last_seen_s=NOW_S - 0.3)], decision())
    assert has_colour(here[97:104, 197:204], overlay.GREEN)
    assert not has_colour(missed[97:104, 197:204], overlay.GREEN)


def test_every_state_has_a_banner_of_its_own_and_so_has_every_fault():
    def banner(state, reason):
        return draw(picture(), [], decision(state, reason))[380:].tobytes()

    states = {banner(state, Reason.UNCERTAIN) for state in State}
    faults = {banner(State.FAULT, reason) for reason in Reason}
    assert len(states) == len(State)
    assert len(faults) == len(Reason)


def test_states_differ_without_colour_and_without_words():
    nothing = dict.fromkeys(Reason, " ")
    blank = dataclasses.replace(
        ENGLISH, states=dict.fromkeys(State, " "), reasons=nothing, advice=nothing
    )
    signs = set()
    for state in State:
        drawn = draw(picture(), [], decision(state), blank)
        grey = cv2.cvtColor(drawn[410:480, :78], cv2.COLOR_BGR2GRAY)
        signs.add((cv2.Canny(grey, 60, 120) > 0).tobytes())
    assert len(signs) == len(State)


def test_words_can_be_in_another_language():
    korean = load_texts("ko")
    denied = decision(State.DENY, Reason.NO_MASK)
    assert changed(draw(picture(), [], denied), draw(picture(), [], denied, korean)).any()


@pytest.mark.parametrize("size_hw", [(240, 320), (1080, 1920), (2160, 3840), (640, 360)])
def test_everything_grows_with_the_picture(size_hw):
    image = picture(*size_hw)
    rows = changed(image, draw(image, [], decision(State.IDLE, Reason.NO_FACE))).any(axis=1)
    unit = min(size_hw[0], 0.75 * size_hw[1])
    assert 0.14 * unit <= rows.sum() <= 0.18 * unit
    assert not rows[: size_hw[0] // 2].any()


@pytest.mark.parametrize(
    "box",
    [
        (float("nan"), 0, 10, 10),
        (0, 0, float("inf"), 10),
        (700, 10, 800, 50),
        (-50, -50, -10, -10),
        (100, 100, 100, 100),
        (200, 200, 100, 100),
    ],
    ids=["nan", "inf", "right of it", "left above", "a point", "inside out"],
)
def test_a_box_that_is_nowhere_is_left_out(box):
    without = draw(picture(), [], decision())
    assert np.array_equal(draw(picture(), [person(box)], decision()), without)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 700),
    width=st.integers(1, 700),
    boxes=st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 4), max_size=4),
    state=st.sampled_from(State),
    reason=st.sampled_from(Reason),
)
def test_any_picture_with_any_boxes_can_be_drawn(height, width, boxes, state, reason):
    tracks = [person(box, id=number) for number, box in enumerate(boxes)]
    drawn = draw(picture(height, width), tracks, decision(state, reason))
    assert drawn.shape == (height, width, 3)
