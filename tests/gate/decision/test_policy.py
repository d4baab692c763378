"""The rule of the entrance: who is let in, what revokes it, and that frame rate is no matter."""

import math
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.decision.zone import contains
from mask_gate.gate.domain import Reason, Sighting, State, Track
from mask_gate.models.labels import MaskLabel

FRAME_HW = (1000, 2000)
MASK, BARE, BADLY = MaskLabel.WITH_MASK, MaskLabel.WITHOUT_MASK, MaskLabel.MASK_WEARED_INCORRECT


def box(x=500.0, y=500.0, height=200.0):
    return (x - height / 2, y - height / 2, x + height / 2, y + height / 2)


@dataclass(frozen=True)
class Look:
    """How a face looks in one frame; `label` None: it was missed there."""

    label: MaskLabel | None = MASK
    score: float = 0.9
    margin: float = 0.8
    box_xyxy: tuple[float, float, float, float] | None = None


MISSED = Look(None)
WEAK = Look(MASK, score=0.3)


class Entrance:
    """Plays frames to a policy, with a perfect tracker between: `frame(A=MASK, B=BARE)`."""

    def __init__(self, fps=10.0, **fields):
        self.config = PolicyConfig(**fields)
        self.policy = Policy(self.config)
        self.fps = fps
        self.now = 100.0
        self.people = {}

    def id_of(self, name):
        return self.people[name].id

    def frame(self, **looks):
        """One frame of exactly these people; whoever is not named is gone for good."""
        self.now += 1 / self.fps
        self.people = {name: self._track(name, look) for name, look in looks.items()}
        return self.policy.decide(tuple(self.people.values()), self.now, FRAME_HW)

    def run(self, seconds, **looks):
        """The same people for a while; all decisions."""
        return [self.frame(**looks) for _ in range(round(seconds * self.fps))]

    def let_in(self, **looks):
        """Until the first ALLOW."""
        decision = self.run(0.9, **looks)[-1]
        assert decision.state is State.ALLOW
        return decision

    def _track(self, name, look):
        look = look if isinstance(look, Look) else Look(look)
        before = self.people.get(name)
        place = look.box_xyxy or (
            before.box_xyxy if before else box(x=300 + 500 * ((ord(name) - ord("A")) % 3))
        )
        old = before.sightings if before else ()
        if look.label is not None:
            old = (*old[-400:], Sighting(self.now, look.label, look.score, look.margin))
        first_s = before.first_seen_s if before else self.now
        last_s = old[-1].time_s if old else self.now
        return Track(ord(name), place, old, first_s, last_s)


def says(decision):
    return decision.state, decision.reason


def starts(decisions):
    """How many grants began."""
    allowed = [False, *(decision.state is State.ALLOW for decision in decisions)]
    return sum(now and not before for before, now in pairwise(allowed))


CHECKING = (State.CHECKING, Reason.UNCERTAIN)
COOLING = (State.CHECKING, Reason.COOL_DOWN)
ALLOWED = (State.ALLOW, Reason.COMPLIANT)


