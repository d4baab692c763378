"""The door: decisions in, edges out; open is a lease that ends whatever happens."""

import logging
import math
import threading
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from mask_gate.gate.domain import Decision, Reason, SignalKind, State
from mask_gate.gate.door.lease import Door, DoorConfig

ALLOW, DENY = SignalKind.ALLOW, SignalKind.DENY


class Probe:
    """An output that writes down every signal, and may fail when told to."""

    def __init__(self):
        self.signals = []
        self.broken = lambda signal: False

    def __call__(self, signal):
        if self.broken(signal):
            raise OSError("the relay is gone")
        self.signals.append(signal)

    @property
    def edges(self):
        return [(signal.kind, signal.reason) for signal in self.signals]


class Rig:
    """A door on a clock that stands still, without a timer thread."""

    def __init__(self, clock, start=True, **fields):
        self.clock = clock
        self.probe = Probe()
        self.door = Door(DoorConfig(**fields), clock, self.probe)
        if start:
            self.door.start(timer=False)
            self.probe.signals.clear()

    def allow(self, age_s=0.0, lease_s=1.0, **changes):
        """An ALLOW from a frame `age_s` ago."""
        frame_s = self.clock() - age_s
        fields = {"until_s": frame_s + lease_s, "time_s": frame_s, "reason": Reason.COMPLIANT}
        self.door.apply(Decision(state=State.ALLOW, **(fields | changes)))

    def say(self, state, reason=Reason.UNCERTAIN):
        self.door.apply(Decision(state, reason, self.clock()))

    def keep_open(self, seconds, step_s=0.1):
        for _ in range(round(seconds / step_s)):
            self.allow()
            self.clock.advance(step_s)
            self.door.tick()


@pytest.fixture
def rig(clock):
    return Rig(clock)


OPENED = (ALLOW, Reason.COMPLIANT)


class TestBeginAndEnd:
    def test_it_begins_locked_and_says_so_once(self, clock):
        rig = Rig(clock, start=False)
        assert not rig.door.is_open
        rig.door.start(timer=False)
        rig.door.start(timer=False)
        assert rig.probe.edges == [(DENY, Reason.STARTING)]

    def test_nothing_opens_before_the_start(self, clock):
        rig = Rig(clock, start=False)
        rig.allow()
        rig.door.tick()
        assert rig.probe.edges == []
        assert not rig.door.is_open

    def test_it_ends_locked_and_says_so_once(self, rig):
        rig.door.close()
        rig.door.close()
        assert rig.probe.edges == [(DENY, Reason.STOPPING)]

    def test_closing_an_open_door_locks_it_with_one_signal(self, rig):
        rig.allow()
        rig.door.close()
        assert rig.probe.edges == [OPENED, (DENY, Reason.STOPPING)]
        assert not rig.door.is_open

    def test_after_the_end_nothing_opens_and_nothing_is_said(self, rig):
        rig.door.close()
        rig.allow()
        rig.say(State.DENY, Reason.NO_MASK)
        rig.allow()
        rig.door.start(timer=False)
        rig.allow()
        rig.door.tick()
        assert rig.probe.edges == [(DENY, Reason.STOPPING)]
        assert not rig.door.is_open

    def test_a_door_never_started_may_be_closed(self, clock):
        rig = Rig(clock, start=False)
        rig.door.close()
        assert rig.probe.edges == [(DENY, Reason.STOPPING)]

    def test_as_a_context_it_closes_also_after_an_error(self, clock):
        probe = Probe()
        with pytest.raises(KeyError), Door(DoorConfig(), clock, probe):
            raise KeyError
        assert probe.edges == [(DENY, Reason.STARTING), (DENY, Reason.STOPPING)]


