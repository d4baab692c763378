"""Distrust: who was denied must show for longer that it has changed, under whatever number."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.domain import Reason, Sighting, State, Track
from mask_gate.models.labels import MaskLabel

FRAME_HW = (1000, 2000)
MASK, BARE, BADLY = MaskLabel
CONFIG = PolicyConfig()


class Door:
    """Plays what one face shows, a label a frame; None where it was missed."""

    def __init__(self, fps=10.0, **fields):
        self.policy = Policy(PolicyConfig(**fields))
        self.fps = fps
        self.now_s = 100.0
        self.track_id = 1
        self.x = 500.0
        self.sightings = ()

    def vanish(self, seconds):
        """Nobody is there; then somebody else comes, as far as the tracker can tell."""
        for _ in range(round(seconds * self.fps)):
            self.now_s += 1 / self.fps
            self.policy.decide((), self.now_s, FRAME_HW)
        self.track_id, self.sightings = self.track_id + 1, ()

    def show(self, label, score=0.9):
        self.now_s += 1 / self.fps
        if label is not None:
            self.sightings = (*self.sightings[-40:], Sighting(self.now_s, label, score, 0.8))
        box = (self.x - 100, 400.0, self.x + 100, 600.0)
        newest_s = self.sightings[-1].time_s if self.sightings else self.now_s
        tracks = (Track(self.track_id, box, self.sightings, 0.0, newest_s),)
        return self.policy.decide(tracks, self.now_s, FRAME_HW)

    def waited_s(self, *labels):
        """How long these are shown, again and again, until the door is open; at most 9 s."""
        began_s = self.now_s
        while self.now_s < began_s + 9:
            for label in labels:
                if self.show(label).state is State.ALLOW:
                    return self.now_s - began_s
        return None

    def be_denied(self, label=BARE):
        for _ in range(round(self.fps)):
            decision = self.show(label)
        assert decision.state is State.DENY


@pytest.mark.parametrize("fps", [4, 10, 15, 60])
@pytest.mark.parametrize("label", [BARE, BADLY])
def test_a_changed_mind_takes_two_seconds_at_any_frame_rate(fps, label):
    door = Door(fps)
    door.be_denied(label)
    assert CONFIG.distrust_s <= door.waited_s(MASK) <= CONFIG.distrust_s + 2.5 / fps


def test_others_wait_no_longer_than_before():
    assert Door(10).waited_s(MASK) < 0.8


def test_meanwhile_the_gate_is_in_doubt():
    door = Door()
    door.be_denied()
    reasons = [door.show(MASK).reason for _ in range(19)]
    assert set(reasons[-8:]) == {Reason.UNCERTAIN}


@pytest.mark.parametrize("label", [BARE, BADLY])
def test_one_look_at_the_bare_face_begins_the_wait_anew(label):
    door = Door()
    door.be_denied()
    for _ in range(18):
        door.show(MASK)
    door.show(label, score=0.2)
    assert door.waited_s(MASK) >= CONFIG.distrust_s


def test_a_hidden_face_begins_the_wait_anew():
    door = Door()
    door.be_denied()
    for _ in range(15):
        door.show(MASK)
    for _ in range(7):
        door.show(None)
    assert door.waited_s(MASK) >= CONFIG.distrust_s


def test_weak_sightings_prove_nothing():
    door = Door()
    door.be_denied()
    assert {door.show(MASK, score=0.3).state for _ in range(90)} <= {State.DENY, State.CHECKING}


@pytest.mark.parametrize(("gone_s", "waits"), [(0.5, True), (2.5, True), (3.5, False)])
def test_a_new_face_where_one_vanished_inherits_the_distrust(gone_s, waits):
    door = Door()
    door.be_denied()
    door.vanish(gone_s)
    door.x += 150
    assert (door.waited_s(MASK) >= CONFIG.distrust_s) == waits


def test_a_face_elsewhere_inherits_nothing():
    door = Door()
    door.be_denied()
    door.vanish(0.5)
    door.x += 700
    assert door.waited_s(MASK) < 1


def test_trust_once_earned_is_whole():
    door = Door(cool_down_s=0)
    door.be_denied()
    assert door.waited_s(MASK)
    door.vanish(1.0)
    assert door.waited_s(MASK) < 1


def test_it_can_be_switched_off():
    door = Door(distrust_s=0)
    door.be_denied()
    assert door.waited_s(MASK) < 1.5


def test_it_outlasts_a_fault():
    door = Door()
    door.be_denied()
    door.policy.fault(Reason.BAD_IMAGE, door.now_s)
    assert door.waited_s(MASK) >= CONFIG.distrust_s


@settings(max_examples=60, deadline=None)
@given(
    shown=st.lists(st.sampled_from([MASK, MASK, MASK, BARE, BADLY, None]), max_size=60),
    fps=st.sampled_from([5, 12, 30]),
)
def test_whatever_is_shown_nobody_is_let_in_within_two_seconds_of_a_bare_sight(shown, fps):
    door = Door(fps)
    door.be_denied()
    bare_s = door.now_s
    for label in [*shown, *[MASK] * (3 * fps)]:
        decision = door.show(label)
        if label in (BARE, BADLY):
            bare_s = door.now_s
        if decision.state is State.ALLOW:
            assert door.now_s - bare_s >= CONFIG.distrust_s - 1e-6
            return  # from here on it is trusted as anybody