class TestEvidence:
    def test_nobody_is_let_in_when_nobody_is_there(self):
        assert says(Entrance().frame()) == (State.IDLE, Reason.NO_FACE)

    def test_one_frame_is_never_enough(self):
        assert says(Entrance().frame(A=MASK)) == CHECKING

    @pytest.mark.parametrize("fps", [10, 15, 24, 25, 30, 60, 120, 200])
    def test_half_a_second_is_enough_at_any_frame_rate_and_nothing_less(self, fps):
        gate = Entrance(fps)
        decisions = gate.run(1.0, A=MASK)
        first = next(d for d in decisions if d.state is State.ALLOW)
        waited = first.time_s - decisions[0].time_s
        assert 0.5 - 1e-6 <= waited < 0.5 + 1 / fps + 1e-6

    @pytest.mark.parametrize(("fps", "waited"), [(5, 0.6), (4, 0.75)])
    def test_a_slow_camera_needs_four_frames_all_the_same(self, fps, waited):
        decisions = Entrance(fps).run(2.0, A=MASK)
        first = next(d for d in decisions if d.state is State.ALLOW)
        assert first.time_s - decisions[0].time_s == pytest.approx(waited)

    @pytest.mark.parametrize("fps", [0.5, 1, 2])
    def test_a_camera_too_slow_to_tell_never_lets_in(self, fps):
        assert {d.state for d in Entrance(fps).run(30, A=MASK)} == {State.CHECKING}

    def test_permission_ends_a_lease_after_the_frame_it_was_seen_in(self):
        decision = Entrance(lease_s=1.25).let_in(A=MASK)
        assert says(decision) == ALLOWED
        assert decision.until_s == pytest.approx(decision.time_s + 1.25)

    def test_permission_is_renewed_frame_by_frame(self):
        gate = Entrance()
        first = gate.let_in(A=MASK)
        second = gate.frame(A=MASK)
        assert second.until_s - first.until_s == pytest.approx(0.1)

    def test_the_same_frame_told_ten_times_is_one_frame(self):
        policy = Policy(PolicyConfig(min_evidence_s=0.1))
        seen = [Sighting(t, MASK, 0.9, 0.8) for t in (1.0, 1.1, 1.2) for _ in range(10)]
        track = Track(1, box(), tuple(seen), 1.0, 1.2)
        assert says(policy.decide([track], 1.2, FRAME_HW)) == CHECKING

    def test_a_sighting_from_the_future_is_none(self):
        policy = Policy(PolicyConfig(min_frames=2, min_evidence_s=0.1))
        seen = tuple(Sighting(t, MASK, 0.9, 0.8) for t in (1.0, 1.1, 1.2, 1.3))
        assert says(policy.decide([Track(1, box(), seen, 1.0, 1.3)], 1.0, FRAME_HW)) == CHECKING

    def test_evidence_older_than_the_window_is_forgotten(self):
        gate = Entrance(hold_s=60)
        gate.let_in(A=MASK)
        assert gate.run(5, A=MASK)[-1].votes[gate.id_of("A")] == {MASK: 11}

    @pytest.mark.parametrize("look", [MISSED, WEAK])
    def test_a_face_not_well_seen_in_this_frame_is_not_let_in_on_older_ones(self, look):
        gate = Entrance()
        gate.run(0.9, A=MASK, B=WEAK)  # A has all it takes, B is in the way
        assert says(gate.frame(A=look)) == CHECKING
        assert says(gate.frame(A=MASK)) == ALLOWED

    @pytest.mark.parametrize(
        "look",
        [
            Look(score=0.34),
            Look(score=0.0),
            Look(score=-1.0),
            Look(score=1.01),
            Look(score=math.nan),
            Look(score=math.inf),
            Look(margin=0.1),
            Look(margin=-0.5),
            Look(margin=math.nan),
            Look(margin=math.inf),
        ],
    )
    def test_a_sighting_without_score_and_margin_votes_for_nothing(self, look):
        gate = Entrance()
        for decision in gate.run(3, A=look):
            assert says(decision) == CHECKING
            assert decision.votes == {gate.id_of("A"): {}}

    def test_every_fourth_sighting_weak_is_too_many_to_be_let_in(self):
        gate = Entrance(20)
        for _ in range(15):
            for look in (WEAK, MASK, MASK, MASK):
                assert says(gate.frame(A=look)) == CHECKING

    def test_every_sixth_is_not(self):
        gate = Entrance(20)
        states = [gate.frame(A=WEAK if i % 6 == 0 else MASK).state for i in range(30)]
        assert State.ALLOW in states

    def test_frames_in_which_the_face_was_missed_count_against_it(self):
        gate = Entrance(20)
        for index in range(60):
            assert says(gate.frame(A=MASK if index % 2 else MISSED)) == CHECKING

    def test_votes_name_every_face_and_class(self):
        gate = Entrance()
        gate.run(0.3, A=MASK, B=BARE)
        decision = gate.frame(A=BADLY, B=BARE)
        assert decision.votes == {
            gate.id_of("A"): {MASK: 3, BADLY: 1},
            gate.id_of("B"): {BARE: 4},
        }


