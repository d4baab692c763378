"""The format of events is the one that is published, and every event keeps to it."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mask_gate.gate.domain import Decision, Reason, Sighting, Signal, SignalKind, State, Track
from mask_gate.gate.event_schema import event_adapter, event_schema
from mask_gate.gate.events import STARTING, EventMaker, Scene
from mask_gate.gate.guard_order import GuardWord
from mask_gate.models.labels import MaskLabel

MAKER = EventMaker("lobby", "sha256:abc")
ADAPTER = event_adapter()


def holds(event):
    ADAPTER.validate_json(json.dumps(event))


def scene(state=State.DENY, reason=Reason.NO_MASK, score=0.9, detail="", labels=(0, 1, 2)):
    seen = [Sighting(5.0, MaskLabel(label), score, margin=0.5) for label in labels]
    tracks = [Track(n, (1.0, 2.0, 3.0, 4.0), (one,), 4.0, 5.0) for n, one in enumerate(seen)]
    votes = {track.id: {track.sightings[-1].label: 3} for track in tracks}
    decision = Decision(state, reason, 5.0, votes=votes)
    return Scene(decision, tuple(tracks), 0.04, detail, (640, 480))


def test_the_published_schema_is_that_of_the_program(repo_root):
    published = json.loads((repo_root / "docs/events.schema.json").read_text(encoding="utf-8"))
    assert published == event_schema(), "run: python assets/make_event_schema.py"


@pytest.mark.parametrize(("state", "reason"), list(itertools.product(State, Reason)))
def test_every_event_keeps_to_it(state, reason):
    one = scene(state, reason, detail="a part says so")
    holds(MAKER.of_decision(one, is_open=False))
    for kind, until_s in ((SignalKind.ALLOW, 9.0), (SignalKind.DENY, None)):
        holds(MAKER.of_signal(Signal(kind, reason, 5.0, "s1", until_s), one))


def test_so_do_those_that_a_guard_was_the_cause_of():
    one = Scene(Decision(State.ALLOW, Reason.LET_IN, 5.0), guard=GuardWord("kim", "소포"))
    holds(MAKER.of_signal(Signal(SignalKind.ALLOW, Reason.LET_IN, 5.0, "s1", 9.0), one))
    told = MAKER.of_decision(one, is_open=True)
    assert told["guard"] == {"name": "kim", "reason": "소포"}
    holds(told)


def test_so_do_those_before_the_first_picture_and_without_a_model():
    holds(EventMaker("문").of_decision(STARTING, is_open=False))


@given(score=st.floats(0, 1) | st.just(float("nan")), latency_s=st.floats())
def test_numbers_of_every_kind_keep_to_it(score, latency_s):
    one = scene(score=score)
    holds(MAKER.of_decision(Scene(one.decision, one.tracks, latency_s), is_open=True))


@pytest.mark.parametrize(
    "change",
    [{"schema": 2}, {"door": "closed"}, {"type": "other"}, {"ts": "2026-05-01 08:00"}, {"new": 1},
     {"faces": "1"}, {"state": "ALLOW"}, {"tracks": [{"id": 1}]}],
)  # fmt: skip
def test_anything_else_does_not(change):
    with pytest.raises(ValidationError):
        holds({**MAKER.of_decision(scene(), is_open=False), **change})


def test_the_example_of_the_manual_keeps_to_it(repo_root):
    text = (repo_root / "docs/events.md").read_text(encoding="utf-8")
    holds(json.loads(text.split("```json\n")[1].split("```")[0]))
