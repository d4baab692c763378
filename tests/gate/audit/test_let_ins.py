"""Who was let in by guards, as the record tells it to a gate that is started anew."""

import sqlite3

import pytest

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.let_ins import let_in_times
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.errors import OutputError

pytestmark = pytest.mark.process


@pytest.fixture
def opened(tmp_path, clock):
    """`opened(reason)`: an opening for it, in the record, now."""
    audit = Audit(tmp_path / "audit.sqlite", "lobby", clock=clock)

    def record(reason):
        at_s = clock.advance(10.0)
        event = {"id": f"{at_s}", "type": "signal", "signal": "allow", "reason": reason.value}
        audit.intend(Signal(SignalKind.ALLOW, reason, at_s, id=f"{at_s}"), event)
        audit.write(event)  # as the gate does, of the same opening
        return at_s

    yield record
    audit.close()


def test_are_told_once_each_since_a_time_oldest_first(opened, clock, tmp_path):
    reasons = (Reason.LET_IN, Reason.COMPLIANT, Reason.LET_IN, Reason.LET_IN)
    times_s = [opened(reason) for reason in reasons]
    path = tmp_path / "audit.sqlite"
    assert let_in_times(path, 0.0, clock) == [times_s[0], *times_s[2:]]
    assert let_in_times(path, times_s[1], clock) == times_s[2:]
    assert let_in_times(path, times_s[3] + 1.0, clock) == []


def test_a_row_that_is_written_meanwhile_hides_none(opened, clock, tmp_path):
    at_s = opened(Reason.LET_IN)

    def clock_before_a_row():
        now_s = clock()
        opened(Reason.COMPLIANT)
        return now_s

    assert let_in_times(tmp_path / "audit.sqlite", 0.0, clock_before_a_row) == [at_s]


def test_those_before_the_machine_was_started_are_not_told(opened, clock, tmp_path, monkeypatch):
    path, at_s = tmp_path / "audit.sqlite", opened(Reason.LET_IN)
    assert let_in_times(path, 0.0, lambda: at_s - 5.0) == [], "it counts from 0 at each start"
    monkeypatch.setattr("mask_gate.gate.audit.let_ins.boot_id", lambda: "another")
    assert let_in_times(path, 0.0, clock) == []


def test_a_record_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be read"):
        let_in_times(tmp_path / "none.sqlite", 0.0)
    with sqlite3.connect(tmp_path / "other.sqlite") as other:
        other.execute("CREATE TABLE things (name TEXT)")
    with pytest.raises(OutputError, match="cannot be read"):
        let_in_times(tmp_path / "other.sqlite", 0.0)
