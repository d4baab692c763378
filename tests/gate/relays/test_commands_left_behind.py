"""What relay commands leave behind: after a lock nothing opens, and nothing that locks is ended."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import GuardianSettings
from mask_gate.gate.relays.worker import MAX_LATE_S

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

PATIENCE_S = 60.0
AFTER_S = 0.4
"""A command that lives opens within this time after it was let."""

HELD = "while [ ! -e $GO ]; do sleep 0.02; done; "
"""A command waits here until the test lets it."""


class Door:
    """A door moved by commands of which each writes a line; `let_go` lets those that wait."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def edges(self):
        path = self.folder / "edges"
        return path.read_text().split() if path.exists() else []

    def let_go(self):
        (self.folder / "go").touch()

    def command(self, name, body):
        path = self.folder / name
        path.write_text(f"#!/bin/sh\nEDGES={self.folder}/edges GO={self.folder}/go\n{body}\n")
        path.chmod(0o755)
        return str(path)


@pytest.fixture
def door(tmp_path):
    return Door(tmp_path)


@pytest.fixture
def guarded(door):
    """A guarded relay by what its commands do; its heart beats."""
    made, over = [], threading.Event()

    def make(allow, deny="echo deny >> $EDGES"):
        settings = {
            "kind": "command",
            "on_allow": door.command("allow.sh", allow),
            "on_deny": door.command("deny.sh", deny),
            "limit_s": PATIENCE_S,
        }
        relay = GuardedRelay(GuardianSettings(settings, PATIENCE_S), on_fault=lambda what: None)
        made.append(relay)
        threading.Thread(target=beat, args=(relay,), daemon=True).start()
        return relay

    def beat(relay):
        while not over.wait(0.02):
            relay.beat()

    yield make
    over.set()
    for relay in made:
        with contextlib.suppress(OutputError):
            relay.close()


def wait_until(condition, what="the condition"):
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"gave up waiting for {what}"
        time.sleep(0.01)


def allow():
    now_s = uptime_s() + 0.9 * MAX_LATE_S
    return Signal(SignalKind.ALLOW, Reason.COMPLIANT, now_s, "a", until_s=now_s + PATIENCE_S)


def deny():
    return Signal(SignalKind.DENY, Reason.NO_MASK, uptime_s(), "d")


def begin_opening(relay, door):
    """The command that opens is on its way, and has not opened yet."""
    relay.send(allow(), {})
    wait_until(lambda: (door.folder / "begun").exists())


BEGUN = "touch $(dirname $GO)/begun; "
OPENS = "echo allow >> $EDGES"
DAEMON = f"{BEGUN} $WAY sh -c '{HELD} {OPENS}' >/dev/null 2>&1 & exit 0"

ON_ITS_WAY = {
    "slow": f"{BEGUN} {HELD} {OPENS}",
    "slow, in the background": f"{BEGUN} ( {HELD} {OPENS} ) & exit 0",
    "a daemon": f"export EDGES GO; WAY=setsid\n{DAEMON}",
    "deaf to SIGTERM": f"trap '' TERM; {BEGUN} {HELD} {OPENS}",
}
CLEARED = f'WAY="setsid env -i EDGES=$EDGES GO=$GO"\n{DAEMON}'
"""Also without the environment by which a command is known."""


class TestACommandThatOpens:
    @pytest.mark.parametrize("way", ON_ITS_WAY)
    def test_does_not_outlive_its_guardian_to_open_after_the_next_has_locked(
        self, guarded, door, way
    ):
        relay = guarded(ON_ITS_WAY[way])
        begin_opening(relay, door)
        os.kill(relay.pid, signal.SIGKILL)
        wait_until(lambda: door.edges)
        door.let_go()
        time.sleep(AFTER_S)
        assert set(door.edges) == {"deny"}

    def test_nor_one_that_was_stopped_and_then_killed_by_the_gate(self, guarded, door):
        relay = guarded(ON_ITS_WAY["slow"])
        begin_opening(relay, door)
        os.kill(relay.pid, signal.SIGSTOP)
        wait_until(lambda: door.edges)
        door.let_go()
        time.sleep(AFTER_S)
        assert set(door.edges) == {"deny"}

    def test_nor_one_that_died_just_before_the_end(self, guarded, door):
        relay = guarded(ON_ITS_WAY["slow"])
        begin_opening(relay, door)
        os.kill(relay.pid, signal.SIGKILL)
        relay.close()
        assert set(door.edges) == {"deny"}
        door.let_go()
        time.sleep(AFTER_S)
        assert set(door.edges) == {"deny"}

    @pytest.mark.parametrize("body", [*ON_ITS_WAY.values(), CLEARED], ids=[*ON_ITS_WAY, "cleared"])
    def test_leaves_nothing_that_could_open_after_a_lock(self, guarded, door, body):
        relay = guarded(body)
        begin_opening(relay, door)
        relay.send(deny(), {})
        wait_until(lambda: door.edges)
        door.let_go()
        time.sleep(AFTER_S)
        assert set(door.edges) == {"deny"}

    def test_may_let_a_daemon_lock_for_it_until_then(self, guarded, door):
        daemon = "setsid sh -c \"trap 'echo locked >> $EDGES; exit' TERM; " + HELD + '" &'
        relay = guarded(f"echo open >> $EDGES; export EDGES GO; {daemon} exit 0")
        relay.send(allow(), {})
        wait_until(lambda: door.edges == ["open"])
        time.sleep(AFTER_S)
        relay.send(deny(), {})
        wait_until(lambda: "deny" in door.edges)
        assert door.edges == ["open", "locked", "deny"]


class TestACommandThatLocks:
    LATE = f"( {HELD} echo locking; echo locked >> $EDGES ) & echo deny >> $EDGES"

    def lock(self, guarded, door, body):
        relay = guarded("true", body)
        relay.send(deny(), {})
        wait_until(lambda: door.edges)
        return relay

    def test_may_do_its_work_in_the_background(self, guarded, door):
        self.lock(guarded, door, f"{self.LATE}; exit 0")
        time.sleep(AFTER_S)
        door.let_go()
        wait_until(lambda: "locked" in door.edges)

    @pytest.mark.parametrize("body", [LATE, f"export EDGES GO; setsid sh -c '{LATE}'"])
    def test_is_not_ended_by_another_order(self, guarded, door, body):
        relay = self.lock(guarded, door, body)
        relay.send(allow(), {})
        relay.send(deny(), {})
        wait_until(lambda: door.edges.count("deny") == 2)
        door.let_go()
        wait_until(lambda: door.edges.count("locked") == 2)

    def test_goes_on_after_the_end_of_the_gate_and_may_still_say_what_it_does(self, guarded, door):
        relay = self.lock(guarded, door, self.LATE)
        relay.close()
        door.let_go()
        wait_until(lambda: "locked" in door.edges)

    def test_is_not_ended_by_the_next_guardian(self, guarded, door):
        relay = self.lock(guarded, door, self.LATE)
        os.kill(relay.pid, signal.SIGKILL)
        wait_until(lambda: door.edges.count("deny") == 2)
        door.let_go()
        wait_until(lambda: door.edges.count("locked") == 2)

    def test_is_ended_with_its_group_when_it_has_failed(self, guarded, door):
        body = f"echo deny >> $EDGES; [ -e $GO ] && exit 0; ( {HELD} sleep 0.1; {OPENS} ) & exit 1"
        self.lock(guarded, door, body)
        door.let_go()
        wait_until(lambda: door.edges.count("deny") >= 2)
        time.sleep(AFTER_S)
        assert set(door.edges) == {"deny"}
