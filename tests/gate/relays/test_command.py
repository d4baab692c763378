"""Relay commands at work as real processes: order, limits, retries, and nothing left behind."""

import contextlib
import gc
import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.relays.command import (
    ALLOW_GRACE_S,
    LONE_GRACE_S,
    OVERSHOOT_S,
    CommandRelay,
    parse_command,
)
from mask_gate.gate.relays.hook_process import GRACE_S, OUTPUT_LIMIT, POLL_S, HookProcess
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.worker import MAX_LATE_S, RelayWorker

pytestmark = pytest.mark.process

PATIENCE_S = 60.0
LONG_S = 60.0


def wait_until(condition, what="the condition"):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.01)


def is_alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def read_lines(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def script(tmp_path):
    """Writes an executable shell script; `$LOG` in it is the file it may write lines to."""

    def write(body, name="hook.sh"):
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\nLOG={tmp_path / 'log'}\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return (str(path),)

    return write


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def faults():
    return []


@pytest.fixture
def hook(faults):
    """Makes workers with a command relay that are closed after the test.

    Machines that test are slow: an opening may take its time to start, but where a test is about
    just that.
    """
    made = []

    def make(
        on_allow=None,
        on_deny=None,
        *,
        limit_s=LONG_S,
        clock=time.monotonic,
        max_late_s=PATIENCE_S,
        **options,
    ):
        commands = [None if words is None else shlex.join(words) for words in (on_allow, on_deny)]
        worker = RelayWorker(
            CommandRelay(*commands, limit_s),
            clock=clock,
            max_late_s=max_late_s,
            on_done=lambda order: None,
            on_fault=faults.append,
            **options,
        )
        made.append(worker)
        return worker

    yield make
    for one in made:
        with contextlib.suppress(OutputError):
            one.close()


def allow(hold_s=LONG_S, order_id="a", event="{}"):
    """Decided as far ahead as is believed: a slow machine may take its time."""
    now, ahead_s = time.monotonic(), 0.9 * MAX_LATE_S
    return Order(True, order_id, "compliant", now + ahead_s, now + hold_s, event_json=event)


def deny(order_id="d", reason="no_mask", event="{}"):
    return Order(False, order_id, reason, time.monotonic(), event_json=event)


class TestParseCommand:
    def test_splits_as_a_shell_would(self, script):
        (path,) = script("true")
        assert parse_command(f"{path} --pin 17 'two words'", "--on-allow") == (
            path,
            "--pin",
            "17",
            "two words",
        )

    @pytest.mark.parametrize("text", ["", "   ", "''"])
    def test_nothing_is_refused(self, text):
        with pytest.raises(ConfigError, match=r"--on-deny.*expected a command"):
            parse_command(text, "--on-deny")

    def test_bad_quotes_are_refused(self):
        with pytest.raises(ConfigError, match=r"--on-allow.*check the quotes"):
            parse_command("relay 'open", "--on-allow")

    def test_a_missing_program_is_refused_at_start(self, tmp_path):
        with pytest.raises(ConfigError, match=r"no program .* was found"):
            parse_command(str(tmp_path / "nothing"), "--on-allow")

    def test_a_program_without_the_right_to_run_is_refused_at_start(self, tmp_path):
        path = tmp_path / "relay.sh"
        path.write_text("#!/bin/sh\n")
        with pytest.raises(ConfigError, match=r"not executable; run chmod \+x"):
            parse_command(str(path), "--on-allow")

    def test_a_file_of_the_working_folder_needs_its_dot(self, tmp_path, monkeypatch, script):
        script("true", "relay.sh")
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ConfigError, match=r"write \./relay\.sh"):
            parse_command("relay.sh", "--on-allow")