class TestLease:
    def test_a_fresh_allow_opens(self, rig):
        rig.allow(age_s=0.1, lease_s=1.0)
        assert rig.probe.edges == [OPENED]
        assert rig.door.is_open
        assert rig.door.lease_until_s == pytest.approx(rig.clock() + 0.9)

    def test_outputs_are_told_the_hard_cap_and_who_was_let_in(self, rig):
        rig.allow(votes={7: {}, 3: {}})
        (signal,) = rig.probe.signals
        assert signal.time_s == rig.clock()
        assert signal.until_s == rig.clock() + 5.0
        assert signal.track_ids == (3, 7)

    def test_an_allow_that_is_not_renewed_ends_by_itself(self, rig):
        rig.allow(lease_s=1.0)
        rig.clock.advance(0.99)
        rig.door.tick()
        assert rig.door.is_open
        rig.clock.advance(0.01)
        rig.door.tick()
        assert rig.probe.edges == [OPENED, (DENY, Reason.UNCERTAIN)]
        assert rig.door.lease_until_s is None

    def test_its_end_counts_before_the_timer_tells(self, rig):
        rig.allow(lease_s=1.0)
        rig.clock.advance(1.0)
        assert not rig.door.is_open

    def test_renewing_makes_no_new_edge(self, rig):
        rig.keep_open(3.0)
        assert rig.probe.edges == [OPENED]
        assert rig.door.is_open

    def test_the_newest_decision_rules_even_if_it_ends_sooner(self, rig):
        rig.allow(lease_s=2.0)
        rig.clock.advance(0.1)
        rig.allow(lease_s=0.5)
        rig.clock.advance(0.5)
        rig.door.tick()
        assert not rig.door.is_open

    def test_an_opening_ends_at_the_hard_cap_whatever_the_policy_says(self, rig):
        rig.keep_open(20.0)
        assert rig.probe.edges == [OPENED, (DENY, Reason.COOL_DOWN)]
        opened, locked = rig.probe.signals
        assert locked.time_s - opened.time_s == pytest.approx(5.0, abs=0.1)

    def test_the_last_renewal_does_not_reach_over_the_cap(self, rig):
        rig.keep_open(4.9)
        rig.allow(lease_s=3.0)
        rig.clock.advance(0.1)
        rig.door.tick()
        assert not rig.door.is_open

    @pytest.mark.parametrize("end", ["lease", "cap", "revoked", "output"])
    def test_one_grant_opens_once_however_it_ended(self, rig, end):
        if end == "lease":
            rig.allow()
            rig.clock.advance(1.5)
            rig.door.tick()
        elif end == "cap":
            rig.keep_open(5.1)
        elif end == "revoked":
            rig.allow()
            rig.allow(until_s=math.nan)
        else:
            rig.probe.broken = lambda signal: signal.kind is ALLOW
            rig.allow()
            rig.probe.broken = lambda signal: False
        rig.probe.signals.clear()
        rig.keep_open(2.0)
        assert rig.probe.edges == []
        rig.say(State.CHECKING, Reason.COOL_DOWN)
        rig.allow()
        assert rig.probe.edges == [OPENED]

    def test_a_lease_over_while_nobody_ticked_is_not_revived(self, rig):
        rig.allow(lease_s=1.0)
        rig.clock.advance(3.0)
        rig.allow()
        assert rig.probe.edges == [OPENED, (DENY, Reason.UNCERTAIN)]


