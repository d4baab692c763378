"""Rows of the audit: what an event said, small, printable, whatever the event was."""

import json
import math
from dataclasses import asdict, astuple

from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.audit.recorded_event import recorded_event
from mask_gate.gate.audit.rows import (
    DETAIL_LETTERS,
    NAME_LETTERS,
    guard_row,
    printable,
    row_of_event,
)
from mask_gate.gate.domain import Decision, Reason, Sighting, Signal, SignalKind, State, Track
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.guard_order import GuardAct, GuardWord
from mask_gate.models.labels import MaskLabel


def track(number, label, score):
    seen = Sighting(10.0, label, score, margin=0.5)
    return Track(number, (1.0, 2.0, 3.0, 4.0), (seen,), 9.0, 10.0)


def test_an_event_of_the_gate_becomes_a_row():
    tracks = (
        track(1, MaskLabel.WITH_MASK, 0.91239),
        track(2, MaskLabel.WITH_MASK, 0.5),
        track(3, MaskLabel.WITHOUT_MASK, math.nan),
    )
    scene = Scene(Decision(State.DENY, Reason.GROUP_MIXED, 10.0), tracks, 0.0421)
    signal = Signal(SignalKind.DENY, Reason.GROUP_MIXED, 10.0, "s1")
    row = row_of_event(EventMaker("lobby", "sha256:abc").of_signal(signal, scene))
    assert (row.kind, row.signal_id, row.decision, row.reason) == (
        "event",
        "s1",
        "deny",
        "group_mixed",
    )
    assert row.faces == 3
    assert json.loads(row.classes) == {"with_mask": 2, "without_mask": 1}
    assert json.loads(row.confidences) == [0.912, 0.5, None]
    assert row.model == "sha256:abc"
    assert row.detail == "type signal, state deny, door locked, latency_ms 42.1"


def test_who_opened_by_hand_and_why_is_in_the_row_and_passes_for_nothing_else():
    why = "parcel, seen 7=with_mask, door open\\"
    scene = Scene(Decision(State.ALLOW, Reason.LET_IN, 10.0), guard=GuardWord("kim", why))
    signal = Signal(SignalKind.ALLOW, Reason.LET_IN, 10.0, "s1", 15.0)
    row = row_of_event(EventMaker("lobby").of_signal(signal, scene), "intent")
    assert "guard kim: parcel; seen 7=with_mask; door open" in row.detail
    values = {**asdict(row), "wall": "2026-05-01T08:00:00Z", "gate": "lobby"}
    event = recorded_event(values)
    assert (event["reason"], event["door"], event["tracks"]) == ("let_in", "open", [])


def test_a_lockdown_is_a_row_of_its_own():
    row = guard_row(GuardAct.LOCK_DOWN, GuardWord("kim", "fire\ndrill"))
    assert (row.kind, row.decision, row.detail) == ("guard", "lock_down", "kim: fire\\ndrill")


def test_a_decision_without_a_signal_keeps_its_state():
    scene = Scene(Decision(State.CHECKING, Reason.UNCERTAIN, 10.0))
    row = row_of_event(EventMaker("lobby").of_decision(scene, is_open=False))
    assert (row.decision, row.reason, row.faces) == ("checking", "uncertain", 0)


def test_what_could_fool_a_terminal_is_shown_as_its_code():
    for text, shown in [
        ("입구 1", "입구 1"),
        ("two\nlines", "two\\nlines"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("nul\0", "nul\\x00"),
        ("right\u202eleft", "right\\u202eleft"),
        ("half \ud83d", "half \\ud83d"),
        ("\\n", "\\\\n"),
        ("line\u2028end", "line\\u2028end"),
    ]:
        assert printable(text) == shown


@given(st.text(max_size=300), st.text(max_size=300))
def test_text_is_always_printable_and_no_short_one_passes_for_another(one, other):
    assert printable(one).isprintable()
    assert len(printable(one)) <= NAME_LETTERS
    if one != other and max(len(printable(one)), len(printable(other))) < NAME_LETTERS:
        assert printable(one) != printable(other)


def test_a_long_name_is_cut():
    assert printable("x" * 10_000) == "x" * (NAME_LETTERS - 3) + "..."
    assert len(printable("\0" * 10_000)) == NAME_LETTERS


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
anything = plain | st.binary(max_size=9) | st.lists(plain, max_size=3)
names = st.sampled_from(
    ["id", "signal", "state", "reason", "faces", "tracks", "model", "type", "door", "latency_ms"]
)
tracks = st.lists(st.dictionaries(st.sampled_from(["label", "score"]), anything), max_size=3)


@given(st.dictionaries(names, anything), st.none() | tracks)
def test_whatever_an_event_holds_becomes_a_sound_row(event, seen):
    row = row_of_event(event | ({"tracks": seen} if seen is not None else {}))
    for value in astuple(row):
        assert value is None or isinstance(value, (str, int, float))
        assert not isinstance(value, float) or math.isfinite(value)
        assert not isinstance(value, str) or value.isprintable()
    assert isinstance(json.loads(row.classes), dict)
    assert isinstance(json.loads(row.confidences), list)


def test_the_largest_row_is_far_below_64_kb():
    long = "\U0001f637" * 10_000
    seen = [{"label": f"{number}{long}", "score": 0.123456} for number in range(1000)]
    names = ("id", "signal", "state", "reason", "model", "type", "door", "latency_ms", "until_s")
    row = row_of_event(dict.fromkeys(names, long) | {"tracks": seen, "faces": 10**30})
    size = sum(len(str(value).encode()) for value in astuple(row))
    assert 2000 < size < 32_000
    assert len(row.detail) == DETAIL_LETTERS