class TestWhatAHookIsTold:
    def test_decision_is_the_last_argument_and_no_shell_sees_it(self, script, log, hook):
        command = (*script('printf "%s|" "$@" >> $LOG'), "$(id)", "; true")
        hook(on_deny=command).send(deny())
        wait_until(lambda: log.exists() and log.read_text().count("|") == 3)
        assert log.read_text() == "$(id)|; true|deny|"

    def test_the_event_is_json_on_standard_input_and_in_the_environment(self, script, log, hook):
        event = {"reason": "no_mask", "tracks": [{"id": 7, "label": "마스크"}]}
        hook(on_deny=script('cat >> $LOG; printf "%s\\n" "$MASK_GATE_EVENT" >> $LOG')).send(
            deny(event=json.dumps(event))
        )
        wait_until(lambda: len(read_lines(log)) == 2)
        assert [json.loads(line) for line in read_lines(log)] == [event, event]

    def test_the_environment_is_small_and_complete(self, script, log, hook, monkeypatch):
        monkeypatch.setenv("MQTT_PASSWORD", "secret")
        hook(on_deny=script("env > $LOG.tmp; mv $LOG.tmp $LOG")).send(deny("id-1"))
        wait_until(log.exists)
        told = dict(line.split("=", 1) for line in read_lines(log))
        assert told["MASK_GATE_DECISION"] == "deny"
        assert told["MASK_GATE_REASON"] == "no_mask"
        assert told["MASK_GATE_ID"] == "id-1"
        assert float(told["MASK_GATE_HOLD_S"]) == float(told["MASK_GATE_UNTIL"]) == 0.0
        assert int(told["MASK_GATE_PID"]) == os.getpid()
        assert "MQTT_PASSWORD" not in told
        shells_own = {"PWD", "OLDPWD", "SHLVL", "_"}
        assert {name for name in told if not name.startswith("MASK_GATE_")} <= (
            {"PATH", "LANG", "HOME"} | shells_own
        )

    def test_an_allow_hook_knows_how_long_the_door_may_stay_open(self, script, log, hook):
        hook(on_allow=script("echo $MASK_GATE_HOLD_S >> $LOG")).send(allow(hold_s=30.0))
        wait_until(lambda: read_lines(log))
        assert 0.0 < float(read_lines(log)[0]) <= 30.0

    def test_and_the_moment_at_which_it_must_be_locked_however_slow_its_start(
        self, script, log, hook
    ):
        opening = allow(hold_s=30.0)
        hook(on_allow=script("echo $MASK_GATE_UNTIL >> $LOG")).send(opening)
        wait_until(lambda: read_lines(log))
        assert float(read_lines(log)[0]) == pytest.approx(opening.until_s, abs=0.001)

    def test_an_event_larger_than_a_pipe_arrives_whole(self, tmp_path):
        event = b"x" * 1_000_000
        copy = tmp_path / "copy"
        process = HookProcess(("sh", "-c", f"cat > {copy}"), {"PATH": os.defpath}, event)
        assert process.wait(PATIENCE_S, lambda: False, linger=False).ok
        assert copy.read_bytes() == event

    def test_a_hook_that_reads_nothing_is_no_fault(self):
        process = HookProcess(("true",), {"PATH": os.defpath}, b"x" * 1_000_000)
        assert process.wait(PATIENCE_S, lambda: False, linger=False).ok


