"""What counts of a face: distinct frames, in the window, after the last fault."""

import math

from mask_gate.gate.decision.evidence import EvidenceWindow
from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.domain import Sighting, Track
from mask_gate.models.labels import MaskLabel

THRESHOLDS = VoteThresholds.of(None, None, None)


def face(*times_s, score=0.9):
    seen = tuple(Sighting(time_s, MaskLabel.WITH_MASK, score, 0.8) for time_s in times_s)
    return Track(1, (0.0, 0.0, 100.0, 100.0), seen, times_s[0], times_s[-1])


def counted(window, track):
    return [seen.time_s for seen in window.evidence_of(track, THRESHOLDS).sightings]


def at(*frames_s):
    window = EvidenceWindow(1.0)
    for time_s in frames_s:
        window.add_frame(time_s)
    return window


def test_only_the_last_moments_count():
    assert counted(at(9.0, 9.5, 10.0), face(8.9, 9.0, 9.5, 10.0)) == [9.0, 9.5, 10.0]


def test_each_frame_counts_once_and_none_from_the_future():
    assert counted(at(9.5, 10.0), face(9.5, 9.5, 10.0, 10.1)) == [9.5, 10.0]


def test_nothing_from_before_a_fault_counts():
    window = at(9.0, 9.5)
    window.forget_until(9.2)
    window.add_frame(10.0)
    assert counted(window, face(9.0, 9.5, 10.0)) == [10.0]  # nor what was seen before it was told


def test_what_is_unsure_is_seen_and_votes_for_nothing():
    evidence = at(10.0).evidence_of(face(10.0, score=0.1), THRESHOLDS)
    assert len(evidence.sightings) == 1
    assert not evidence.votes


def test_no_more_frames_are_remembered_than_are_in_the_window():
    window = at(*(number / 10 for number in range(1000)))
    assert window.frames_since(-math.inf) == 11
