"""Events reach the log in the order in which they were made, whichever thread is done first."""

import itertools
import sys
import threading

import pytest

from mask_gate.gate.domain import Decision, Reason, Signal, SignalKind, State
from mask_gate.gate.door.event_order import EventOrder
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.events import EventMaker, Scene

PATIENCE_S = 60


class Log:
    def __init__(self):
        self.lines = []

    def write(self, event):
        self.lines.append((event["type"], event["time_s"]))


def test_what_is_done_early_waits_for_what_was_made_before():
    told = []
    order = EventOrder(told.append)
    first, second, third = (order.begin(lambda n=n: {"n": n}) for n in range(3))
    for line in (third, second, first):
        assert told == []
        line.is_kept = line is not second
        order.end(line)
    assert told == [{"n": 0}, {"n": 2}]


def test_a_decision_made_while_an_output_is_told_stands_after_the_signal():
    log, clock = Log(), itertools.count(1.0)
    reporter = Reporter(EventMaker("lobby", clock=lambda: next(clock)), lambda scene, is_open: None)
    reporter.add_event_sink(log)
    told, go_on = threading.Event(), threading.Event()

    class SlowRelay:
        def send(self, signal, event):
            told.set()
            assert go_on.wait(PATIENCE_S)

        def close(self):
            pass

    reporter.add(SlowRelay())
    lock = Signal(SignalKind.DENY, Reason.UNCERTAIN, 1.0, "a")
    telling = threading.Thread(target=reporter.signal, args=(lock,))
    telling.start()
    assert told.wait(PATIENCE_S)
    reporter.decided(Scene(Decision(State.DENY, Reason.NO_MASK, 0.9)), False)  # nothing waits here
    assert log.lines == []
    go_on.set()
    telling.join(PATIENCE_S)
    assert log.lines == [("signal", 1.0), ("decision", 2.0)]


@pytest.fixture
def eager_threads():
    """Threads that take turns as often as they can."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before_s)


def test_many_threads_keep_one_order(eager_threads):
    told, clock = [], itertools.count()
    order = EventOrder(lambda event: told.append(event["n"]))

    def work():
        for _ in range(500):
            line = order.begin(lambda: {"n": next(clock)})
            line.is_kept = True
            order.end(line)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    assert told == list(range(2000))