class TestOrder:
    def test_signals_run_one_after_the_other_in_the_order_they_came(self, script, log, hook):
        command = script('echo "begin $MASK_GATE_ID" >> $LOG; echo "end $MASK_GATE_ID" >> $LOG')
        one = hook(on_deny=command)
        for number in range(5):
            one.send(deny(str(number)))
        wait_until(lambda: len(read_lines(log)) == 10)
        assert read_lines(log) == [f"{w} {n}" for n in range(5) for w in ("begin", "end")]

    def test_sending_never_waits_for_a_hook(self, script, log, hook):
        one = hook(on_allow=script("echo up >> $LOG; exec sleep 60"))
        one.send(allow())
        wait_until(lambda: read_lines(log) == ["up"])
        threads = threading.active_count()
        for _ in range(1000):
            one.send(allow())
        assert threading.active_count() <= threads + 2
        wait_until(lambda: child_of_this_process("sleep 60"), "what the shell becomes")

    def test_a_lock_ends_a_running_opening_at_once(self, script, log, hook, faults):
        command = script('echo "$1" >> $LOG; [ "$1" = deny ] || exec sleep 60')
        one = hook(on_allow=command, on_deny=command)
        one.send(allow())
        wait_until(lambda: read_lines(log) == ["allow"])
        one.send(deny())
        wait_until(lambda: read_lines(log) == ["allow", "deny"])
        assert child_of_this_process("sleep 60") is None
        assert faults == []

    def test_a_stopped_opening_gets_the_chance_to_lock_first(self, script, log, hook):
        opening = script(
            "trap 'echo \"locked itself\" >> $LOG; exit' TERM; echo open >> $LOG; "
            "while :; do sleep 0.01; done",
            "allow.sh",
        )
        one = hook(on_allow=opening, on_deny=script("echo deny >> $LOG", "deny.sh"))
        one.send(allow())
        wait_until(lambda: read_lines(log) == ["open"])
        one.send(deny())
        wait_until(lambda: "deny" in read_lines(log))
        assert read_lines(log) == ["open", "locked itself", "deny"]

    def test_an_opening_that_ignores_sigterm_is_killed_before_the_lock_runs(
        self, script, log, hook
    ):
        opening = script("trap '' TERM; echo $$ >> $LOG; while :; do sleep 0.01; done", "allow.sh")
        one = hook(on_allow=opening, on_deny=script("echo deny >> $LOG", "deny.sh"))
        one.send(allow())
        wait_until(lambda: read_lines(log))
        one.send(deny())
        wait_until(lambda: "deny" in read_lines(log))
        assert not is_alive(int(read_lines(log)[0]))

    def test_a_lock_throws_out_an_opening_that_still_waits(self, script, log, hook):
        slow = script("echo first >> $LOG; while [ ! -e $LOG.go ]; do sleep 0.01; done", "deny.sh")
        one = hook(on_allow=script("echo opened >> $LOG", "allow.sh"), on_deny=slow, limit_s=LONG_S)
        one.send(deny("1"))
        wait_until(lambda: read_lines(log) == ["first"])
        one.send(allow())
        one.send(deny("2"))
        log.with_name("log.go").touch()
        wait_until(lambda: read_lines(log) == ["first", "first"])
        one.close()
        assert read_lines(log) == ["first", "first"]

    def test_an_opening_that_had_to_wait_is_dropped_and_reported_never_late(
        self, script, log, hook, clock, faults
    ):
        slow = script("echo first >> $LOG; while [ ! -e $LOG.go ]; do sleep 0.01; done", "deny.sh")
        one = hook(
            on_allow=script("echo opened >> $LOG", "allow.sh"),
            on_deny=slow,
            limit_s=LONG_S,
            clock=clock,
            max_late_s=MAX_LATE_S,
        )
        one.send(deny())
        wait_until(lambda: read_lines(log) == ["first"])
        now = clock()
        one.send(Order(True, "a", "compliant", now, now + 5.0))
        clock.advance(0.6)
        log.with_name("log.go").touch()
        wait_until(lambda: faults)
        one.close()
        assert faults == ["the opening could not start within 0.5 s and was dropped"]
        assert read_lines(log) == ["first"]

    @pytest.mark.parametrize("until_s", [0.0, float("nan")])
    def test_an_opening_without_an_end_to_come_is_no_opening(
        self, script, log, hook, faults, until_s
    ):
        one = hook(on_allow=script("echo opened >> $LOG"))
        now = time.monotonic()
        one.send(Order(True, "a", "compliant", now, until_s))
        wait_until(lambda: faults)
        assert read_lines(log) == []

    def test_a_flood_of_denials_keeps_the_newest(self, script, log, hook):
        one = hook(on_deny=script("echo $MASK_GATE_ID >> $LOG"))
        for number in range(500):
            one.send(deny(str(number)))
        wait_until(lambda: read_lines(log)[-1:] == ["499"])
        assert len(read_lines(log)) < 100


