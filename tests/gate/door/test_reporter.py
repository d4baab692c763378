"""The reporter: a lock reaches every output whatever others do; an opening stops at a refusal."""

import pytest

from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import OutputError
from mask_gate.gate.events import EventMaker


class Output:
    def __init__(self, *, out=False):
        self.out, self.heard = out, []

    def send(self, signal, event):
        if self.out:
            raise OutputError("unplugged")
        self.heard.append(signal.id)


class Log:
    def __init__(self):
        self.events = []

    def write(self, event):
        self.events.append(event["id"])


def signal(word, name, reason=Reason.NO_MASK):
    kind = SignalKind(word)
    return Signal(kind, Reason.COMPLIANT if kind is SignalKind.ALLOW else reason, 1.0, name)


@pytest.fixture
def log():
    return Log()


def reporter_of(log, *outputs):
    reporter = Reporter(EventMaker("lobby"), lambda scene, is_open: None)
    reporter.add_event_sink(log)
    for output in outputs:
        reporter.add(output)
    return reporter


@pytest.mark.parametrize("broken_at", [0, 1, 2])
class TestALockThatOneOutputRefuses:
    def test_is_told_to_all_others_at_once_and_kept_in_the_log(self, log, broken_at):
        outputs = [Output(out=place == broken_at) for place in range(3)]
        reporter = reporter_of(log, *outputs)
        with pytest.raises(OutputError, match="unplugged"):
            reporter.signal(signal("deny", "a"))
        assert [output.heard for output in outputs if not output.out] == [["a"], ["a"]]
        assert (log.events, reporter.denials) == (["a"], 1)

    def test_is_offered_again_to_that_one_only(self, log, broken_at):
        outputs = [Output(out=place == broken_at) for place in range(3)]
        reporter, lock = reporter_of(log, *outputs), signal("deny", "a")
        for _ in range(3):
            with pytest.raises(OutputError):
                reporter.signal(lock)
        outputs[broken_at].out = False
        reporter.signal(lock)
        assert [output.heard for output in outputs] == [["a"]] * 3
        assert (log.events, reporter.denials) == (["a"], 1)

    def test_gives_way_to_a_newer_one(self, log, broken_at):
        outputs = [Output(out=place == broken_at) for place in range(3)]
        reporter = reporter_of(log, *outputs)
        with pytest.raises(OutputError):
            reporter.signal(signal("deny", "a"))
        outputs[broken_at].out = False
        reporter.signal(signal("deny", "b"))
        assert outputs[broken_at].heard == ["b"]


def test_an_opening_stops_at_the_first_refusal_and_is_no_opening(log):
    first, broken, last = Output(), Output(out=True), Output()
    reporter = reporter_of(log, first, broken, last)
    with pytest.raises(OutputError):
        reporter.signal(signal("allow", "a"))
    assert (first.heard, last.heard) == (["a"], [])


def test_without_outputs_there_is_still_a_log(log):
    reporter_of(log).signal(signal("deny", "a"))
    assert log.events == ["a"]
