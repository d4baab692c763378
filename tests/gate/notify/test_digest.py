"""What people are told of what happens, and what is not worth a message."""

import pytest

from mask_gate.gate.domain import Reason
from mask_gate.gate.notify.digest import MOST_LINES, Digest

WORDS = {
    "fault": "out of order",
    "recovery": "works",
    "denial": "denied",
    "opening": "opened",
    **{reason.value: reason.value.replace("_", " ") for reason in Reason},
}


def event(reason, state="idle", kind="decision", gate="lobby", **more):
    return {
        "ts": "2026-05-01T08:00:00.123Z",
        "gate": gate,
        "type": kind,
        "state": state,
        "reason": reason,
        **more,
    }


LOST = event("camera_lost", "fault", "fault", detail="it does not answer")
BACK = event("no_face")
OPENED = event("compliant", "allow", "signal", signal="allow")
DENIED = event("no_mask", "deny", "signal", signal="deny")


def digest(*kinds, fault_s=10.0):
    return Digest(kinds or ("fault", "recovery", "denial", "opening"), WORDS, fault_s)


def said(lines):
    """Without the time of day, which is this machine's."""
    return [line.partition(" ")[2] for line in lines]


def test_a_fault_that_lasts_is_told_once_with_its_reason_and_so_is_its_end():
    news = digest()
    news.take(LOST, 0.0)
    assert news.lines(9.9) == []
    assert said(news.lines(10.0)) == ["lobby: out of order: camera lost (it does not answer)"]
    news.take(event("frozen", "fault", "fault"), 11.0)
    assert news.lines(60.0) == []
    news.take(BACK, 61.0)
    assert said(news.lines(61.0)) == ["lobby: works"]


def test_a_fault_that_is_over_soon_is_told_to_nobody():
    news = digest()
    news.take(LOST, 0.0)
    news.take(BACK, 5.0)
    assert news.lines(100.0) == []


def test_every_door_has_faults_of_its_own():
    news = digest(fault_s=0.0)
    news.take(LOST, 0.0)
    news.take({**LOST, "gate": "yard"}, 0.0)
    news.take(BACK, 1.0)
    assert news.lines(1.0)[0].endswith("yard: out of order: camera lost (it does not answer)")
    news.take({**BACK, "gate": "yard"}, 2.0)
    assert said(news.lines(2.0)) == ["yard: works"]


def test_openings_and_denials_are_told_where_that_is_wanted():
    news = digest()
    for one in (OPENED, DENIED, event("no_face", kind="signal", signal="deny")):
        news.take(one, 0.0)
    assert said(news.lines(0.0)) == ["lobby: opened", "lobby: denied: no mask"]
    news = digest("fault", "recovery")
    news.take(OPENED, 0.0)
    news.take(DENIED, 0.0)
    assert news.lines(0.0) == []


def test_who_is_let_in_by_hand_is_an_opening_and_no_recovery():
    news = digest(fault_s=0.0)
    news.take(LOST, 0.0)
    assert len(news.lines(0.0)) == 1
    guard = {"guard": {"name": "kim", "reason": "parcel"}}
    news.take({**event("let_in", kind="signal", signal="allow"), **guard}, 1.0)
    news.take({**event("cool_down", kind="signal", signal="deny"), **guard}, 6.0)
    assert said(news.lines(6.0)) == ["lobby: opened"]


@pytest.mark.parametrize("reason", ["starting", "stopping"])
def test_an_end_is_no_recovery(reason):
    news = digest(fault_s=0.0)
    news.take(LOST, 0.0)
    assert len(news.lines(0.0)) == 1
    news.take(event(reason, kind="signal", signal="deny"), 1.0)
    assert news.lines(1.0) == []


def test_a_message_has_an_end_however_much_happened():
    news = digest()
    for _ in range(50):
        news.take(DENIED, 0.0)
    lines = news.lines(0.0)
    assert lines[MOST_LINES:] == ["+ 30"]


def test_what_could_not_be_told_comes_first_next_time():
    news = digest()
    news.take(OPENED, 0.0)
    lines = news.lines(0.0)
    news.take(DENIED, 1.0)
    news.put_back(lines)
    assert said(news.lines(1.0)) == ["lobby: opened", "lobby: denied: no mask"]