class TestLimits:
    def test_a_hanging_lock_is_killed_with_all_its_group_and_tried_again(
        self, script, log, hook, faults
    ):
        command = script(
            "[ -e $LOG ] && { echo locked >> $LOG; exit 0; }\n"
            "sleep 60 & echo $! >> $LOG; (sleep 60 & echo $! >> $LOG; wait) & wait"
        )
        one = hook(on_deny=command, limit_s=1.0)
        one.send(deny())
        wait_until(lambda: "locked" in read_lines(log))
        *children, _ = read_lines(log)
        assert children
        assert not any(is_alive(int(pid)) for pid in children)
        assert "did not end within 1.0 s" in faults[0]

    def test_an_opening_may_last_as_long_as_its_lease(self, script, log, hook, faults):
        one = hook(on_allow=script("sleep 0.6; echo closed by itself >> $LOG"), limit_s=0.2)
        one.send(allow())
        wait_until(lambda: read_lines(log))
        one.close()
        assert read_lines(log) == ["closed by itself"]
        assert faults == []

    def test_an_opening_that_outlives_its_lease_is_killed_and_reported(
        self, script, log, hook, faults
    ):
        one = hook(on_allow=script("echo $$ >> $LOG; exec sleep 60"))
        one.send(allow(hold_s=0.2))
        wait_until(lambda: faults)
        assert "did not end within" in faults[0]
        assert not is_alive(int(read_lines(log)[0]))

    def test_so_much_longer_may_an_opening_last_than_it_was_to(self):
        """It may end by itself, then it is told to, then it is killed; and each is looked for."""
        assert OVERSHOOT_S == ALLOW_GRACE_S + GRACE_S + POLL_S
        assert OVERSHOOT_S < 0.65

    def test_an_opening_that_ignores_everything_is_locked_within_that(
        self, script, log, hook, gate_bench
    ):
        opening = script(
            "trap '' TERM; echo open >> $LOG; while :; do sleep 0.01; done", "allow.sh"
        )
        one = hook(on_allow=opening, on_deny=script("echo locked >> $LOG", "deny.sh"), pulse_s=0.4)
        stillness = gate_bench.Stillness()
        began_s = time.monotonic()
        one.send(allow())
        wait_until(lambda: read_lines(log) == ["open", "locked"])
        took_s = time.monotonic() - began_s
        starting_s = 0.5  # of two programs, on a busy machine
        starting_s += stillness.between(began_s, began_s + took_s)
        stillness.close()
        assert 0.4 <= took_s <= 0.4 + OVERSHOOT_S + starting_s

    def test_one_that_is_locked_by_nothing_else_has_longer(self, script, log, hook, faults):
        late = 0.2 + ALLOW_GRACE_S + LONE_GRACE_S / 10  # a slow machine adds to it
        one = hook(on_allow=script(f"sleep {late}; echo locked by itself >> $LOG"))
        one.send(allow(hold_s=0.2))
        wait_until(lambda: read_lines(log))
        one.close()
        assert read_lines(log) == ["locked by itself"]
        assert faults == []

    def test_a_pulse_in_the_background_lives_until_the_lock(self, script, log, hook):
        opening = script("sleep 60 & echo $! >> $LOG", "allow.sh")
        one = hook(on_allow=opening, on_deny=script("echo deny >> $LOG", "deny.sh"))
        one.send(allow())
        wait_until(lambda: read_lines(log))
        time.sleep(0.2)
        background = int(read_lines(log)[0])
        assert is_alive(background)
        one.send(deny())
        wait_until(lambda: "deny" in read_lines(log))
        assert not is_alive(background)

    @pytest.mark.parametrize("flood", ["exec yes", "exec cat /dev/urandom", "exec cat /dev/zero"])
    def test_a_flood_of_output_is_read_and_forgotten(self, flood):
        process = HookProcess(("sh", "-c", flood), {"PATH": os.defpath}, b"{}")
        flooded_s = []  # when more had come than is kept, and some time after that

        def enough():
            if len(process._output) == OUTPUT_LIMIT:
                flooded_s.append(time.monotonic())
            return bool(flooded_s) and time.monotonic() - flooded_s[0] > 0.2

        result = process.wait(PATIENCE_S, enough, linger=False)
        assert not result.ok
        assert len(process._output) == OUTPUT_LIMIT
        assert len(result.account) < 1500

    def test_more_output_than_is_kept_does_not_block_a_hook(self):
        flood = f"head -c {50 * OUTPUT_LIMIT} /dev/zero"
        process = HookProcess(("sh", "-c", flood), {"PATH": os.defpath}, b"{}")
        assert process.wait(PATIENCE_S, lambda: False, linger=False).ok


