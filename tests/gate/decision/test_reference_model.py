"""Policy and door against the rule of the entrance said a second time, slowly and plainly.

The reference looks the whole history through in every frame, keeps no evidence of its own, and
shares no code with the gate. Ten thousand random traces: the gate never opens where it would not.
"""

import math
import random
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.domain import Reason, Sighting, SignalKind, State, Track
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.models.labels import MaskLabel

PARTS, EXAMPLES, TRACES_EACH = 4, 25, 100  # parts, so that they may run beside each other
FRAME_HW = (1000, 3000)
BLINK_S = 1e-6  # frame times are sums of floats
MASK, BARE, BADLY = MaskLabel
DOUBTS = (
    {"label": None},
    {"score": 0.3},
    {"margin": 0.0},
    {"score": math.nan},
    {"label": BARE},
    {"label": BADLY, "score": 0.2},
    {"x": 1400.0, "height": 120.0},
    {"x": 1600.0},
    {"cut_off": 0.8},
)
LEFT_HALF = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))


@dataclass(frozen=True)
class Face:
    """One person in one frame; without a label the detector missed it."""

    x: float
    height: float
    label: MaskLabel | None
    score: float = 0.9
    margin: float = 0.8
    cut_off: float = 0.0

    @property
    def box_xyxy(self):
        """A square, of which the upper edge of the picture may hide a part."""
        half = self.height / 2
        top = 500 - half + self.cut_off * self.height
        return (self.x - half, top, self.x + half, 500 + half)


@dataclass
class Passage:
    """One permission: to whom, from when, how far it reaches, and when it was over."""

    people: set[int]
    began_s: float
    until_s: float
    ended_s: float = math.inf


class Reference:
    """The rule: `frame` returns until when the door may be open, or None."""

    def __init__(self, config):
        self.config = config
        self.history = []  # (time_s, {person: Face})
        self.faults_s = [-math.inf]
        self.passages = []

    def fault(self, time_s):
        self.faults_s.append(time_s)
        self._end_passage(time_s)

    def frame(self, time_s, faces):
        self.history.append((time_s, faces))
        if self.passages and time_s > self.passages[-1].until_s:
            self._end_passage(self.passages[-1].until_s)
        near = {who: face for who, face in faces.items() if self._matters(face)}
        proven_s = [self._proven_s(who) for who in near]
        if not near or None in proven_s or not self._may_pass(near):
            self._end_passage(time_s)
            return None
        if not self._under_way:
            self.passages.append(Passage(set(), time_s, time_s))
        passage = self.passages[-1]
        passage.people |= set(near)
        passage.until_s = min(proven_s) + self.config.lease_s
        return passage.until_s

    @property
    def _under_way(self):
        return bool(self.passages) and self.passages[-1].ended_s == math.inf

    def _end_passage(self, time_s):
        if self._under_way:
            self.passages[-1].ended_s = min(time_s, self.passages[-1].until_s)

    def _matters(self, face):
        in_zone = face.x / FRAME_HW[1] <= max(x for x, _ in self.config.zone)
        return in_zone and face.height / FRAME_HW[0] >= self.config.near_face

    def _may_pass(self, near):
        """With everyone proven: whether a passage is under way, or one may begin."""
        now_s = self.history[-1][0]
        if self._under_way:
            return now_s - self.passages[-1].began_s < self.config.hold_s - BLINK_S
        return any(
            face.height / FRAME_HW[0] >= self.config.min_face
            and not any(
                who in passage.people and now_s < passage.ended_s + self.config.cool_down_s
                for passage in self.passages
            )
            for who, face in near.items()
        )

    def _proven_s(self, who):
        """When this person was last seen to comply, or None if that is not proven."""
        config = self.config
        now_s = self.history[-1][0]
        seen = [
            (time_s, faces[who])
            for time_s, faces in self.history
            if who in faces
            and faces[who].label is not None
            and time_s > max(self.faults_s)
            and now_s - time_s <= config.window_s + BLINK_S
        ]
        if not seen or not self._complies(seen[-1][1]):
            return None
        votes = config.votes(None)
        good_s = [
            time_s
            for time_s, face in seen
            if self._complies(face)
            and face.score >= votes.min_scores[face.label]
            and face.margin >= votes.min_margin
        ]
        frames = sum(time_s >= seen[0][0] for time_s, _ in self.history)
        inside = self._under_way and who in self.passages[-1].people
        share = config.leave_share if inside else config.enter_share
        patience_s = config.evidence_gap_s if inside else 0.0
        proven = (
            len(good_s) >= config.min_frames
            and len(good_s) >= share * frames
            and good_s[-1] - good_s[0] >= config.min_evidence_s - BLINK_S
            and now_s - good_s[-1] <= patience_s
        )
        return good_s[-1] if proven else None

    def _complies(self, face):
        return face.label is MASK or (
            face.label is BADLY and not self.config.incorrect_is_violation
        )


