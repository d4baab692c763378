"""Events: the agreed fields, readable whatever the numbers were, and a log that stops nothing."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone

import pytest

from mask_gate.gate.domain import Decision, Reason, Sighting, Signal, SignalKind, State, Track
from mask_gate.gate.events import MAX_TRACKS, STARTING, EventMaker, Scene, utc_now
from mask_gate.models.labels import MaskLabel

WALL = datetime(2025, 1, 1, 8, 0, 0, 123456, UTC)


def track(track_id=7, time_s=10.0, label=MaskLabel.MASK_WEARED_INCORRECT, score=0.9124):
    seen = Sighting(time_s, label, score, margin=0.5)
    return Track(track_id, (415.04, 489.0, 528.0, 700.26), (seen,), 9.0, time_s)


def scene(state=State.DENY, reason=Reason.MASK_INCORRECT, tracks=(), latency_s=0.1419):
    votes = {
        track.id: {MaskLabel.WITH_MASK: 1, MaskLabel.MASK_WEARED_INCORRECT: 9} for track in tracks
    }
    decision = Decision(state, reason, 10.0, votes=votes)
    return Scene(decision, tuple(tracks), latency_s, picture_wh=(1280, 720))


@pytest.fixture
def maker():
    return EventMaker("lobby", "sha256:abc", wall=lambda: WALL, clock=lambda: 10.15)


def test_a_decision_has_exactly_the_agreed_fields(maker):
    event = dict(maker.of_decision(scene(tracks=[track()]), is_open=False))
    assert len(event.pop("id")) == 32
    assert event == {
        "schema": 1,
        "ts": "2025-01-01T08:00:00.123Z",
        "time_s": 10.15,
        "gate": "lobby",
        "type": "decision",
        "state": "deny",
        "reason": "mask_incorrect",
        "door": "locked",
        "picture_s": 10.0,
        "picture_wh": [1280, 720],
        "tracks": [
            {
                "id": 7,
                "label": "mask_weared_incorrect",
                "score": 0.912,
                "votes": {"with_mask": 1, "mask_weared_incorrect": 9},
                "box": [415.0, 489.0, 528.0, 700.3],
            }
        ],
        "faces": 1,
        "latency_ms": 141.9,
        "model": "sha256:abc",
    }


def test_every_decision_has_an_id_of_its_own(maker):
    assert maker.of_decision(scene(), False)["id"] != maker.of_decision(scene(), False)["id"]


def test_a_fault_is_of_its_own_type(maker):
    event = maker.of_decision(scene(State.FAULT, Reason.CAMERA_LOST), is_open=False)
    assert (event["type"], event["state"], event["reason"]) == ("fault", "fault", "camera_lost")


def test_an_opening_tells_until_when(maker):
    signal = Signal(SignalKind.ALLOW, Reason.COMPLIANT, 10.5, "s1", until_s=15.5, track_ids=(7,))
    event = maker.of_signal(signal, scene(State.ALLOW, Reason.COMPLIANT, [track()]))
    assert event["id"] == "s1"
    assert (event["type"], event["signal"], event["until_s"]) == ("signal", "allow", 15.5)
    assert (event["state"], event["reason"], event["door"]) == ("allow", "compliant", "open")


@pytest.mark.parametrize(
    ("before", "reason", "state"),
    [
        (scene(State.DENY, Reason.NO_MASK), Reason.NO_MASK, "deny"),
        (scene(State.FAULT, Reason.FROZEN), Reason.FROZEN, "fault"),
        (scene(State.ALLOW, Reason.COMPLIANT), Reason.UNCERTAIN, "checking"),
        (STARTING, Reason.STARTING, "idle"),
    ],
)
def test_a_lock_never_says_allow(maker, before, reason, state):
    event = maker.of_signal(Signal(SignalKind.DENY, reason, 11.0, "s2"), before)
    assert (event["signal"], event["door"], event["until_s"]) == ("deny", "locked", None)
    assert (event["state"], event["reason"]) == (state, reason.value)


def test_nobody_there_is_ordinary(maker):
    event = maker.of_decision(scene(State.IDLE, Reason.NO_FACE), is_open=False)
    assert (event["tracks"], event["faces"]) == ([], 0)


def test_without_a_picture_nothing_is_said_of_one(maker):
    event = maker.of_decision(STARTING, is_open=False)
    assert (event["time_s"], event["picture_s"], event["picture_wh"]) == (10.15, None, None)


def test_faces_missed_in_this_frame_are_tracks_but_not_faces(maker):
    event = maker.of_decision(scene(tracks=[track(1), track(2, time_s=9.9)]), is_open=False)
    assert (len(event["tracks"]), event["faces"]) == (2, 1)


def test_a_track_without_sightings_or_votes_is_told_as_it_is(maker):
    bare = Track(3, (0.0, 0.0, 1.0, 1.0), (), 9.0, 10.0)
    told = maker.of_decision(Scene(Decision(State.IDLE, Reason.NO_FACE, 10.0), (bare,)), False)
    assert told["tracks"] == [
        {"id": 3, "label": None, "score": None, "votes": {}, "box": [0.0, 0.0, 1.0, 1.0]}
    ]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_does_not_know_become_null(maker, odd):
    strange = Track(1, (odd, 0.0, 1.0, 1.0), (track(score=odd).sightings), 9.0, 10.0)
    event = maker.of_decision(
        Scene(Decision(State.DENY, Reason.NO_MASK, odd), (strange,), odd, picture_wh=(64, 64)),
        is_open=False,
    )
    told = json.loads(json.dumps(event, allow_nan=False))
    assert (told["picture_s"], told["latency_ms"]) == (None, None)
    assert told["tracks"][0]["score"] is None
    assert told["tracks"][0]["box"][0] is None


def test_a_crowd_still_fits_into_an_environment_variable(maker):
    crowd = [track(number) for number in range(1000)]
    event = maker.of_decision(scene(tracks=crowd), is_open=False)
    assert (len(event["tracks"]), event["faces"]) == (MAX_TRACKS, 1000)
    assert len(json.dumps(event)) < 64 * 1024


def test_the_wall_clock_is_shown_in_utc():
    seoul = timezone(timedelta(hours=9))
    maker = EventMaker("g", "m", wall=lambda: WALL.astimezone(seoul))
    assert maker.of_decision(scene(), False)["ts"] == "2025-01-01T08:00:00.123Z"
    assert utc_now().tzinfo is UTC