class TestRefusedDecisions:
    @pytest.mark.parametrize("age_s", [0.51, 1.0, 3600.0])
    def test_one_from_an_old_frame_never_opens(self, rig, age_s):
        rig.allow(age_s=age_s, lease_s=age_s + 1.0 if age_s < 3 else 1.0)
        assert rig.probe.edges == []

    def test_nor_does_it_renew(self, rig):
        rig.allow(lease_s=1.0)
        rig.clock.advance(0.9)
        rig.allow(age_s=0.6, lease_s=2.0)
        rig.clock.advance(0.1)
        rig.door.tick()
        assert rig.probe.edges == [OPENED, (DENY, Reason.UNCERTAIN)]

    def test_results_out_of_order_do_not_renew(self, rig):
        rig.allow(lease_s=1.0)
        rig.clock.advance(0.1)
        rig.allow(age_s=0.2, lease_s=3.0)
        assert rig.door.lease_until_s == pytest.approx(rig.clock() + 0.9)

    def test_the_same_frame_twice_does_not_renew(self, rig):
        rig.allow(lease_s=1.0)
        rig.allow(lease_s=3.0)
        assert rig.door.lease_until_s == pytest.approx(rig.clock() + 1.0)

    def test_one_whose_lease_is_already_over_does_not_open(self, rig):
        rig.allow(age_s=0.4, lease_s=0.4)
        assert not rig.door.is_open
        assert (ALLOW, Reason.COMPLIANT) not in rig.probe.edges

    NONSENSE = (
        {"until_s": None},
        {"until_s": math.nan},
        {"until_s": math.inf},
        {"until_s": -math.inf},
        {"until_s": 0.0},
        {"until_s": 1e9},
        {"until_s": 1005.1},
        {"time_s": math.nan},
        {"time_s": math.inf},
        {"time_s": -math.inf},
        {"time_s": 1000.1},
        {"reason": Reason.UNCERTAIN},
    )

    @pytest.mark.parametrize("changes", NONSENSE)
    def test_one_that_makes_no_sense_never_opens(self, rig, changes):
        rig.allow(**changes)
        assert rig.probe.edges == [(DENY, Reason.UNCERTAIN)]

    @pytest.mark.parametrize("changes", NONSENSE)
    def test_and_locks_an_open_door(self, rig, changes):
        rig.allow(time_s=999.9)
        rig.allow(**changes)
        assert rig.probe.edges == [OPENED, (DENY, Reason.UNCERTAIN)]

    def test_a_clock_gone_wrong_locks(self, rig):
        rig.allow()
        rig.clock.now_s = math.nan
        rig.door.tick()
        rig.allow(time_s=1000.0, until_s=1001.0)
        assert rig.probe.edges[:2] == [OPENED, (DENY, Reason.UNCERTAIN)]
        assert not rig.door.is_open
        assert ALLOW not in [kind for kind, _ in rig.probe.edges[1:]]


class TestRevocation:
    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (State.IDLE, Reason.NO_FACE),
            (State.IDLE, Reason.TOO_SMALL),
            (State.CHECKING, Reason.UNCERTAIN),
            (State.CHECKING, Reason.COOL_DOWN),
            (State.DENY, Reason.NO_MASK),
            (State.DENY, Reason.GROUP_MIXED),
            (State.FAULT, Reason.CAMERA_LOST),
            (State.FAULT, Reason.FROZEN),
        ],
    )
    def test_any_other_decision_locks_at_once_with_its_reason(self, rig, state, reason):
        rig.allow()
        rig.clock.advance(0.05)
        rig.say(state, reason)
        rig.say(state, reason)
        assert rig.probe.edges == [OPENED, (DENY, reason)]
        assert rig.probe.signals[-1].time_s == rig.clock()

    def test_even_an_old_one_locks(self, rig):
        rig.allow()
        rig.door.apply(Decision(State.CHECKING, Reason.UNCERTAIN, rig.clock() - 60))
        assert not rig.door.is_open

    def test_a_new_grant_afterwards_opens_again(self, rig):
        rig.allow()
        rig.say(State.CHECKING)
        rig.clock.advance(0.1)
        rig.allow()
        assert rig.probe.edges == [OPENED, (DENY, Reason.UNCERTAIN), OPENED]


