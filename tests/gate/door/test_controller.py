"""The doorkeeper: whatever the policy says, the door is locked while something it needs fails."""

import pytest

from mask_gate.gate.domain import Decision, Reason, SignalKind, State
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import AuditError, OutputError
from mask_gate.gate.events import EventMaker, Scene


class World:
    """A door, its controller, and what both have said; `refusal` is what the witness raises."""

    def __init__(self, clock):
        self.clock = clock
        self.refusal = self.audit_fault = None
        self.signals, self.scenes, self.alarms, self.asked = [], [], [], 0
        reporter = Reporter(EventMaker("lobby"), lambda scene, is_open: self.scenes.append(scene))
        reporter.add(self)
        reporter.require_record(self)
        self.door = Door(DoorConfig(), clock, reporter.signal)
        self.controller = DoorController(
            self.door,
            reporter,
            clock,
            fault_hold_s=6.5,
            audit_fault=lambda: self.audit_fault,
            alarm=self.alarms.append,
        )
        self.door.start(timer=False)

    def send(self, signal, event):
        self.signals.append(signal)

    def intend(self, signal, event):
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal

    def close(self):
        pass

    @property
    def openings(self):
        return sum(signal.kind is SignalKind.ALLOW for signal in self.signals)

    def allow(self):
        now_s = self.clock.advance(0.1)
        decision = Decision(State.ALLOW, Reason.COMPLIANT, now_s, now_s + 1.0)
        return self.controller.act(Scene(decision)).decision

    def nobody(self):
        return self.controller.act(
            Scene(Decision(State.IDLE, Reason.NO_FACE, self.clock.advance(0.1)))
        )


@pytest.fixture
def world(clock):
    return World(clock)


class TestTheAudit:
    def test_that_records_lets_the_door_open(self, world):
        assert world.allow().state is State.ALLOW
        assert world.door.is_open
        assert (world.asked, world.openings) == (1, 1)

    def test_that_cannot_record_keeps_it_locked_without_being_asked(self, world):
        world.audit_fault = "the disk is full"
        decision = world.allow()
        assert (decision.state, decision.reason) == (State.FAULT, Reason.AUDIT_UNAVAILABLE)
        assert (world.asked, world.openings) == (0, 0)
        assert world.scenes[-1].detail == "the disk is full"

    def test_that_fails_while_it_is_open_locks_at_once(self, world):
        world.allow()
        world.audit_fault = "the disk is full"
        world.allow()
        assert not world.door.is_open
        assert world.signals[-1].reason is Reason.AUDIT_UNAVAILABLE

    def test_that_refuses_an_opening_ends_the_grant_and_says_why(self, world):
        world.refusal = AuditError("no row on the disk within 0.25 s")
        decision = world.allow()
        assert (decision.state, decision.reason) == (State.FAULT, Reason.AUDIT_UNAVAILABLE)
        assert world.scenes[-1].decision.reason is Reason.AUDIT_UNAVAILABLE
        assert not world.door.is_open
        assert world.openings == 0
        world.refusal = None
        world.allow()
        assert world.openings == 0, "the same grant is not tried again"
        world.nobody()
        world.allow()
        assert world.openings == 1

    def test_that_works_again_lets_it_open_again(self, world):
        world.audit_fault = "the disk is full"
        world.allow()
        world.audit_fault = None
        assert world.allow().state is State.ALLOW
        assert world.door.is_open


class TestAnOutput:
    def test_that_refuses_an_opening_ends_the_grant(self, world):
        world.refusal = OutputError("its guardian cannot be reached")
        assert world.allow().reason is Reason.OUTPUT_FAULT
        assert not world.door.is_open

    def test_that_fails_keeps_the_door_locked_for_a_while(self, world, clock):
        world.allow()
        world.controller.output_failed("the relay is gone")
        assert not world.door.is_open
        assert world.allow().reason is Reason.OUTPUT_FAULT
        clock.advance(6.5)
        assert world.allow().state is State.ALLOW

    def test_that_fails_is_named_in_the_event(self, world):
        world.controller.output_failed("gpio pin 17: does not switch")
        world.allow()
        event = EventMaker("lobby").of_decision(world.scenes[-1], is_open=False)
        assert (event["gate"], event["reason"]) == ("lobby", "output_fault")
        assert event["detail"] == "gpio pin 17: does not switch"

    def test_that_fails_is_one_alarm_an_outage(self, world, clock):
        for _ in range(5):
            world.controller.output_failed("the relay is gone")
            clock.advance(2.0)
        assert world.alarms == ["the relay is gone"]
        clock.advance(10.0)
        world.controller.output_failed("again")
        assert world.alarms == ["the relay is gone", "again"]
