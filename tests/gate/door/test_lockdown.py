"""A lockdown: locked at once, and until somebody ends it, whatever ends meanwhile."""

import os
import time

import pytest

from mask_gate.gate.domain import Decision, Reason, SignalKind, State
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.gate.door.lockdown import Lockdown
from mask_gate.gate.door.lockdown_file import LockdownFile, end_by_hand, lockdown_file
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.guard_order import GuardAct, GuardWord

KIM = GuardWord("kim", "fire drill")
LEE = GuardWord("lee", "it is over")


class World:
    """A door that is locked down or not; made anew, it is the next run of the gate."""

    def __init__(self, clock, path, look_s=0.02):
        self.clock = clock
        self.signals, self.events, self.noted, self.changes = [], [], [], []
        reporter = Reporter(EventMaker("lobby"), lambda scene, is_open: None)
        reporter.add(self)
        reporter.add_event_sink(self)
        self.door = Door(DoorConfig(), clock, reporter.signal)
        self.controller = DoorController(self.door, reporter, clock, fault_hold_s=6.5)
        self.door.start(timer=False)
        self.lockdown = Lockdown(
            LockdownFile(path),
            self.controller,
            lambda act, word: self.noted.append((act, word)),
            self.changes.append,
            look_s,
        )

    def send(self, signal, event):
        self.signals.append(signal)

    def write(self, event):
        self.events.append(event)

    def close(self):
        self.lockdown.close()

    def allow(self):
        now_s = self.clock.advance(0.1)
        decision = Decision(State.ALLOW, Reason.COMPLIANT, now_s, now_s + 1.0)
        return self.controller.act(Scene(decision)).decision

    def nobody(self):
        now_s = self.clock.advance(0.1)
        return self.controller.act(Scene(Decision(State.IDLE, Reason.NO_FACE, now_s))).decision


@pytest.fixture
def path(tmp_path):
    return lockdown_file(tmp_path / "lobby.sqlite")


@pytest.fixture
def start(clock, path):
    """`start()`: a run of the gate; all of them are ended after the test."""
    worlds = []

    def run():
        for world in worlds:  # one gate at a time
            world.close()
        worlds.append(World(clock, path))
        return worlds[-1]

    yield run
    for world in worlds:
        world.close()


def until(holds, limit_s=20.0):
    end_s = time.monotonic() + limit_s
    while not holds() and time.monotonic() < end_s:
        time.sleep(0.01)
    assert holds()