class TestRevocation:
    @pytest.mark.parametrize("look", [BARE, BADLY, Look(BARE, score=0.2), Look(BARE, margin=0.0)])
    def test_a_single_sight_of_a_bare_face_revokes_at_once(self, look):
        gate = Entrance()
        gate.let_in(A=MASK)
        decision = gate.frame(A=look)
        assert says(decision) == CHECKING
        assert decision.until_s is None

    def test_a_new_face_revokes_at_once(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        assert says(gate.frame(A=MASK, B=MASK)) == CHECKING

    def test_a_new_face_that_is_hardly_sure_revokes_too(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        assert says(gate.frame(A=MASK, B=WEAK)) == CHECKING

    def test_an_identity_switch_revokes_at_once(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        assert says(gate.frame(B=MASK)) == CHECKING

    def test_one_of_a_group_who_takes_the_mask_off_revokes_it_for_all(self):
        gate = Entrance()
        gate.let_in(A=MASK, B=MASK, C=MASK)
        assert says(gate.frame(A=MASK, B=BARE, C=MASK)) == CHECKING

    def test_a_missed_face_renews_nothing_and_soon_revokes(self):
        gate = Entrance(evidence_gap_s=0.3)
        given = gate.let_in(A=MASK)
        for _ in range(3):
            decision = gate.frame(A=MISSED)
            assert says(decision) == ALLOWED
            assert decision.until_s == given.until_s
        assert says(gate.frame(A=MISSED)) == CHECKING

    def test_with_no_patience_a_missed_face_revokes_at_once(self):
        gate = Entrance(evidence_gap_s=0.0)
        gate.let_in(A=MASK)
        assert says(gate.frame(A=MISSED)) == CHECKING

    def test_one_missed_face_holds_back_the_lease_of_all(self):
        gate = Entrance()
        given = gate.let_in(A=MASK, B=MASK)
        assert gate.frame(A=MASK, B=MISSED).until_s == given.until_s

    def test_to_stay_in_takes_a_smaller_share_than_to_get_in(self):
        gate = Entrance(20, enter_share=0.9, leave_share=0.6, hold_s=60)
        gate.run(1.5, A=MASK)
        shaky = [gate.frame(A=WEAK if i % 4 == 0 else MASK) for i in range(60)]
        assert {d.state for d in shaky} == {State.ALLOW}
        worse = [gate.frame(A=WEAK if i % 2 else MASK) for i in range(60)]
        assert worse[-1].state is State.CHECKING
        assert starts(worse) == 1

    def test_who_leaves_the_picture_takes_the_permission_along(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        assert says(gate.frame()) == (State.IDLE, Reason.NO_FACE)

    def test_one_of_two_who_leaves_does_not(self):
        gate = Entrance()
        gate.let_in(A=MASK, B=MASK)
        assert says(gate.frame(A=MASK)) == ALLOWED

    def test_a_pause_longer_than_the_lease_ends_the_grant_when_the_lease_ended(self):
        gate = Entrance(lease_s=1.0, cool_down_s=3.0)
        until_s = gate.let_in(A=MASK).until_s
        gate.now += 2.0
        later = gate.run(3, A=MASK)
        allowed = [d.time_s for d in later if d.state is State.ALLOW]
        assert allowed[0] == pytest.approx(until_s + 3.0, abs=0.1)


class TestFaults:
    def test_a_fault_is_a_decision_with_its_reason(self):
        decision = Entrance().policy.fault(Reason.CAMERA_LOST, 5.0)
        assert (decision.state, decision.reason, decision.time_s, decision.until_s) == (
            State.FAULT,
            Reason.CAMERA_LOST,
            5.0,
            None,
        )

    def test_it_ends_a_grant(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        gate.policy.fault(Reason.BAD_IMAGE, gate.now + 0.05)
        assert gate.frame(A=MASK).state is State.CHECKING

    def test_evidence_from_before_it_counts_no_more(self):
        gate = Entrance()
        gate.run(0.5, A=MASK)
        gate.policy.fault(Reason.BAD_IMAGE, gate.now + 0.05)
        decisions = gate.run(0.6, A=MASK)
        assert [says(d) for d in decisions] == [CHECKING] * 5 + [ALLOWED]

    @pytest.mark.parametrize("step_s", [0.0, -1.0, math.nan, math.inf, -math.inf])
    def test_time_that_does_not_advance_is_one(self, step_s):
        gate = Entrance()
        gate.let_in(A=MASK)
        tracks = tuple(gate.people.values())
        decision = gate.policy.decide(tracks, gate.now + step_s, FRAME_HW)
        assert says(decision) == (State.FAULT, Reason.FROZEN)
        assert math.isfinite(decision.time_s)
        assert gate.frame(A=MASK).state is not State.ALLOW

    def test_the_very_first_time_may_be_absurd_too(self):
        decision = Policy(PolicyConfig()).decide((), math.nan, FRAME_HW)
        assert says(decision) == (State.FAULT, Reason.FROZEN)
        assert math.isfinite(decision.time_s)

    @pytest.mark.parametrize("frame_hw", [(0, 100), (100, 0), (-1, 5)])
    def test_a_frame_without_size_is_one(self, frame_hw):
        decision = Policy(PolicyConfig()).decide((), 1.0, frame_hw)
        assert says(decision) == (State.FAULT, Reason.BAD_IMAGE)

    @pytest.mark.parametrize(
        "nonsense",
        [
            (math.nan, 0.0, 100.0, 200.0),
            (0.0, 0.0, math.inf, math.inf),
            (-math.inf, 0.0, 100.0, 200.0),
            (500.0, 500.0, 400.0, 400.0),
            (500.0, 500.0, 500.0, 500.0),
        ],
    )
    def test_a_box_that_makes_no_sense_lets_nobody_in(self, nonsense):
        gate = Entrance(zone=((0.0, 0.0), (0.5, 0.0), (0.5, 1.0)))
        for decision in gate.run(2, A=Look(box_xyxy=box(x=500, y=200)), B=Look(box_xyxy=nonsense)):
            assert says(decision) == CHECKING


class TestGroup:
    @pytest.mark.parametrize(
        ("looks", "expected"),
        [
            ({"A": MASK, "B": MASK}, ALLOWED),
            ({"A": MASK, "B": BARE}, (State.DENY, Reason.GROUP_MIXED)),
            ({"A": MASK, "B": BADLY}, (State.DENY, Reason.GROUP_MIXED)),
            ({"A": MASK, "B": WEAK}, CHECKING),
            ({"A": MASK, "B": Look(margin=0.01)}, CHECKING),
            ({"A": BARE, "B": WEAK}, (State.DENY, Reason.NO_MASK)),
            ({"A": MASK, "B": BARE, "C": WEAK}, (State.DENY, Reason.GROUP_MIXED)),
            ({"A": BARE}, (State.DENY, Reason.NO_MASK)),
            ({"A": BADLY}, (State.DENY, Reason.MASK_INCORRECT)),
            ({"A": BARE, "B": BADLY}, (State.DENY, Reason.NO_MASK)),
            ({"A": BADLY, "B": BADLY}, (State.DENY, Reason.MASK_INCORRECT)),
        ],
    )
    def test_everyone_must_comply(self, looks, expected):
        decision = Entrance().run(0.9, **looks)[-1]
        assert says(decision) == expected

    @pytest.mark.parametrize("faces", [1, 5, 20])
    def test_one_bare_face_in_a_crowd_is_enough(self, faces):
        crowd = {chr(ord("B") + index): MASK for index in range(faces)}
        assert Entrance().run(0.9, **crowd)[-1].state is State.ALLOW
        assert Entrance().run(0.9, **crowd, A=BARE)[-1].state is State.DENY

    def test_badly_worn_masks_may_be_let_in_on_purpose(self):
        gate = Entrance(incorrect_is_violation=False)
        assert gate.run(0.9, A=BADLY, B=MASK)[-1].state is State.ALLOW
        assert gate.run(0.9, A=BARE, B=MASK)[-1].state is State.DENY


class TestDenial:
    @pytest.mark.parametrize("fps", [5, 10, 15, 30, 60, 200])
    def test_it_takes_three_frames_over_a_fifth_of_a_second(self, fps):
        decisions = Entrance(fps).run(1.0, A=BARE)
        first = next(d for d in decisions if d.state is State.DENY)
        needed = max(2 / fps, 0.2)
        waited = first.time_s - decisions[0].time_s
        assert needed - 1e-6 <= waited < needed + 1 / fps
        assert {says(d) for d in decisions if d.time_s < first.time_s} == {CHECKING}

    def test_a_flickering_frame_never_says_no_mask(self):
        gate = Entrance(20)
        states = {gate.frame(A=BARE if i % 5 == 0 else MASK).state for i in range(100)}
        assert State.DENY not in states

    def test_a_mask_put_on_ends_the_denial_and_earns_entrance(self):
        gate = Entrance()
        assert gate.run(2, A=BARE)[-1].state is State.DENY
        decisions = gate.run(2.2, A=MASK)
        assert State.ALLOW not in {d.state for d in decisions[:20]}
        assert decisions[-1].state is State.ALLOW


class TestSize:
    @pytest.mark.parametrize(
        ("height", "expected"),
        [
            (200, ALLOWED),
            (100, ALLOWED),
            (99, (State.CHECKING, Reason.TOO_SMALL)),
            (70, (State.CHECKING, Reason.TOO_SMALL)),
            (69, (State.IDLE, Reason.TOO_SMALL)),
            (1, (State.IDLE, Reason.TOO_SMALL)),
        ],
    )
    def test_a_face_is_let_in_from_a_tenth_of_the_picture_on(self, height, expected):
        look = Look(box_xyxy=box(height=height))
        assert says(Entrance().run(0.9, A=look)[-1]) == expected

    def test_a_bare_face_too_small_to_judge_is_not_shouted_at(self):
        look = Look(BARE, box_xyxy=box(height=80))
        assert {says(d) for d in Entrance().run(2, A=look)} == {(State.CHECKING, Reason.TOO_SMALL)}

    @pytest.mark.parametrize(
        ("box_xyxy", "expected"),
        [
            ((500.0, 0.0, 720.0, 30.0), (State.DENY, Reason.NO_MASK)),
            ((500.0, 970.0, 720.0, 1000.0), (State.DENY, Reason.NO_MASK)),
            ((0.0, 500.0, 30.0, 720.0), (State.DENY, Reason.NO_MASK)),
        ],
    )
    def test_a_face_cut_by_the_edge_of_the_picture_is_near_all_the_same(self, box_xyxy, expected):
        cut = Look(BARE, box_xyxy=box_xyxy)
        assert says(Entrance().run(0.9, A=cut)[-1]) == expected
        assert Entrance().run(0.9, A=Look(box_xyxy=box(x=1500)), B=cut)[-1].state is State.DENY

    @pytest.mark.parametrize("label", list(MaskLabel))
    def test_somebody_far_behind_does_not_block_the_door(self, label):
        far = Look(label, box_xyxy=box(x=1500, height=60))
        assert Entrance().run(0.9, A=MASK, B=far)[-1].state is State.ALLOW

    @pytest.mark.parametrize(
        ("look", "expected"),
        [
            (Look(MASK, box_xyxy=box(x=1500, height=80)), ALLOWED),
            (Look(BARE, box_xyxy=box(x=1500, height=80)), (State.DENY, Reason.GROUP_MIXED)),
            (Look(score=0.3, box_xyxy=box(x=1500, height=80)), CHECKING),
        ],
    )
    def test_somebody_near_enough_to_walk_in_too_must_comply_too(self, look, expected):
        assert says(Entrance().run(0.9, A=MASK, B=look)[-1]) == expected

    def test_size_is_measured_against_the_height_of_the_picture(self):
        seen = tuple(Sighting(t / 10, MASK, 0.9, 0.8) for t in range(10))
        for frame_hw, state in (((1000, 100), State.ALLOW), ((3000, 100), State.IDLE)):
            track = Track(1, box(x=50), seen, 0.0, 0.9)
            policy = Policy(PolicyConfig())
            for seconds in range(10):
                decision = policy.decide([track], seconds / 10, frame_hw)
            assert decision.state is state


class TestZone:
    LEFT = ((0.0, 0.0), (0.5, 0.0), (0.5, 1.0), (0.0, 1.0))

    def test_a_face_outside_is_not_there(self):
        gate = Entrance(zone=self.LEFT)
        outside = Look(box_xyxy=box(x=1500))
        assert says(gate.run(1, A=outside)[-1]) == (State.IDLE, Reason.NO_FACE)

    def test_a_bare_face_outside_does_not_block(self):
        gate = Entrance(zone=self.LEFT)
        outside = Look(BARE, box_xyxy=box(x=1500))
        assert gate.run(1, A=MASK, B=outside)[-1].state is State.ALLOW

    def test_it_is_the_centre_of_the_box_that_counts(self):
        gate = Entrance(zone=self.LEFT)
        assert gate.frame(A=Look(box_xyxy=box(x=999))).state is State.CHECKING
        assert gate.frame(A=Look(box_xyxy=box(x=1000))).state is State.CHECKING
        assert gate.frame(A=Look(box_xyxy=box(x=1001))).state is State.IDLE

    def test_an_unproven_face_that_walks_in_revokes(self):
        gate = Entrance(zone=self.LEFT)
        outside, inside = (Look(BARE, box_xyxy=box(x=x)) for x in (1500, 900))
        gate.let_in(A=MASK, B=outside)
        assert gate.frame(A=MASK, B=outside).state is State.ALLOW
        assert gate.frame(A=MASK, B=inside).state is not State.ALLOW

    def test_a_face_seen_to_comply_all_along_joins_without_a_break(self):
        gate = Entrance(zone=self.LEFT)
        outside, inside = (Look(box_xyxy=box(x=x)) for x in (1500, 900))
        gate.let_in(A=MASK, B=outside)
        assert {d.state for d in gate.run(1, A=MASK, B=inside)} == {State.ALLOW}

    def test_polygons_may_be_dented(self):
        for point, inside in [
            ((0.5, 0.2), True),
            ((0.5, 0.6), False),  # in the notch
            ((0.2, 0.6), True),
            ((0.8, 0.6), True),
            ((0.5, 0.4), True),  # the tip of the notch
            ((0.0, 0.0), True),
            ((1.0, 0.5), True),
            ((0.5, 0.0), True),
            ((1.1, 0.5), False),
            ((-0.1, 0.0), False),
            ((0.5, -0.1), False),
        ]:
            dented = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 0.4), (0.0, 1.0))
            assert contains(dented, point) is inside
            assert contains(dented[::-1], point) is inside

    @settings(max_examples=200)
    @given(
        angles=st.lists(st.integers(0, 359), min_size=3, max_size=8, unique=True).map(sorted),
        point=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    )
    def test_in_a_convex_polygon_inside_is_left_of_every_edge(self, angles, point):
        corners = [
            (0.5 + 0.5 * math.cos(math.radians(a)), 0.5 + 0.5 * math.sin(math.radians(a)))
            for a in angles
        ]
        sides = [
            (x2 - x1) * (point[1] - y1) - (y2 - y1) * (point[0] - x1)
            for (x1, y1), (x2, y2) in zip(corners, corners[1:] + corners[:1], strict=True)
        ]
        if min(abs(side) for side in sides) > 1e-9:
            assert contains(corners, point) == (min(sides) > 0)


class TestPassage:
    def test_a_grant_is_renewed_for_hold_s_and_no_longer(self):
        decisions = Entrance(hold_s=2.0).run(4, A=MASK)
        allowed = [d.time_s for d in decisions if d.state is State.ALLOW]
        assert allowed[-1] - allowed[0] == pytest.approx(1.9)
        assert says(decisions[-1]) == COOLING

    def test_whoever_still_stands_there_may_earn_the_next_after_the_cool_down(self):
        decisions = Entrance(hold_s=2.0, cool_down_s=3.0).run(8, A=MASK)
        allowed = [d.time_s for d in decisions if d.state is State.ALLOW]
        ended = next(d.time_s for d in decisions if says(d) == COOLING)
        again = next(time_s for time_s in allowed if time_s > ended)
        assert again - ended == pytest.approx(3.0, abs=0.11)
        assert starts(decisions) == 2

    @pytest.mark.parametrize("doubt", [BARE, BADLY])
    def test_a_grant_ended_by_doubt_is_spent(self, doubt):
        gate = Entrance(cool_down_s=3.0)
        gate.let_in(A=MASK)
        gate.frame(A=doubt)
        after = gate.run(2.8, A=MASK)
        assert State.ALLOW not in {d.state for d in after}
        assert says(after[-1]) == COOLING
        assert gate.run(0.3, A=MASK)[-1].state is State.ALLOW

    def test_a_newcomer_need_not_wait_and_takes_along_who_waits(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        assert says(gate.frame(A=MASK, B=MASK)) == CHECKING
        decisions = gate.run(0.6, A=MASK, B=MASK)
        assert says(decisions[-1]) == ALLOWED

    def test_a_newcomer_too_small_to_be_let_in_opens_for_nobody(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        small = Look(box_xyxy=box(x=1500, height=80))
        decisions = gate.run(2, A=MASK, B=small)
        assert says(decisions[-1]) == COOLING
        assert starts(decisions) == 0

    def test_the_next_in_the_queue_need_not_wait(self):
        gate = Entrance()
        gate.let_in(A=MASK)
        gate.frame()
        assert gate.run(0.6, B=MASK)[-1].state is State.ALLOW

    def test_a_face_lost_and_found_under_another_name_waits_all_the_same(self):
        gate = Entrance(cool_down_s=3.0)
        place = box(x=900)
        gate.let_in(A=Look(box_xyxy=place))
        gate.frame()
        shifted = Look(box_xyxy=box(x=950))
        after = gate.run(2.5, B=shifted)
        assert State.ALLOW not in {d.state for d in after}
        assert says(after[-1]) == COOLING
        assert gate.run(1.0, B=shifted)[-1].state is State.ALLOW

    def test_the_new_name_may_change_again_and_again(self):
        gate = Entrance(cool_down_s=3.0)
        place = Look(box_xyxy=box(x=900))
        decisions = gate.run(0.9, A=place)
        for name in "BCDEFG":
            decisions += [gate.frame(), *gate.run(0.4, **{name: place})]
        assert starts(decisions) == 1

    def test_somebody_there_before_the_other_was_lost_is_somebody_else(self):
        gate = Entrance()
        place = box(x=900)
        gate.let_in(A=Look(box_xyxy=place))
        beside = Look(box_xyxy=box(x=1100))
        gate.frame(A=MASK, B=beside)
        gate.frame(B=beside)
        assert gate.run(0.6, B=Look(box_xyxy=place))[-1].state is State.ALLOW

    def test_somebody_who_walks_to_where_the_other_was_lost_is_somebody_else(self):
        gate = Entrance()
        place = box(x=900)
        gate.let_in(A=Look(box_xyxy=place))
        gate.run(0.3, B=Look(box_xyxy=box(x=1300)))
        assert gate.run(0.6, B=Look(box_xyxy=place))[-1].state is State.ALLOW

    def test_a_camera_that_loses_all_names_gives_no_second_grant(self):
        gate = Entrance(cool_down_s=3.0)
        place = Look(box_xyxy=box(x=900))
        gate.let_in(A=place)
        gate.now += 0.6
        after = gate.run(2, B=place)
        assert State.ALLOW not in {d.state for d in after}

    @pytest.mark.parametrize("period_s", [0.3, 0.7, 1.5, 3.0])
    @pytest.mark.parametrize("fps", [5, 15, 30])
    def test_confidence_that_swings_around_the_threshold_opens_once_a_passage(self, fps, period_s):
        gate = Entrance(fps, cool_down_s=3.0)
        decisions = [
            gate.frame(A=Look(score=0.5 + 0.3 * math.sin(2 * math.pi * i / fps / period_s)))
            for i in range(round(3.5 * fps))
        ]
        assert starts(decisions) <= 1


class TestConfig:
    @pytest.mark.parametrize(
        "fields",
        [
            {"min_scor": 0.5},
            {"min_score": True},
            {"min_score": math.nan},
            {"lease_s": math.inf},
            {"min_frames": 1},
            {"min_evidence_s": 2.0},
            {"deny_evidence_s": 2.0},
            {"near_face": 0.2},
            {"leave_share": 0.9},
            {"evidence_gap_s": 1.0},
            {"zone": ((0.0, 0.0), (1.0, 1.0))},
            {"zone": ((0.0, 0.0), (0.5, 0.5), (1.0, 1.0))},
            {"zone": ((0.0, 0.0), (2.0, 0.0), (1.0, 1.0))},
            {"zone": ((0.0, 0.0), (math.nan, 0.0), (1.0, 1.0))},
            {"zone": "everywhere"},
        ],
    )
    def test_typos_and_absurd_values_are_refused(self, fields):
        with pytest.raises(ValidationError):
            PolicyConfig(**fields)
