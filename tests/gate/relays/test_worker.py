"""One relay's orders: what ends an opening, what is repeated, and what never is."""

import threading
import time

import pytest

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.worker import MAX_LATE_S, RelayWorker

pytestmark = pytest.mark.process

PATIENCE_S = 60.0


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "gave up waiting"
        time.sleep(0.005)


def opening(hold_s=60.0, late_s=-0.9 * MAX_LATE_S, order_id="a"):
    """Decided as far ahead as is believed: a slow machine may take its time."""
    now_s = time.monotonic()
    return Order(True, order_id, "compliant", now_s - late_s, now_s + hold_s)


def locking(order_id="d"):
    return Order(False, order_id, "no_mask", time.monotonic())


class Probe:
    """A relay that writes down each order, and fails or hangs as it is told."""

    name = "probe"

    def __init__(self):
        self.edges = []
        self.failures = {"allow": 0, "deny": 0}
        self.go_on = threading.Event()
        self.go_on.set()

    def unlock(self, order, cancelled):
        self._do(order)

    def lock(self, order, cancelled):
        self._do(order)

    def close(self):
        pass

    def words(self):
        return [word for word, *_ in self.edges]

    def _do(self, order):
        self.go_on.wait(PATIENCE_S)
        if self.failures[order.decision]:
            self.failures[order.decision] -= 1
            raise OutputError(f"no {order.decision}")
        self.edges.append((order.decision, order.reason, order.id, time.monotonic()))


@pytest.fixture
def relay():
    return Probe()


@pytest.fixture
def start(relay):
    """Starts a worker for the probe; it is closed after the test."""
    made = []

    def start(**options):
        worker = RelayWorker(
            relay,
            clock=time.monotonic,
            on_done=lambda order: done.append(order.id),
            on_fault=faults.append,
            **options,
        )
        made.append(worker)
        return worker

    done, faults = start.done, start.faults = [], []
    yield start
    relay.go_on.set()
    for worker in made:
        relay.failures = {"allow": 0, "deny": 0}
        worker.close()


class TestAnOpening:
    def test_that_nobody_ends_is_locked_when_its_lease_is_over(self, relay, start):
        worker = start()
        order = opening(hold_s=0.3)
        worker.send(order)
        wait_until(lambda: relay.words() == ["allow", "deny"])
        assert relay.edges[1][3] >= order.until_s
        assert relay.edges[1][1] == "cap"
        wait_until(lambda: not worker.is_open)

    def test_lasts_no_longer_than_the_pulse(self, relay, start):
        start(pulse_s=0.2).send(opening(hold_s=60.0))
        wait_until(lambda: relay.words() == ["allow", "deny"])
        assert 0.2 <= relay.edges[1][3] - relay.edges[0][3] < PATIENCE_S

    def test_a_pulse_never_outlasts_the_lease(self, relay, start):
        order = opening(hold_s=0.2)
        start(pulse_s=10.0).send(order)
        wait_until(lambda: relay.words() == ["allow", "deny"])

    def test_is_locked_when_the_lock_comes(self, relay, start):
        worker = start()
        worker.send(opening())
        wait_until(lambda: worker.is_open and relay.edges)
        worker.send(locking())
        wait_until(lambda: relay.words() == ["allow", "deny"])
        wait_until(lambda: start.done == ["a", "d"])
        assert start.faults == []

    @pytest.mark.parametrize("late_s", [0.6, 60.0, -60.0])
    def test_that_was_asked_for_at_another_time_is_dropped(self, relay, start, late_s):
        start().send(opening(late_s=late_s))
        wait_until(lambda: start.faults)
        assert relay.edges == []
        assert start.faults == ["the opening could not start within 0.5 s and was dropped"]

    def test_that_was_cancelled_is_not_told_as_done(self, relay, start):
        begun = threading.Event()

        def unlock(order, cancelled):
            begun.set()
            wait_until(cancelled)

        relay.unlock = unlock
        worker = start()
        worker.send(opening())
        begun.wait(PATIENCE_S)
        worker.send(locking())
        wait_until(lambda: start.done)
        assert start.done == ["d"]

    def test_that_failed_is_locked_at_once_and_never_repeated(self, relay, start):
        relay.failures["allow"] = 1
        worker = start()
        worker.send(opening())
        wait_until(lambda: relay.words() == ["deny"])
        assert start.faults == ["no allow"]
        wait_until(lambda: not worker.is_open)
        time.sleep(0.1)
        assert relay.words() == ["deny"]

    def test_is_locked_at_the_end(self, relay, start):
        worker = start()
        worker.send(opening())
        wait_until(lambda: relay.edges)
        worker.close()
        assert relay.words() == ["allow", "deny"]

    def test_stays_open_in_the_books_until_a_lock_has_worked(self, relay, start):
        worker = start()
        worker.send(opening())
        wait_until(lambda: relay.edges)
        relay.failures["deny"] = 10**6
        worker.send(locking())
        wait_until(lambda: start.faults)
        assert worker.is_open
        relay.failures["deny"] = 0
        wait_until(lambda: relay.words() == ["allow", "deny"])
        wait_until(lambda: not worker.is_open)