class TestDenials:
    def test_idle_and_checking_say_nothing(self, rig):
        for _ in range(3):
            rig.say(State.IDLE, Reason.NO_FACE)
            rig.say(State.CHECKING)
            rig.clock.advance(5.0)
        assert rig.probe.edges == []

    @pytest.mark.parametrize("state", [State.DENY, State.FAULT])
    def test_an_episode_is_told_once_however_long_it_lasts(self, rig, state):
        for _ in range(600):
            rig.say(state, Reason.NO_MASK)
            rig.clock.advance(0.1)
        assert rig.probe.edges == [(DENY, Reason.NO_MASK)]

    def test_each_new_episode_is_told(self, rig):
        for _ in range(3):
            rig.say(State.DENY, Reason.NO_MASK)
            rig.say(State.CHECKING)
            rig.clock.advance(2.0)
        assert rig.probe.edges == [(DENY, Reason.NO_MASK)] * 3

    def test_a_change_of_reason_is_told(self, rig):
        rig.say(State.DENY, Reason.NO_MASK)
        rig.clock.advance(2.0)
        rig.say(State.DENY, Reason.GROUP_MIXED)
        assert rig.probe.edges == [(DENY, Reason.NO_MASK), (DENY, Reason.GROUP_MIXED)]

    def test_flicker_is_told_once_in_deny_repeat_s(self, rig):
        for index in range(100):
            rig.say(State.DENY if index % 2 else State.CHECKING, Reason.NO_MASK)
            rig.clock.advance(0.1)
        assert len(rig.probe.edges) == 5

    def test_a_change_that_came_too_soon_is_told_when_it_still_holds(self, rig):
        rig.say(State.DENY, Reason.NO_MASK)
        for _ in range(30):
            rig.clock.advance(0.1)
            rig.say(State.DENY, Reason.GROUP_MIXED)
        assert rig.probe.edges == [(DENY, Reason.NO_MASK), (DENY, Reason.GROUP_MIXED)]
        first, second = rig.probe.signals
        assert second.time_s - first.time_s == pytest.approx(2.0, abs=0.11)

    def test_a_fault_is_told_right_after_a_denial(self, rig):
        rig.say(State.DENY, Reason.NO_MASK)
        rig.say(State.FAULT, Reason.FROZEN)
        assert rig.probe.edges == [(DENY, Reason.NO_MASK), (DENY, Reason.FROZEN)]

    def test_the_end_of_an_opening_is_told_at_once_whatever_was_said_before(self, rig):
        rig.say(State.DENY, Reason.NO_MASK)
        rig.allow()
        rig.say(State.DENY, Reason.NO_MASK)
        assert rig.probe.edges == [(DENY, Reason.NO_MASK), OPENED, (DENY, Reason.NO_MASK)]

    def test_an_opening_ended_by_a_denial_is_told_once(self, rig):
        rig.allow()
        for _ in range(50):
            rig.say(State.DENY, Reason.NO_MASK)
            rig.clock.advance(0.1)
        assert rig.probe.edges == [OPENED, (DENY, Reason.NO_MASK)]

    def test_every_signal_has_an_id_of_its_own(self, rig):
        for _ in range(200):
            rig.allow()
            rig.say(State.CHECKING)
            rig.clock.advance(0.1)
        ids = [signal.id for signal in rig.probe.signals]
        assert len(ids) == 400
        assert len(set(ids)) == 400

    def test_ids_may_come_from_elsewhere(self, clock):
        probe = Probe()
        names = iter(["first", "second"])
        door = Door(DoorConfig(), clock, probe, new_id=lambda: next(names))
        door.start(timer=False)
        door.close()
        assert [signal.id for signal in probe.signals] == ["first", "second"]


