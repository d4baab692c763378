"""Doubt reaches the door: a face nobody can class keeps it shut for everyone beside it."""

import numpy as np
import pytest

from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.decision.tracker import Tracker, TrackerConfig
from mask_gate.gate.domain import State
from mask_gate.models.nms import suppress

FRAME_HW = (480, 640)


def predictions(*faces):
    """Rows as the network gives them: (x1, objectness, class probabilities)."""
    rows = [[x1, 150, x1 + 100, 270, objectness, *classes] for x1, objectness, classes in faces]
    return np.array(rows, np.float32)


def states(*faces, seconds=2.0, fps=15):
    tracker, policy = Tracker(TrackerConfig()), Policy(PolicyConfig())
    for index in range(round(seconds * fps)):
        time_s = index / fps
        found = suppress(predictions(*faces), 0.1)
        yield policy.decide(tracker.update(found, time_s), time_s, FRAME_HW).state


COMPLIANT = (100, 0.95, (0.98, 0.01, 0.01))


def test_one_compliant_face_is_let_in():
    assert State.ALLOW in set(states(COMPLIANT))


@pytest.mark.parametrize(
    "doubtful",
    [
        (400, 0.98, (0.36, 0.39, 0.25)),  # a hand before the mouth: all classes alike
        (400, 0.98, (0.34, 0.33, 0.33)),
        (400, 0.40, (0.60, 0.30, 0.10)),  # hardly a face, hardly a mask
        (400, 0.39, (0.01, 0.98, 0.01)),  # bare, seen badly
        (400, 0.16, (0.01, 0.98, 0.01)),  # bare, hardly seen: no face at all if it were masked
        (400, 0.16, (0.01, 0.01, 0.98)),
    ],
)
def test_a_face_in_doubt_beside_it_keeps_the_door_shut(doubtful):
    assert State.ALLOW not in set(states(COMPLIANT, doubtful))