class TestALockdown:
    def test_revokes_an_open_lease_at_once_and_lets_nothing_open(self, start):
        world = start()
        world.allow()
        assert world.door.is_open
        assert world.lockdown.begin(KIM) is None
        assert not world.door.is_open
        assert world.signals[-1].reason is Reason.LOCKED_DOWN
        for _ in range(20):
            decision = world.allow()
            assert (decision.state, decision.reason) == (State.DENY, Reason.LOCKED_DOWN)
        assert not world.door.is_open

    def test_says_who_and_why_in_event_and_record(self, start):
        world = start()
        world.nobody()
        world.lockdown.begin(KIM)
        world.allow()
        told = [e for e in world.events if e["reason"] == "locked_down"]
        assert {event["type"] for event in told} == {"signal", "decision"}
        assert told[-1]["guard"] == {"name": "kim", "reason": "fire drill"}
        world.lockdown.end(LEE)
        assert world.noted == [(GuardAct.LOCK_DOWN, KIM), (GuardAct.END_LOCK_DOWN, LEE)]
        assert world.events[-1]["guard"] == {"name": "lee", "reason": "it is over"}
        assert world.changes == [None, KIM, None]

    def test_that_is_over_opens_nothing_by_itself(self, start):
        world = start()
        world.lockdown.begin(KIM)
        world.allow()
        assert world.lockdown.end(LEE) is None
        assert not world.door.is_open
        world.nobody()
        assert world.allow().state is State.ALLOW
        assert world.door.is_open

    def test_does_not_hide_what_is_out_of_order(self, start, clock):
        world = start()
        world.lockdown.begin(KIM)
        lost = Scene(Decision(State.FAULT, Reason.CAMERA_LOST, clock()))
        assert world.controller.act(lost).decision.reason is Reason.CAMERA_LOST
        world.lockdown.begin(LEE)  # once more, while the camera is away
        assert world.events[-1]["reason"] == "camera_lost"
        assert world.allow().reason is Reason.LOCKED_DOWN

    def test_outlives_the_gate(self, start, caplog):
        start().lockdown.begin(KIM)
        world = start()
        assert "LOCKED DOWN" in caplog.text
        assert f"mask-gate --end-lock-down {world.lockdown._file.path}" in caplog.text
        assert world.controller.lockdown == KIM
        assert world.allow().reason is Reason.LOCKED_DOWN
        world.lockdown.end(LEE)
        world = start()
        world.allow()
        assert world.door.is_open

    @pytest.mark.parametrize(
        "text", [b"", b"{", b"\xff\xfe", b"null", b'{"locked_down": false}', b"x" * 100_000,
                 b'{"locked_down": false, "name": "a\\nb", "reason": "b", "since": "c"}',
                 b'{"locked_down": 0, "name": "a", "reason": "b", "since": "c"}'],
    )  # fmt: skip
    def test_whose_file_is_damaged_is_one(self, start, path, text):
        path.write_bytes(text)
        world = start()
        assert world.allow().reason is Reason.LOCKED_DOWN
        assert world.lockdown.end(LEE) is None
        assert not path.exists()

    def test_whose_file_cannot_be_read_is_one(self, start, path):
        path.mkdir()
        world = start()
        assert world.allow().reason is Reason.LOCKED_DOWN
        assert world.lockdown.end(LEE) is not None
        assert world.allow().reason is Reason.LOCKED_DOWN

    def test_whose_file_is_a_pipe_is_one(self, start, path):
        os.mkfifo(path)
        assert start().allow().reason is Reason.LOCKED_DOWN

    def test_that_cannot_be_written_down_holds_all_the_same_and_says_so(self, start, path):
        world = start()
        path.with_name(f"{path.name}.part").mkdir()
        assert "cannot be written" in world.lockdown.begin(KIM)
        assert world.allow().reason is Reason.LOCKED_DOWN

    def test_whose_file_vanishes_goes_on(self, start, path):
        world = start()
        world.lockdown.begin(KIM)
        path.unlink()
        time.sleep(0.2)
        assert world.allow().reason is Reason.LOCKED_DOWN


class TestTheCommandLine:
    def test_ends_it_while_the_gate_runs(self, start, path):
        world = start()
        world.lockdown.begin(KIM)
        end_by_hand(path, "root")
        until(lambda: world.controller.lockdown is None)
        until(lambda: not path.exists())
        word = GuardWord("root", "ended from the command line")
        assert world.noted[-1] == (GuardAct.END_LOCK_DOWN, word)
        world.nobody()
        world.allow()
        assert world.door.is_open

    def test_ends_it_while_no_gate_runs_and_the_next_one_records_that(self, start, path):
        first = start()
        first.lockdown.begin(KIM)
        first.close()
        end_by_hand(path, "root")
        world = start()
        assert [act for act, _ in world.noted] == [GuardAct.END_LOCK_DOWN]
        assert not path.exists()
        world.allow()
        assert world.door.is_open

    def test_ends_one_whose_file_is_damaged(self, start, path):
        path.write_bytes(b"\0")
        end_by_hand(path, "root")
        world = start()
        world.allow()
        assert world.door.is_open

    def test_writes_to_no_file_that_is_none(self, tmp_path, path):
        other = tmp_path / "lobby.sqlite"
        other.write_text("kept")
        for wrong in (other, path):
            with pytest.raises(ConfigError, match="--end-lock-down"):
                end_by_hand(wrong, "root")
        assert other.read_text() == "kept"
        assert not path.exists()

    def test_says_where_it_cannot_write(self, path):
        path.mkdir()
        with pytest.raises(OutputError, match="cannot be written"):
            end_by_hand(path, "root")


def test_the_beginning_is_one_lock(start):
    world = start()
    world.nobody()
    world.lockdown.begin(KIM)
    locks = [s for s in world.signals if s.reason is Reason.LOCKED_DOWN]
    assert [signal.kind for signal in locks] == [SignalKind.DENY]