class TestFailingOutputs:
    def test_an_allow_that_fails_counts_as_locked_and_is_denied(self, rig):
        rig.probe.broken = lambda signal: signal.kind is ALLOW
        rig.allow()
        assert not rig.door.is_open
        assert rig.probe.edges == [(DENY, Reason.OUTPUT_FAULT)]

    def test_it_is_not_tried_again_for_the_same_grant(self, rig):
        offered = []
        rig.probe.broken = lambda signal: offered.append(signal.kind) or signal.kind is ALLOW
        rig.keep_open(3.0)
        assert offered == [ALLOW, DENY]

    def test_a_deny_that_fails_is_offered_at_every_tick_until_it_goes_through(self, rig):
        rig.allow()
        rig.probe.broken = lambda signal: True
        rig.say(State.CHECKING)
        assert not rig.door.is_open
        for _ in range(5):
            rig.door.tick()
        assert rig.probe.edges == [OPENED]
        rig.probe.broken = lambda signal: False
        rig.door.tick()
        rig.door.tick()
        assert rig.probe.edges == [OPENED, (DENY, Reason.UNCERTAIN)]

    def test_nothing_opens_before_it_did(self, rig):
        rig.allow()
        rig.probe.broken = lambda signal: signal.kind is DENY
        rig.say(State.CHECKING)
        rig.clock.advance(0.1)
        rig.allow()
        assert rig.probe.edges == [OPENED]
        assert not rig.door.is_open

    def test_a_failure_is_logged_once_not_at_every_try(self, rig, caplog):
        rig.probe.broken = lambda signal: True
        with caplog.at_level(logging.ERROR):
            rig.say(State.DENY, Reason.NO_MASK)
            for _ in range(20):
                rig.door.tick()
        assert len(caplog.records) == 1

    def test_a_start_and_an_end_that_nobody_hears_raise_nothing(self, clock):
        rig = Rig(clock, start=False)
        rig.probe.broken = lambda signal: True
        rig.door.start(timer=False)
        rig.allow()
        rig.door.close()
        assert not rig.door.is_open

    def test_a_last_deny_that_fails_is_tried_once_more_at_every_close(self, rig):
        tries = []
        rig.probe.broken = lambda signal: not tries.append(signal.reason)
        rig.door.close()
        assert tries == [Reason.STOPPING] * 2
        rig.probe.broken = lambda signal: False
        rig.door.close()
        rig.door.close()
        assert rig.probe.edges == [(DENY, Reason.STOPPING)]

    def test_an_interrupt_in_an_output_leaves_a_lease_that_ends(self, rig):
        def interrupt(signal):
            if signal.kind is ALLOW:
                raise KeyboardInterrupt
            return False

        rig.probe.broken = interrupt
        with pytest.raises(KeyboardInterrupt):
            rig.allow(lease_s=1.0)
        rig.clock.advance(1.0)
        rig.door.tick()
        assert rig.probe.edges == [(DENY, Reason.UNCERTAIN)]

    def test_an_output_may_ask_whether_the_door_is_open(self, clock):
        answers = []
        door = Door(DoorConfig(), clock, lambda signal: answers.append((signal.kind, door.is_open)))
        door.start(timer=False)
        door.apply(Decision(State.ALLOW, Reason.COMPLIANT, clock(), clock() + 1))
        door.close()
        assert answers == [(DENY, False), (ALLOW, True), (DENY, False)]


