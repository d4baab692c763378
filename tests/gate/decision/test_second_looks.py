"""Second looks: nobody is let in before they agree, one face a frame is looked at, doubt lasts."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.domain import Reason, Sighting, State, Track
from mask_gate.models.labels import MaskLabel

FRAME_HW = (1000, 2000)
MASK, BARE, _ = MaskLabel
CONFIG = PolicyConfig()


class Door:
    """Plays faces that are seen to comply, 10 frames a second, and answers the looks."""

    def __init__(self, faces=1, **fields):
        config = PolicyConfig(**fields)
        self.policy = Policy(config, looks=config.looks())
        self.faces = faces
        self.now_s = 100.0
        self.asked = []
        self.sightings = ()

    def frame(self, answer=True, label=MASK):
        """One frame; `answer` is what the look wanted before it says, None if it is not made."""
        self.now_s += 0.1
        if (wanted := self.policy.second_look) is not None and answer is not None:
            self.asked.append((round(self.now_s, 6), wanted.id))
            self.policy.hear(wanted.id, answer, self.now_s)
        self.sightings = (*self.sightings[-20:], Sighting(self.now_s, label, 0.9, 0.8))
        tracks = tuple(
            Track(number, (x - 100.0, 400.0, x + 100.0, 600.0), self.sightings, 0.0, self.now_s)
            for number, x in enumerate((300.0, 800.0, 1300.0)[: self.faces], start=1)
        )
        return self.policy.decide(tracks, self.now_s, FRAME_HW)

    def run(self, seconds, **options):
        return [self.frame(**options) for _ in range(round(10 * seconds))]


def opened(decisions):
    return any(decision.state is State.ALLOW for decision in decisions)


def test_a_face_borne_out_is_let_in_after_as_many_looks_as_are_wanted():
    door = Door(second_looks=3)
    for _ in range(30):
        if door.frame().state is State.ALLOW:
            break
    assert len(door.asked) == 3


def test_nobody_is_let_in_while_the_looks_are_not_made():
    decisions = Door().run(5, answer=None)
    assert not opened(decisions)
    assert decisions[-1].reason is Reason.UNCERTAIN


def test_nobody_is_looked_at_who_would_not_be_let_in():
    door = Door()
    door.run(3, label=BARE)
    assert door.policy.second_look is None
    assert not door.asked


def test_nobody_is_let_in_whom_the_looks_doubt():
    assert not opened(Door().run(5, answer=False))


def test_a_doubt_lasts_as_long_as_evidence():
    door = Door()
    door.run(0.6)
    door.frame(answer=None)
    doubt_s = door.now_s + 0.1
    door.policy.hear(1, False, doubt_s)
    for _ in range(40):
        if door.frame().state is State.ALLOW:
            break
    assert CONFIG.window_s < door.now_s - doubt_s < CONFIG.window_s + 0.5


def test_a_doubt_ends_an_opening_at_once():
    door = Door()
    assert opened(door.run(1.5))
    while door.policy.second_look is None:
        door.frame()
    assert door.frame(answer=False).state is not State.ALLOW


def test_an_opening_is_not_renewed_by_old_looks():
    door = Door()
    assert opened(door.run(1.5))
    assert not opened(door.run(2, answer=None)[11:])


def test_each_face_is_looked_at_in_its_turn_with_a_pause():
    door = Door(faces=3, second_looks=20)
    door.run(4)
    asked_s = [time_s for time_s, _ in door.asked]
    assert len(set(asked_s)) == len(asked_s)  # one a frame
    for number in (1, 2, 3):
        mine = [time_s for time_s, asked in door.asked if asked == number]
        assert len(mine) > 6
        gaps = [b - a for a, b in pairwise(mine)]
        assert min(gaps) >= CONFIG.second_look_s


def test_everybody_must_be_borne_out():
    door = Door(faces=2)
    for _ in range(40):
        wanted = door.policy.second_look
        assert door.frame(answer=wanted is None or wanted.id == 1).state is not State.ALLOW


def test_they_can_be_switched_off():
    assert opened(Door(second_looks=0).run(1, answer=None))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([True, True, True, False, None]), min_size=1, max_size=60))
def test_whatever_the_looks_say_the_door_is_locked_for_a_second_after_a_doubt(answers):
    door, doubt_s = Door(), -1.0
    for answer in answers:
        was_wanted = door.policy.second_look is not None
        decision = door.frame(answer=answer)
        if was_wanted and answer is False:
            doubt_s = door.now_s
        if decision.state is State.ALLOW:
            assert door.now_s - doubt_s > CONFIG.window_s
            assert len(door.asked) >= CONFIG.second_looks
