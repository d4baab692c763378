"""What the gate says to the person who started it."""

import logging
import os
from datetime import datetime

import pytest

from mask_gate.gate.domain import Decision, Reason, Sighting, State, Track
from mask_gate.gate.events import Scene
from mask_gate.gate.system.terminal import Terminal, local_now
from mask_gate.gate.system.threads import DOOR, DoorThread
from mask_gate.models.labels import MaskLabel

WALL = datetime(2025, 1, 1, 9, 5, 3)
FACE = Track(1, (0.0, 0.0, 9.0, 9.0), (Sighting(5.0, MaskLabel.WITH_MASK, 0.9, 0.8),), 4.0, 5.0)


@pytest.fixture
def said():
    """Runs something with a terminal and returns the lines it wrote."""

    def run(act):
        ear, mouth = os.pipe()
        terminal = Terminal(lambda: WALL, mouth)
        os.close(mouth)
        act(terminal)
        terminal.close()
        with os.fdopen(ear) as lines:
            return lines.read().splitlines()

    return run


def scene(state, reason, *tracks):
    return Scene(Decision(state, reason, 5.0), tracks, latency_s=0.0384)


@pytest.mark.parametrize(
    ("shown", "is_open", "line"),
    [
        (
            scene(State.ALLOW, Reason.COMPLIANT, FACE),
            True,
            "09:05:03  ALLOW     door OPEN    compliant, 1 face, 38 ms",
        ),
        (
            scene(State.DENY, Reason.GROUP_MIXED, FACE, FACE),
            False,
            "09:05:03  DENY      door locked  group mixed, 2 faces, 38 ms",
        ),
        (
            scene(State.IDLE, Reason.NO_FACE),
            False,
            "09:05:03  IDLE      door locked  no face, 38 ms",
        ),
        (
            scene(State.FAULT, Reason.CAMERA_LOST),
            False,
            "09:05:03  FAULT     door locked  camera lost",
        ),
    ],
)
def test_one_line_for_a_decision(said, shown, is_open, line):
    assert said(lambda terminal: terminal.status(shown, is_open)) == [line]


def test_the_log_comes_in_the_same_form(said):
    def act(terminal):
        logger = logging.getLogger("mask_gate.gate.test_terminal")
        logger.addHandler(terminal)
        logger.warning("camera %s is lost", "demo")
        logger.removeHandler(terminal)

    assert said(act) == ["09:05:03  warning   camera demo is lost"]


def test_the_log_of_one_of_several_doors_begins_with_its_name(said):
    def act(terminal):
        logger = logging.getLogger("mask_gate.gate.test_terminal.doors")
        logger.addHandler(terminal)
        door = DoorThread(hold, (logger,))
        door.start()
        door.join()
        logger.removeHandler(terminal)

    def hold(logger):
        DOOR.set("north")
        relay = DoorThread(logger.error, ("no answer",))  # of the door, as its thread has begun it
        relay.start()
        relay.join()

    assert said(act) == ["09:05:03  north  error     no answer"]


def test_the_time_of_day_knows_where_it_is():
    assert local_now().utcoffset() is not None
