"""VoteThresholds: a sighting counts from the score of its own class on, and from nothing else."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.decision.tracker import TrackerConfig
from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.domain import Sighting, State, Track
from mask_gate.models.labels import MaskLabel
from mask_gate.models.operating_point import UNMEASURED_MARGIN, UNMEASURED_SCORE

FRAME_HW = (480, 640)
labels = st.sampled_from(MaskLabel)


def decide_for(votes, label, score, margin):
    """What a policy makes of one face seen like this for two seconds."""
    policy = Policy(PolicyConfig(), votes)
    sightings = ()
    for number in range(30):
        sightings = (*sightings, Sighting(number / 15, label, score, margin))[-20:]
        track = Track(1, (200, 100, 300, 220), sightings, 0.0, number / 15)
        decision = policy.decide([track], number / 15, FRAME_HW)
    return decision.state


def test_a_model_without_an_operating_point_is_judged_as_ever():
    votes = VoteThresholds.of(None, None, None)
    assert set(votes.min_scores) == set(MaskLabel)
    assert set(votes.min_scores.values()) == {UNMEASURED_SCORE}
    assert votes.min_margin == UNMEASURED_MARGIN
    assert TrackerConfig().scores(None) == (0.2, 0.1)


def test_a_models_own_scores_are_used_class_by_class(operating_point):
    votes = PolicyConfig().votes(operating_point)
    assert list(votes.min_scores.values()) == [0.6, 0.4, 0.3]
    assert votes.min_margin == 0.25
    assert TrackerConfig().scores(operating_point) == (0.1, 0.05)


def test_a_number_of_the_configuration_wins(operating_point):
    votes = PolicyConfig(min_score=0.5, min_margin=0.0).votes(operating_point)
    assert set(votes.min_scores.values()) == {0.5}
    assert votes.min_margin == 0.0
    assert TrackerConfig(high_score=0.3).scores(operating_point) == (0.3, 0.1)
    assert TrackerConfig(low_score=0.02).scores(operating_point) == (0.1, 0.02)
    assert TrackerConfig(low_score=0.2).scores(operating_point) == (0.1, 0.1)


@settings(deadline=None)
@given(label=labels, score=st.floats(0, 1), margin=st.floats(0, 1))
def test_below_its_threshold_nothing_lets_in_or_turns_away(operating_point, label, score, margin):
    votes = PolicyConfig().votes(operating_point)
    sure = score >= votes.min_scores[label] and margin >= votes.min_margin
    state = decide_for(votes, label, score, margin)
    if not sure:
        assert state is State.CHECKING
    elif label is MaskLabel.WITH_MASK:
        assert state is State.ALLOW
    else:
        assert state is State.DENY


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.5, 1.5])
def test_what_is_no_score_never_counts(operating_point, value):
    votes = PolicyConfig().votes(operating_point)
    assert not votes.count(Sighting(1.0, MaskLabel.WITH_MASK, value, 0.9))
    assert not votes.count(Sighting(1.0, MaskLabel.WITH_MASK, 0.9, value))