class TestFailure:
    def test_a_failed_opening_is_reported_and_never_repeated(self, script, log, hook, faults):
        one = hook(on_allow=script("echo try >> $LOG; echo 'no such pin' >&2; exit 3"))
        one.send(allow())
        wait_until(lambda: faults)
        one.close()
        assert faults == ["the allow hook ended with code 3: 'no such pin'"]
        assert read_lines(log) == ["try"]

    def test_what_a_hook_prints_cannot_forge_a_log_line(self, script, hook, faults):
        one = hook(on_allow=script(r"printf '\033[2Jok\r' >&2; exit 1"))
        one.send(allow())
        wait_until(lambda: faults)
        assert faults[0].isprintable()

    def test_a_failed_lock_is_repeated_until_it_works(self, script, log, hook, faults):
        one = hook(on_deny=script("echo try >> $LOG; [ $(wc -l < $LOG) -ge 4 ]"))
        one.send(deny())
        wait_until(lambda: len(read_lines(log)) == 4)
        one.close()  # does not raise: the last lock worked
        assert len(faults) == 3
        assert len(read_lines(log)) == 4

    def test_a_newer_lock_takes_the_place_of_one_that_fails(self, script, log, hook):
        command = script("echo $MASK_GATE_ID >> $LOG; [ $MASK_GATE_ID = new ]")
        one = hook(on_deny=command)
        one.send(deny("old"))
        wait_until(lambda: read_lines(log))
        one.send(deny("new"))
        wait_until(lambda: "new" in read_lines(log))
        one.close()
        lines = read_lines(log)
        assert lines == ["old"] * (len(lines) - 1) + ["new"]

    def test_nothing_opens_while_the_lock_fails(self, script, log, hook, faults):
        locking = script("[ -e $LOG.mended ] && echo locked >> $LOG", "deny.sh")
        opening = script("echo opened >> $LOG", "allow.sh")
        one = hook(on_allow=opening, on_deny=locking, max_late_s=MAX_LATE_S)
        one.send(deny())
        wait_until(lambda: faults)
        one.send(allow())
        wait_until(lambda: len(faults) >= 3)
        assert read_lines(log) == []
        log.with_name("log.mended").touch()
        wait_until(lambda: "locked" in read_lines(log))
        wait_until(lambda: "the opening could not start" in faults[-1])
        one.send(allow())
        wait_until(lambda: "opened" in read_lines(log))
        assert read_lines(log) == ["locked", "opened"]

    def test_a_program_that_vanished_is_a_failure_like_any_other(self, script, hook, faults):
        (path,) = script("true")
        one = hook(on_allow=(path,))
        Path(path).unlink()
        one.send(allow())
        wait_until(lambda: faults)
        assert "could not start" in faults[0]

    def test_a_hook_killed_by_somebody_else_is_reported(self, script, log, hook, faults):
        one = hook(on_allow=script("echo $$ >> $LOG; exec sleep 60"))
        one.send(allow())
        wait_until(lambda: read_lines(log))
        os.kill(int(read_lines(log)[0]), signal.SIGKILL)
        wait_until(lambda: faults)
        assert faults == ["the allow hook was killed (Killed)"]

    def test_a_lock_that_fails_says_what_that_means(self, script, hook, faults):
        hook(on_deny=script("exit 1")).send(deny())
        wait_until(lambda: faults)
        assert faults[0] == (
            "the deny hook ended with code 1; the door may be open: check it by hand"
        )

    def test_a_worker_that_broke_down_takes_no_more_signals(
        self, script, hook, faults, monkeypatch
    ):
        def broken(*arguments, **options):
            raise RuntimeError("a bug")

        monkeypatch.setattr("mask_gate.gate.relays.command.HookProcess", broken)
        one = hook(on_deny=script("true"))
        one.send(deny())
        wait_until(lambda: not one._thread.is_alive())
        assert "broke down; the door may be open" in faults[0]
        with pytest.raises(OutputError, match="start the gate again"):
            one.send(deny())
        with pytest.raises(OutputError, match="broke down; the door may be open"):
            one.close()


class TestHooksOfOtherUsers:
    """As below sudo: what runs there may be neither signalled nor killed."""

    @pytest.fixture
    def forbidden(self, monkeypatch):
        def forbid(pid, signum):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr("mask_gate.gate.relays.hook_process.os.killpg", forbid)

    @pytest.mark.skipif(sys.platform == "darwin", reason="there EPERM means that it is dead")
    def test_an_opening_that_cannot_be_revoked_is_a_fault(self, script, log, forbidden):
        command = script("echo $$ >> $LOG; exec sleep 60")
        process = HookProcess(command, {"PATH": os.defpath}, b"{}", reap_s=0.1)
        wait_until(lambda: read_lines(log))
        result = process.wait(LONG_S, lambda: True, linger=True)
        os.kill(int(read_lines(log)[0]), signal.SIGKILL)
        assert (result.ok, result.cancelled) == (False, False)
        assert "could not be killed" in result.account

    @pytest.mark.skipif(sys.platform == "darwin", reason="there EPERM means that it is dead")
    def test_and_so_is_one_that_somebody_else_goes_on_with(self, forbidden):
        process = HookProcess(("true",), {"PATH": os.defpath}, b"{}")
        assert "could not be killed" in process.wait(0.2, lambda: False, linger=True).account

    def test_a_lock_that_worked_has_worked_whatever_it_left_behind(self, forbidden):
        process = HookProcess(("true",), {"PATH": os.defpath}, b"{}")
        assert process.wait(PATIENCE_S, lambda: False, linger=False).ok