class TestTimer:
    """With the real clock and the door's own thread; the only tests here that wait."""

    def test_an_open_lease_ends_although_the_loop_is_stuck(self):
        told = threading.Event()
        edges = []

        def emit(signal):
            edges.append((signal.kind, signal.reason, time.monotonic()))
            if len(edges) == 3:
                told.set()

        with Door(DoorConfig(), time.monotonic, emit) as door:
            until_s = time.monotonic() + 0.2
            door.apply(Decision(State.ALLOW, Reason.COMPLIANT, time.monotonic(), until_s))
            assert told.wait(60.0)
        assert [edge[:2] for edge in edges] == [
            (DENY, Reason.STARTING),
            OPENED,
            (DENY, Reason.UNCERTAIN),
            (DENY, Reason.STOPPING),
        ]
        assert edges[2][2] >= until_s

    def test_closing_leaves_no_thread_behind(self, clock):
        before = set(threading.enumerate())
        door = Door(DoorConfig(), clock, Probe())
        door.start()
        (timer,) = set(threading.enumerate()) - before
        assert timer.daemon
        door.close()
        assert not timer.is_alive()

    def test_threads_that_pull_at_it_get_one_order_of_edges(self):
        probe = Probe()
        door = Door(DoorConfig(tick_s=0.001), time.monotonic, probe)
        door.start()

        def pull(state):
            for _ in range(200):
                now_s = time.monotonic()
                until_s = now_s + 0.002 if state is State.ALLOW else None
                reason = Reason.COMPLIANT if state is State.ALLOW else Reason.UNCERTAIN
                door.apply(Decision(state, reason, now_s, until_s))

        threads = [
            threading.Thread(target=pull, args=(state,))
            for state in (State.ALLOW, State.CHECKING) * 2
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        door.close()
        kinds = [signal.kind for signal in probe.signals]
        assert kinds[0] is kinds[-1] is DENY
        times = [signal.time_s for signal in probe.signals]
        assert times == sorted(times)
        assert (ALLOW, ALLOW) not in set(pairwise(kinds))


steps = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0.0, 2.0)),
        st.tuples(st.just("allow"), st.floats(-0.1, 1.0), st.floats(-0.5, 6.0)),
        st.tuples(st.just("nonsense"), st.sampled_from([math.nan, math.inf, None])),
        st.tuples(
            st.just("say"),
            st.sampled_from([State.IDLE, State.CHECKING, State.DENY, State.FAULT]),
            st.sampled_from([Reason.UNCERTAIN, Reason.NO_MASK]),
        ),
        st.tuples(st.just("tick")),
        st.tuples(st.just("break"), st.sampled_from(["allow", "deny", "both", "none"])),
        st.tuples(st.just("close")),
    ),
    max_size=40,
)


@settings(max_examples=200, deadline=None)
@given(steps=steps)
def test_whatever_happens_every_opening_is_one_pair_of_edges_within_its_lease(make_clock, steps):
    rig = Rig(make_clock(), max_open_s=4.0)
    closed = False
    for name, *args in steps:
        if name == "wait":
            # As often as the timer ticks, so that an end in time can be told from one too late.
            for _ in range(int(args[0] / 0.25)):
                rig.clock.advance(0.25)
                rig.door.tick()
        elif name == "allow":
            rig.allow(age_s=args[0], lease_s=args[1])
        elif name == "nonsense":
            rig.allow(until_s=args[0])
        elif name == "say":
            rig.say(*args)
        elif name == "tick":
            rig.door.tick()
        elif name == "break":
            rig.probe.broken = lambda signal, kinds=args[0]: kinds in ("both", signal.kind.value)
        else:
            rig.door.close()
            closed = True
        until_s = rig.door.lease_until_s
        assert rig.door.is_open == (until_s is not None and rig.clock() < until_s)
        assert not (closed and rig.door.is_open)
        if rig.door.is_open:
            assert rig.probe.signals[-1].kind is ALLOW
            assert rig.clock() < rig.probe.signals[-1].until_s
            assert rig.clock() - rig.probe.signals[-1].time_s < 4.0
    kinds = [signal.kind for signal in rig.probe.signals]
    assert (ALLOW, ALLOW) not in set(pairwise(kinds))
    for opened, locked in pairwise(rig.probe.signals):
        if opened.kind is ALLOW and locked.reason is not Reason.STOPPING:
            assert locked.time_s - opened.time_s <= 4.0 + 0.25


class TestConfig:
    @pytest.mark.parametrize(
        "fields",
        [
            {"max_open": 5.0},
            {"max_open_s": 0.0},
            {"max_open_s": 11.0},
            {"max_open_s": math.inf},
            {"decision_max_age_s": math.nan},
            {"tick_s": 1.0},
            {"deny_repeat_s": True},
        ],
    )
    def test_typos_and_absurd_values_are_refused(self, fields):
        with pytest.raises(ValidationError):
            DoorConfig(**fields)
