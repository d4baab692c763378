"""The desk: whatever the console's process sends, the gate's own rules decide."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.domain import Decision, Reason, SignalKind, State
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.guard_desk import HOUR_S, LET_IN_PAUSE_S, GuardDesk
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import AuditError, OutputError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.guard_order import ORDER_S, GuardAct, GuardOrder, Verdict

LET_IN, LOCK, END = GuardAct.LET_IN_ONCE, GuardAct.LOCK_DOWN, GuardAct.END_LOCK_DOWN
PER_H = 3
CAP_S = 4.0
NUMBERS = itertools.count()


class MemoryLockdown:
    """A lockdown without a file."""

    def __init__(self, controller):
        self.controller = controller
        self.fault = None

    def begin(self, word):
        self.controller.lock_down(word)
        return self.fault

    def end(self, word):
        if self.fault is None:
            self.controller.end_lock_down(word)
        return self.fault


class World:
    """A door with a desk, and all that it has told its relay and its record, in order."""

    def __init__(self, clock, may=frozenset(GuardAct), watched=True):
        self.clock = clock
        self.refusal = self.audit_fault = None
        self.told, self.events = [], []
        reporter = Reporter(EventMaker("lobby", clock=clock), lambda scene, is_open: None)
        reporter.add(self)
        reporter.add_event_sink(self)
        reporter.require_record(self)
        self.door = Door(DoorConfig(max_open_s=CAP_S), clock, reporter.signal)
        self.controller = DoorController(
            self.door, reporter, clock, fault_hold_s=6.5, audit_fault=lambda: self.audit_fault
        )
        self.desk = GuardDesk("", frozenset(may), frozenset({"kim"}), PER_H, clock)
        self.lockdown = MemoryLockdown(self.controller)
        self.door.start(timer=False)
        self.open_desk = self.desk.open_for(self.controller, self.lockdown)
        self.open_desk.__enter__()
        if watched:
            self.frame()

    def intend(self, signal, event):
        if isinstance(self.refusal, AuditError):
            raise self.refusal
        self.told.append(("recorded", signal.reason, event))

    def send(self, signal, event):
        if signal.kind is SignalKind.ALLOW and isinstance(self.refusal, OutputError):
            raise self.refusal
        self.told.append((signal.kind.value, signal.reason, event))

    def write(self, event):
        self.events.append(event)

    def close(self):
        pass

    @property
    def openings(self):
        return [word for word, *_ in self.told].count("allow")

    def frame(self, state=State.IDLE, reason=Reason.NO_FACE, until_s=None):
        return self.controller.act(Scene(Decision(state, reason, self.clock(), until_s))).decision

    def wait(self, seconds, step_s=0.25):
        """Let time pass as the timer and a camera make it pass."""
        for _ in range(math.ceil(seconds / step_s)):
            self.clock.advance(step_s)
            self.door.tick()
            self.frame()

    def order(self, act=LET_IN, age_s=0.0, **changes):
        fields = {
            "id": f"{next(NUMBERS):032x}",
            "door": 0,
            "act": act,
            "name": "kim",
            "why": "parcel",
            "asked_s": self.clock() - age_s,
        }
        return self.desk.take(GuardOrder(**(fields | changes)))


@pytest.fixture
def world(clock):
    return World(clock)


class TestLettingIn:
    def test_opens_once_after_its_row_and_says_who_and_why(self, world):
        assert world.order() is Verdict.DONE
        assert world.door.is_open
        (recorded, why, event), (word, *_) = world.told[-2:]
        assert (recorded, why, word) == ("recorded", Reason.LET_IN, "allow")
        assert event["guard"] == {"name": "kim", "reason": "parcel"}
        assert (event["reason"], event["state"]) == ("let_in", "allow")

    def test_ends_by_itself_at_the_cap_and_goes_on_while_nobody_complies(self, world):
        world.order()
        world.wait(CAP_S - 0.25)
        assert world.door.is_open
        assert world.frame(State.DENY, Reason.NO_MASK).reason is Reason.LET_IN
        world.wait(0.25)
        assert not world.door.is_open
        assert world.frame(State.DENY, Reason.NO_MASK).reason is Reason.NO_MASK
        assert world.openings == 1

    def test_is_not_renewed_by_somebody_who_complies(self, world):
        world.order()
        for _ in range(40):
            now_s = world.clock.advance(0.1)
            world.door.tick()
            world.frame(State.ALLOW, Reason.COMPLIANT, now_s + 1.0)
            if not world.door.is_open:
                break
        assert world.clock() - 1000.0 <= CAP_S + 0.1

    @pytest.mark.parametrize("reason", [Reason.CAMERA_LOST, Reason.MODEL_FAULT, Reason.FROZEN])
    def test_works_without_a_camera(self, world, reason):
        world.frame(State.FAULT, reason)
        assert world.order() is Verdict.DONE
        assert world.frame(State.FAULT, reason).reason is Reason.LET_IN
        assert world.door.is_open
        world.wait(CAP_S)
        assert world.frame(State.FAULT, reason).reason is reason

    def test_is_refused_while_the_door_is_open(self, world):
        world.frame(State.ALLOW, Reason.COMPLIANT, world.clock() + 1.0)
        assert world.order() is Verdict.ALREADY_OPEN
        assert world.openings == 1

    def test_is_refused_while_locked_down_and_not_made_up_for(self, world):
        world.order(LOCK)
        assert world.order() is Verdict.LOCKED_DOWN
        world.order(END)
        world.wait(2.0)
        assert world.openings == 0

    def test_is_revoked_by_a_lockdown(self, world):
        world.order()
        world.order(LOCK)
        assert not world.door.is_open
        assert world.told[-1][:2] == ("deny", Reason.LOCKED_DOWN)

    def test_is_refused_while_nothing_can_be_recorded(self, world):
        world.audit_fault = "the disk is full"
        assert world.order() is Verdict.AUDIT_UNAVAILABLE
        assert world.openings == 0

    def test_whose_row_is_not_written_opens_nothing(self, world):
        world.refusal = AuditError("no row on the disk")
        assert world.order() is Verdict.AUDIT_UNAVAILABLE
        assert not world.door.is_open
        world.refusal = None
        world.wait(2.0)
        assert world.openings == 0, "it is not tried again"

    def test_is_refused_while_an_output_is_at_fault(self, world):
        world.controller.output_failed("the relay is gone")
        assert world.order() is Verdict.OUTPUT_FAULT
        assert world.openings == 0

    def test_that_an_output_refuses_is_over(self, world):
        world.refusal = OutputError("its guardian cannot be reached")
        assert world.order() is Verdict.OUTPUT_FAULT
        world.refusal = None
        world.wait(2.0)
        assert world.openings == 0
        assert not world.door.is_open

    def test_ends_when_an_output_fails(self, world):
        world.order()
        world.controller.output_failed("the relay is gone")
        assert not world.door.is_open

    def test_counts_what_the_record_tells_of_runs_before(self, world, clock):
        asked = []

        def of_the_hour(begin_s):
            asked.append(begin_s)
            return [clock() - 3000.0, clock() - 600.0, clock() - 300.0]

        world.desk.remember(of_the_hour)
        assert asked == [clock() - HOUR_S]
        assert world.order() is Verdict.TOO_MANY
        world.wait(600.5, step_s=10.0)
        assert world.order() is Verdict.DONE
        world.desk.remember(of_the_hour)  # as when the camera of this gate was opened anew
        assert len(asked) == 1
        world.wait(LET_IN_PAUSE_S)
        assert world.order() is Verdict.TOO_MANY

    def test_counts_a_full_hour_where_the_record_cannot_be_read(self, world):
        def unreadable(begin_s):
            raise OutputError("audit: cannot be read")

        world.desk.remember(unreadable)
        assert world.order() is Verdict.TOO_SOON
        world.wait(HOUR_S - 1.0, step_s=60.0 - 1e-3)
        assert world.order() is Verdict.TOO_MANY
        world.wait(2.0)
        assert world.order() is Verdict.DONE

    def test_asks_no_record_where_nobody_may_be_let_in(self, clock):
        World(clock, may={LOCK}).desk.remember(lambda begin_s: pytest.fail("it was asked"))

    def test_is_refused_at_the_start_and_at_the_end(self, clock):
        world = World(clock, watched=False)
        assert world.order() is Verdict.NOT_READY
        world.frame()
        world.door.close()
        assert world.order() is Verdict.NOT_READY
        assert world.openings == 0

    def test_ends_with_the_gate(self, world):
        world.order()
        world.door.close()
        assert not world.door.is_open


class TestALockdownDuringAFault:
    @pytest.mark.parametrize("camera_is_away", [True, False])
    def test_leaves_the_fault_told_and_comes_after_it(self, world, camera_is_away):
        if camera_is_away:
            world.frame(State.FAULT, Reason.CAMERA_LOST)
        else:
            world.audit_fault = "the disk is full"
            world.frame()
        before = [event["reason"] for event in world.events if event["type"] != "signal"]
        assert world.order(LOCK) is Verdict.DONE
        assert [e["reason"] for e in world.events if e["type"] != "signal"] == before
        world.audit_fault = None
        assert world.frame().reason is Reason.LOCKED_DOWN
        assert world.order(END) is Verdict.DONE
        assert world.frame().reason is Reason.NO_FACE


class TestAnOrder:
    @pytest.mark.parametrize("age_s", [ORDER_S + 0.01, 60.0, -0.01, -5.0])
    def test_that_is_late_or_from_the_future_is_refused(self, world, age_s):
        assert world.order(age_s=age_s) is Verdict.TOO_LATE
        assert world.openings == 0

    def test_that_is_repeated_is_refused(self, world):
        assert world.order(LOCK, id="a" * 32) is Verdict.DONE
        assert world.order(END, id="b" * 32) is Verdict.DONE
        assert world.order(LOCK, id="a" * 32) is Verdict.REPEATED
        assert world.controller.lockdown is None

    @pytest.mark.parametrize("name", ["lee", "KIM", "root"])
    def test_of_somebody_who_is_no_guard_is_refused(self, world, name):
        assert world.order(name=name) is Verdict.NOT_ALLOWED

    @pytest.mark.parametrize("act", GuardAct)
    def test_that_the_configuration_does_not_allow_is_refused(self, clock, act):
        world = World(clock, may=set(GuardAct) - {act})
        assert world.order(act) is Verdict.NOT_ALLOWED
        assert world.openings == 0
        assert world.controller.lockdown is None

    def test_for_a_door_that_is_not_held_is_refused(self, world):
        world.open_desk.__exit__(None, None, None)
        assert world.order() is Verdict.NOT_HELD
        assert world.openings == 0

    def test_that_is_refused_is_logged(self, world, caplog):
        world.order(name="mallory")
        assert "let_in_once refused (not_allowed), asked by mallory: parcel" in caplog.text

    def test_to_end_what_is_not_there_is_refused(self, world):
        assert world.order(END) is Verdict.NOT_LOCKED_DOWN

    def test_whose_lockdown_cannot_be_kept_says_so(self, world):
        world.lockdown.fault = "the disk is full"
        assert world.order(LOCK) is Verdict.NOT_KEPT
        assert world.controller.lockdown is not None
        assert world.order(END) is Verdict.LOCKED_DOWN
        assert world.controller.lockdown is not None


class TestTheCaps:
    def test_one_at_a_time(self, world):
        assert world.order() is Verdict.DONE
        world.wait(LET_IN_PAUSE_S - 0.25)
        assert world.order() is Verdict.TOO_SOON
        world.wait(0.25)
        assert world.order() is Verdict.DONE

    def test_so_many_an_hour(self, world):
        for _ in range(PER_H):
            assert world.order() is Verdict.DONE
            world.wait(LET_IN_PAUSE_S)
        assert world.order() is Verdict.TOO_MANY
        world.clock.advance(HOUR_S)
        assert world.order() is Verdict.DONE

    def test_count_a_try_that_failed(self, world):
        world.refusal = OutputError("its guardian cannot be reached")
        world.order()
        world.refusal = None
        assert world.order() is Verdict.TOO_SOON


acts = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([0.1, 0.5, 3.0, 9.0, 11.0, 700.0])),
    st.tuples(st.just("order"), st.sampled_from(list(GuardAct)), st.sampled_from([0.0, 1.0, 3.0])),
    st.tuples(st.just("allow")),
    st.tuples(st.just("frame"), st.sampled_from([State.IDLE, State.DENY, State.FAULT])),
    st.tuples(st.just("audit"), st.booleans()),
    st.tuples(st.just("output"), st.booleans()),
)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(acts, max_size=40))
def test_whatever_is_ordered_the_caps_and_the_lease_hold(make_clock, steps):
    clock = make_clock()
    world = World(clock)
    let_in_s, lock_downs = [], 0
    for name, *args in steps:
        before = world.openings
        if name == "wait":
            end_s = clock() + args[0]
            while clock() < end_s:
                clock.advance(min(0.25 if world.door.is_open else 60.0, end_s - clock()))
                world.door.tick()
        elif name == "order":
            verdict = world.order(args[0], age_s=args[1])
            if args[0] is LET_IN and verdict is Verdict.DONE:
                let_in_s.append(clock())
                assert args[1] <= ORDER_S
            assert world.openings - before == (args[0] is LET_IN and verdict is Verdict.DONE)
        elif name == "allow":
            world.frame(State.ALLOW, Reason.COMPLIANT, clock() + 1.0)
        elif name == "frame":
            world.frame(args[0], Reason.NO_FACE)
        elif name == "audit":
            world.audit_fault = "the disk is full" if args[0] else None
        else:
            world.refusal = OutputError("gone") if args[0] else None
        clock.advance(0.01)
        if world.controller.lockdown is not None:
            lock_downs += 1
            assert not world.door.is_open
        until_s = world.door.lease_until_s
        assert until_s is None or until_s - clock() <= CAP_S
    for early, late in itertools.pairwise(let_in_s):
        assert late - early >= LET_IN_PAUSE_S
    for number, begun_s in enumerate(let_in_s):
        assert sum(begun_s <= other < begun_s + HOUR_S for other in let_in_s[number:]) <= PER_H
    words = [word for word, *_ in world.told]
    assert ("allow", "allow") not in set(itertools.pairwise(w for w in words if w != "recorded"))
    for earlier, later in itertools.pairwise(words):
        assert later != "allow" or earlier == "recorded"