class TestClose:
    def test_the_last_lock_is_carried_out(self, script, log, hook):
        one = hook(on_deny=script("sleep 0.3; echo locked >> $LOG"))
        one.send(deny("stop", "stopping"))
        one.close()
        assert read_lines(log) == ["locked"]

    def test_only_the_newest_of_the_waiting_locks_still_counts(self, script, log, hook):
        body = "echo $MASK_GATE_ID >> $LOG; while [ ! -e $LOG.go ]; do sleep 0.01; done"
        one = hook(on_deny=script(body))
        one.send(deny("0"))
        wait_until(lambda: read_lines(log) == ["0"])
        for number in range(1, 10):
            one.send(deny(str(number)))
        threading.Timer(0.2, log.with_name("log.go").touch).start()
        one.close()
        assert read_lines(log) == ["0", "9"]

    def test_no_child_is_left_even_if_no_lock_was_sent(self, script, log, hook):
        one = hook(on_allow=script("echo $$ >> $LOG; exec sleep 60"))
        one.send(allow())
        wait_until(lambda: read_lines(log))
        one.close()
        assert not is_alive(int(read_lines(log)[0]))

    def test_a_last_lock_that_fails_is_an_output_error(self, script, hook):
        one = hook(on_deny=script("echo broken; exit 1"), patience_s=0.5)
        one.send(deny())
        with pytest.raises(OutputError, match="ended with code 1: 'broken'; the door may be"):
            one.close()

    def test_a_last_lock_that_hangs_ends_in_bounded_time(self, script, hook):
        one = hook(on_deny=script("exec sleep 60"), limit_s=0.5, patience_s=0.5)
        one.send(deny())
        with pytest.raises(OutputError, match="did not end within"):
            one.close()
        assert child_of_this_process("sleep 60") is None

    def test_a_hook_stuck_in_its_start_is_an_output_error(self, script, hook, monkeypatch, caplog):
        release = threading.Event()

        def stuck(*arguments, **options):
            release.wait(PATIENCE_S)
            raise OSError("late")

        monkeypatch.setattr("mask_gate.gate.relays.command.HookProcess", stuck)
        one = hook(on_deny=script("true"), limit_s=0.1, patience_s=0.1, end_s=0.2)
        one.send(deny())
        try:
            with pytest.raises(OutputError, match="does not end; the door may be open"):
                one.close()
        finally:
            release.set()
        critical = [r.getMessage() for r in caplog.records if r.levelname == "CRITICAL"]
        assert critical == ["command hook.sh does not end; the door may be open: check it by hand"]

    def test_closing_twice_and_sending_after_that_do_nothing(self, script, log, hook):
        one = hook(on_allow=script("echo opened >> $LOG"))
        one.close()
        one.send(allow())
        one.close()
        assert read_lines(log) == []
        assert not one._thread.is_alive()


def child_of_this_process(command_line):
    """Pid of a live descendant with this command line, or None."""
    listing = subprocess.run(
        ["ps", "-eo", "pid,ppid,stat,args"], capture_output=True, text=True, check=True
    ).stdout
    for line in listing.splitlines():
        pid, parent, state, args = line.split(None, 3)
        if args == command_line and parent == str(os.getpid()) and "Z" not in state:
            return int(pid)
    return None


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def zombies():
    """Children that ended and were not taken notice of."""
    pids = [
        int(pid)
        for task in Path(f"/proc/{os.getpid()}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    return [pid for pid in pids if " Z " in Path(f"/proc/{pid}/stat").read_text(errors="replace")]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_two_hundred_hooks_leave_no_zombie_and_no_open_file(script, log, hook):
    bodies = (
        "exit 0",
        "exit 1",
        "kill -9 $$",
        "sleep 60 &",
        "head -c 200000 /dev/zero; exit 2",
    )
    commands = [script(body, f"{number}.sh") for number, body in enumerate(bodies)]
    gc.collect()  # what others left behind may go at any time
    before = open_files()
    for number in range(200):
        process = HookProcess(commands[number % 5], {"PATH": os.environ["PATH"]}, b"{}")
        process.wait(PATIENCE_S, lambda: False, linger=False)
    assert open_files() - before <= 2
    assert zombies() == []
    assert child_of_this_process("sleep 60") is None