class TestALock:
    def test_is_repeated_until_it_works(self, relay, start):
        relay.failures["deny"] = 3
        start().send(locking())
        wait_until(lambda: relay.words() == ["deny"])
        assert start.faults == ["no deny; the door may be open: check it by hand"] * 3

    def test_that_hangs_is_seen(self, relay, start):
        worker = start()
        relay.go_on.clear()
        worker.send(locking())
        wait_until(lambda: worker.busy_s() > 0.1)
        relay.go_on.set()
        wait_until(lambda: worker.busy_s() == 0.0)

    def test_that_waits_for_an_opening_that_hangs_is_seen(self, relay, start):
        worker = start()
        relay.go_on.clear()
        worker.send(opening())
        wait_until(lambda: worker.is_open)
        assert worker.busy_s() == 0.0, "an opening may take its time"
        worker.send(locking())
        wait_until(lambda: worker.busy_s() > 0.1)
        relay.go_on.set()
        wait_until(lambda: relay.words() == ["allow", "deny"] and worker.busy_s() == 0.0)

    def test_that_is_due_by_itself_is_seen_while_the_opening_hangs(self, relay, start):
        worker = start()
        relay.go_on.clear()
        worker.send(opening(hold_s=0.1))
        wait_until(lambda: worker.busy_s() > 0.1)

    def test_throws_out_the_openings_that_wait(self, relay, start):
        worker = start()
        relay.go_on.clear()
        worker.send(locking("first"))
        wait_until(lambda: worker.busy_s() > 0)
        worker.send(opening())
        worker.send(locking("second"))
        relay.go_on.set()
        wait_until(lambda: relay.words() == ["deny", "deny"])
        assert [order_id for _, _, order_id, _ in relay.edges] == ["first", "second"]


class TestRefreshing:
    def test_an_idle_relay_is_locked_again_and_again(self, relay, start):
        start(refresh_s=0.05)
        wait_until(lambda: len(relay.edges) >= 3)
        assert {reason for _, reason, *_ in relay.edges} == {"refresh"}
        assert start.done == []  # nobody asked for it

    def test_an_open_relay_is_left_alone(self, relay, start):
        worker = start(refresh_s=0.05)
        worker.send(opening())
        wait_until(lambda: "allow" in relay.words())
        time.sleep(0.3)
        assert relay.words()[-1] == "allow"

    def test_a_relay_that_went_away_is_told_each_time(self, relay, start):
        relay.failures["deny"] = 3
        start(refresh_s=0.05)
        wait_until(lambda: len(start.faults) == 3)
        wait_until(lambda: relay.words()[-1:] == ["deny"])


def test_a_last_lock_that_fails_is_an_output_error(relay, start):
    relay.failures["deny"] = 10**6
    worker = start(patience_s=0.3)
    worker.send(locking())
    with pytest.raises(OutputError, match="no deny; the door may be open"):
        worker.close()
    relay.failures["deny"] = 0
    worker._lock_fault = ""