configs = st.builds(
    PolicyConfig,
    zone=st.sampled_from([PolicyConfig().zone, LEFT_HALF]),
    window_s=st.sampled_from([0.6, 1.0]),
    min_evidence_s=st.sampled_from([0.1, 0.3, 0.5]),
    min_frames=st.integers(2, 4),
    enter_share=st.sampled_from([0.7, 0.8, 1.0]),
    leave_share=st.sampled_from([0.55, 0.6, 0.7]),
    evidence_gap_s=st.sampled_from([0.0, 0.25]),
    lease_s=st.sampled_from([0.4, 1.0]),
    hold_s=st.sampled_from([0.5, 4.0]),
    cool_down_s=st.sampled_from([0.0, 0.3, 3.0]),
    incorrect_is_violation=st.booleans(),
)


def random_frames(dice):
    """One visit: (time s, {person: Face}, whether the frame is a fault), for a few seconds.

    Nobody comes after somebody has left, so no face can be taken for another one found again.
    """
    fps = dice.choice([4, 5, 8, 10, 15, 30])
    now_s = 50.0
    people = {}
    for person in range(dice.choice([1, 1, 1, 1, 2, 2, 3])):
        label = dice.choice([MASK] * 6 + [BARE, BADLY])
        height = dice.choice([200.0] * 6 + [100.0, 99.0, 75.0, 60.0])
        comes = 0 if person == 0 else dice.randrange(6)
        people[person] = (Face(300.0 + 1000 * person, height, label), comes)
    calm = dice.choice([1.0, 0.97, 0.85])
    for index in range(dice.randint(6, 12)):
        now_s += 1 / fps if dice.random() < 0.95 else dice.uniform(0.01, 1.3)
        faces = {}
        for person, (usual, comes) in people.items():
            if index < comes or (person and index > comes + 5):
                continue
            look = usual
            if dice.random() > calm:
                look = replace(usual, **dice.choice(DOUBTS))
            faces[person] = look
        yield now_s, faces, dice.random() < 0.01


class Gate:
    """Policy and door as the runtime drives them, on a clock of the test's own."""

    def __init__(self, config, clock):
        self.clock = clock
        self.policy = Policy(config)
        self.edges = []
        self.door = Door(DoorConfig(), clock, lambda signal: self.edges.append(signal.kind))
        self.door.start(timer=False)
        self.tracks = {}

    def decide(self, time_s, faces):
        self.tracks = {who: self._track(who, time_s, face) for who, face in faces.items()}
        return self.policy.decide(tuple(self.tracks.values()), time_s, FRAME_HW)

    def _track(self, who, time_s, face):
        before = self.tracks.get(who)
        sightings = before.sightings if before else ()
        if face.label is not None:
            sightings = (*sightings, Sighting(time_s, face.label, face.score, face.margin))
        born_s = before.first_seen_s if before else time_s
        return Track(who, face.box_xyxy, sightings, born_s, time_s)


def play(config, clock, seed):
    """One trace through gate and reference; the number of openings."""
    dice = random.Random(seed)
    gate, reference = Gate(config, clock), Reference(config)
    permits_s = []  # ends of all leases the reference gave since it last said no
    for time_s, faces, is_fault in random_frames(dice):
        while clock() < time_s:  # time goes by, the timer ticks
            clock.now_s = min(time_s, clock() + dice.uniform(0.02, 0.3))
            gate.door.tick()
            assert not gate.door.is_open or clock() < max(permits_s, default=0.0)
        clock.advance(dice.choice([0.0, 0.03, 0.03, 0.6]))  # the detector takes its time
        if is_fault:
            reference.fault(time_s)
            decision, until_s = gate.policy.fault(Reason.BAD_IMAGE, time_s), None
        else:
            until_s = reference.frame(time_s, faces)
            decision = gate.decide(time_s, faces)
        assert (decision.state is State.ALLOW) == (until_s is not None)
        assert decision.until_s == until_s
        said_no_before = not permits_s
        permits_s = [] if until_s is None else [*permits_s, until_s]
        gate.door.apply(decision)
        fresh = clock() - time_s <= 0.5
        if gate.door.is_open:
            assert clock() < max(permits_s)
        elif until_s is not None and said_no_before:
            assert not fresh or until_s <= clock(), "the gate stays shut without a reason"
        assert gate.door.is_open <= (until_s is not None)
    gate.door.close()
    assert gate.edges[0] is gate.edges[-1] is SignalKind.DENY
    return gate.edges.count(SignalKind.ALLOW)


@pytest.mark.parametrize("part", range(PARTS))
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(config=configs, seed=st.integers(0, 2**32))
def test_the_gate_never_opens_where_the_rule_would_not(part, config, seed, make_clock):
    for trace in range(TRACES_EACH):
        play(config, make_clock(50.0), f"{part} {seed} {trace}")


def test_the_random_traces_do_open_the_door(make_clock):
    openings = [play(PolicyConfig(cool_down_s=0.3), make_clock(50.0), seed) for seed in range(200)]
    assert 40 <= sum(count > 0 for count in openings) <= 160
    assert max(openings) >= 2
