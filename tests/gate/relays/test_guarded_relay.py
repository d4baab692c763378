"""A relay and its guardian as real processes: whoever dies or hangs, the door ends up locked."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.guarded_relay import GuardedRelay, GuardianLimits
from mask_gate.gate.relays.guardian import MAX_LINE, GuardianSettings
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.relays.worker import CHECK_BY_HAND, END_S, MAX_LATE_S

PATIENCE_S = 60.0
ROOT = Path(__file__).resolve().parents[3]

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]


def wait_until(condition, what="the condition"):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"gave up waiting for {what}"
        time.sleep(0.01)


def allow(hold_s=60.0, signal_id="a", late_s=-0.9 * MAX_LATE_S):
    """An opening, decided as far ahead as is believed: a slow machine may take its time."""
    now_s = uptime_s() - late_s
    return Signal(SignalKind.ALLOW, Reason.COMPLIANT, now_s, signal_id, until_s=now_s + hold_s)


def deny(signal_id="d"):
    return Signal(SignalKind.DENY, Reason.NO_MASK, uptime_s(), signal_id)


class DoorProbe:
    """Every edge of the door, from before the first process to after the last."""

    def __init__(self, path):
        self.path = path

    def edges(self):
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return [(float(time_s), level) for time_s, level, *_ in map(str.split, lines)]

    def levels(self):
        return [level for _, level in self.edges()]

    def is_locked(self):
        return self.levels()[-1:] == ["locked"]


def recording(path, heartbeat_s=PATIENCE_S, **limits):
    return GuardianSettings({"kind": "recording", "path": str(path)}, heartbeat_s, **limits)


SOUND = "from mask_gate.gate.relays.guardian import main; raise SystemExit(main())"
ONE_ONLY = GuardianLimits(restart_pauses_s=(PATIENCE_S,))
"""No other guardian is started in the time of a test."""


@pytest.fixture
def program(tmp_path):
    """What guardians are, which a test may change from one to the next; SOUND at first."""
    path = tmp_path / "guardian.py"
    path.write_text(SOUND)
    return path


@pytest.fixture
def command(program):
    """Starts the guardian that `program` is."""
    return (sys.executable, str(program))


@pytest.fixture
def probe(tmp_path):
    return DoorProbe(tmp_path / "door")


@pytest.fixture
def guarded(probe):
    """Makes guarded relays whose heart beats, as it does by the door's timer."""
    over = threading.Event()
    made = []

    def make(beating=True, settings=None, **options):
        relay = GuardedRelay(
            settings or recording(probe.path),
            on_fault=make.faults.append,
            on_done=lambda *what: make.done.append(what),
            **options,
        )
        made.append(relay)
        if beating:
            threading.Thread(target=beat, args=(relay,), daemon=True).start()
        return relay

    def beat(relay):
        while not over.wait(0.02):
            relay.beat()

    make.faults, make.done = [], []
    yield make
    over.set()
    for relay in made:
        with contextlib.suppress(OutputError):
            relay.close()


class TestWork:
    def test_ready_means_locked(self, guarded, probe):
        guarded()
        assert probe.levels() == ["locked"]

    def test_orders_are_carried_out_in_order_and_told(self, guarded, probe):
        relay = guarded()
        relay.send(allow(), {})
        relay.send(deny(), {})
        wait_until(lambda: len(guarded.done) >= 1)
        relay.send(allow(signal_id="b"), {})
        wait_until(lambda: ("b", "allow", f"recording {probe.path}") in guarded.done)
        assert probe.levels()[-1] == "unlocked"
        assert guarded.faults == []

    def test_closing_locks(self, guarded, probe):
        relay = guarded()
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        relay.close()
        assert probe.is_locked()
        relay.close()

    def test_letting_go_locks_and_waits_for_nothing(self, guarded, probe):
        relay = guarded()
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        relay.let_go()
        wait_until(probe.is_locked)
        relay.close()

    def test_nothing_is_sent_after_the_end(self, guarded, probe):
        relay = guarded()
        relay.close()
        relay.send(allow(), {})
        assert "unlocked" not in probe.levels()

    def test_no_event_is_too_strange_to_lock(self, guarded):
        guarded().send(deny("odd"), {"score": float("nan"), "odd": object(), "마": "\ud800"})
        wait_until(lambda: any("odd" in done for done in guarded.done))

    def test_an_opening_that_was_kept_back_on_its_way_is_dropped(self, guarded, probe):
        guarded().send(allow(late_s=1.0), {})
        wait_until(lambda: guarded.faults)
        (fault,) = guarded.faults
        assert fault.startswith("recording ")
        assert fault.endswith(": the opening could not start within 0.5 s and was dropped")
        assert probe.levels() == ["locked"]

    def test_sending_never_waits_for_a_guardian_that_stands_still(self, guarded):
        relay = guarded(beating=False)
        os.kill(relay.pid, signal.SIGSTOP)
        began_s = time.monotonic()

        def flood():
            for _ in range(10_000):
                relay.send(deny(), {"padding": "x" * 100})

        with pytest.raises(OutputError, match="cannot be reached"):
            flood()
        assert time.monotonic() - began_s < PATIENCE_S
        os.kill(relay.pid, signal.SIGCONT)

    def test_the_guardian_keeps_the_door_owned(self, guarded, tmp_path):
        with (tmp_path / "owner").open("w") as owner:
            relay = guarded(owner=[owner.fileno()])
            held = Path(f"/proc/{relay.pid}/fd/{owner.fileno()}")
            assert held.readlink() == tmp_path / "owner"


class TestStart:
    def test_a_relay_that_is_not_there_is_one_sentence(self, tmp_path):
        with pytest.raises(OutputError, match="cannot be written"):
            GuardedRelay(recording(tmp_path / "no" / "door"), on_fault=print)

    def test_a_process_that_cannot_be_had_is_one_sentence(self, tmp_path):
        command = (str(tmp_path / "no python"),)
        with pytest.raises(OutputError, match=r"relay recording: no process can be started \(No "):
            GuardedRelay(recording(tmp_path / "door"), on_fault=print, command=command)

    def test_nothing_in_the_current_folder_is_run(self, guarded, probe, tmp_path, monkeypatch):
        (tmp_path / "json.py").write_text("open('canary', 'w').close()")
        monkeypatch.chdir(tmp_path)
        guarded()
        assert probe.is_locked()
        assert not (tmp_path / "canary").exists()

    def test_a_device_that_hangs_is_given_up(self, tmp_path):
        os.mkfifo(tmp_path / "door")  # opening it for writing waits for a reader that never comes
        limits = GuardianLimits(start_s=0.5)
        with pytest.raises(OutputError, match=r"not ready in 0\.5 s; check the device"):
            GuardedRelay(recording(tmp_path / "door"), on_fault=print, limits=limits)


def kill(relay):
    os.kill(relay.pid, signal.SIGKILL)


class TestAGuardianThat:
    def wait_for_the_next(self, relay):
        first = relay.pid
        kill(relay)
        wait_until(lambda: relay.pid != first)

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
    def test_dies_is_replaced_and_the_next_one_locks(self, guarded, probe, number):
        relay = guarded()
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        os.kill(relay.pid, number)
        wait_until(probe.is_locked)
        wait_until(lambda: guarded.faults)
        assert "ended; the door may be open" in guarded.faults[0]
        wait_until(lambda: relay.is_ready)
        relay.send(allow(signal_id="again"), {})
        wait_until(lambda: not probe.is_locked())

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGABRT])
    def test_is_told_to_stop_locks_and_opens_no_more(self, guarded, probe, number):
        relay = guarded()
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        os.kill(relay.pid, number)
        wait_until(probe.is_locked)
        relay.send(allow(signal_id="again"), {})
        relay.send(deny("last"), {})
        wait_until(lambda: any("last" in done for done in guarded.done))
        assert probe.levels().count("unlocked") == 1
        relay.close()
        (fault,) = guarded.faults
        assert fault.endswith(": the guardian was told to stop: the opening was dropped")

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
    def test_hears_what_is_for_the_gate_alone_goes_on(self, guarded, probe, number):
        relay = guarded()
        os.kill(relay.pid, number)
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        assert guarded.faults == []

    def test_is_dead_takes_no_orders(self, guarded):
        relay = guarded(limits=ONE_ONLY)
        kill(relay)
        wait_until(lambda: guarded.faults)
        with pytest.raises(OutputError, match="cannot be reached"):
            relay.send(allow(), {})

    def test_died_just_before_the_end_is_followed_by_one_for_the_last_lock(self, guarded, probe):
        relay = guarded(limits=ONE_ONLY)
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        kill(relay)
        wait_until(lambda: guarded.faults)
        relay.close()
        assert probe.is_locked()

    def test_died_where_no_other_can_be_had_is_told_at_the_end(self, guarded, program, command):
        relay = guarded(limits=ONE_ONLY, command=command)
        kill(relay)
        wait_until(lambda: guarded.faults)
        program.unlink()
        with pytest.raises(OutputError, match="check it by hand"):
            relay.close()

    @pytest.mark.parametrize("lack", ["no program", "a program that fails"])
    def test_died_where_no_other_can_be_had_is_followed_by_a_lock_of_the_gates_own(
        self, guarded, probe, program, tmp_path, lack
    ):
        python = tmp_path / "python"
        python.symlink_to(sys.executable)
        relay = guarded(command=(str(python), str(program)))
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        (python if lack == "no program" else program).unlink()
        kill(relay)
        wait_until(probe.is_locked)
        with pytest.raises(OutputError):
            relay.send(allow(), {})

    def test_stands_still_is_replaced(self, guarded, probe):
        relay = guarded()
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        os.kill(relay.pid, signal.SIGSTOP)
        wait_until(probe.is_locked)
        wait_until(lambda: guarded.faults)

    @pytest.mark.parametrize("rubbish", ["open sesame", "5", '{"log": "no level"}', "\xff"])
    def test_talks_nonsense_is_replaced(self, guarded, probe, program, command, rubbish):
        relay = guarded(command=command)
        relay.send(allow(), {})
        wait_until(lambda: not probe.is_locked())
        program.write_text(f"print({rubbish!r}, flush=True); import time; time.sleep(600)")
        self.wait_for_the_next(relay)
        program.write_text(SOUND)
        wait_until(probe.is_locked)
        wait_until(lambda: relay.is_ready)

    def test_never_ends_a_line_is_replaced(self, guarded, probe, program, command):
        relay = guarded(command=command)
        program.write_text("while True: print('x' * 1000, end='', flush=True)")
        self.wait_for_the_next(relay)
        program.write_text(SOUND)
        wait_until(lambda: relay.is_ready)
        assert probe.is_locked()

    def test_takes_its_time_over_the_last_lock_is_left_to_it(self, guarded, probe, tmp_path):
        """As long as the worker in it may take: to kill a command, and to see it die."""
        talk = (
            "import json, sys, time; sys.stdin.readline(); print(json.dumps({'ready': 'slow'}));"
            "sys.stdout.flush(); sys.stdin.read(); time.sleep(float(sys.argv[1]));"
            "open(sys.argv[2], 'w').close()"
        )
        longest_s = 0.2 + END_S
        command = (sys.executable, "-c", talk, f"{longest_s}", str(tmp_path / "locked"))
        settings = recording(probe.path, close_s=0.2)
        guarded(beating=False, settings=settings, command=command).close()
        assert (tmp_path / "locked").exists()

    def test_hangs_in_an_opening_is_replaced(self, guarded, tmp_path):
        path = tmp_path / "fifo"
        os.mkfifo(path)
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as end:
            relay = guarded(settings=recording(path, stuck_s=0.5))
            first = relay.pid
            filler = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
            with contextlib.suppress(BlockingIOError):
                while True:
                    os.write(filler, b"x" * 512)
            os.close(filler)
            relay.send(allow(hold_s=0.2), {})
            wait_until(lambda: guarded.faults)
            assert (
                guarded.faults[0] == f"recording {path}: the relay hangs; its guardian is replaced"
            )
            end.read(1 << 20)  # the device works again
            wait_until(lambda: relay.is_ready and relay.pid != first)

    def test_was_not_asked_for_long_is_left_alone(self, guarded):
        relay = guarded(beating=False, limits=GuardianLimits(answer_s=0.2))
        first = relay.pid
        for _ in range(3):
            relay.beat()
            time.sleep(0.5)  # the machine was suspended, say
        relay.send(deny("last"), {})
        wait_until(lambda: any("last" in done for done in guarded.done))
        assert relay.pid == first
        assert guarded.faults == []


GATE = """
import sys, threading, time
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import GuardianSettings
settings = GuardianSettings({"kind": "recording", "path": sys.argv[1]}, 1.5)
relay = GuardedRelay(settings, on_fault=lambda what: None)
now_s = uptime_s()
relay.send(Signal(SignalKind.ALLOW, Reason.COMPLIANT, now_s, "a", until_s=now_s + 60), {})
while True:
    relay.beat()
    time.sleep(0.02)
"""


# Its guardian is killed with the door open, while no process can be started.
STARVED = """
import os, resource, signal, sys, time
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.relays.guarded_relay import GuardedRelay
from mask_gate.gate.relays.guardian import GuardianSettings
faults = []
settings = GuardianSettings({"kind": "recording", "path": sys.argv[1]}, 0.5)
relay = GuardedRelay(settings, on_fault=faults.append)
now_s = uptime_s()
relay.send(Signal(SignalKind.ALLOW, Reason.COMPLIANT, now_s, "a", until_s=now_s + 60), {})
while "unlocked" not in open(sys.argv[1]).read():
    time.sleep(0.01)
first = relay.pid
few, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3, most))
os.kill(first, signal.SIGKILL)
while not any("no process can be started" in fault for fault in faults):
    time.sleep(0.01)
resource.setrlimit(resource.RLIMIT_NOFILE, (few, most))
while relay.pid == first or not relay.is_ready:
    time.sleep(0.01)
relay.close()
"""


# A guardian whose relay neither locks nor can be let go of.
STUCK = """
import sys, time
from mask_gate.gate.relays import guardian
from mask_gate.gate.errors import OutputError

class Relay:
    name = "stuck"
    def lock(self, order, cancelled):
        raise OutputError("stuck: no answer")
    def close(self):
        time.sleep(600)

guardian.open_relay = lambda settings: Relay()
sys.exit(guardian.main())
"""


class TestAloneTheGuardian:
    """Spoken to as a gate speaks, line by line."""

    @pytest.fixture
    def guardian(self, probe):
        """Starts one; it is told whose relay it is."""
        made = []

        def start(*words, **settings):
            process = subprocess.Popen(
                [sys.executable, *words],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
            made.append(process)
            first = asdict(recording(probe.path, **settings))
            process.stdin.write(json.dumps(first).encode() + b"\n")
            assert "ready" in json.loads(process.stdout.readline())
            return process

        yield start
        for process in made:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()

    def test_takes_a_line_without_an_end_for_the_end(self, guardian, probe):
        process = guardian("-m", "mask_gate.gate.relays.guardian")
        now_s = uptime_s()
        order = Order(True, "a", "compliant", now_s, now_s + 60.0)
        process.stdin.write(json.dumps({"order": asdict(order)}).encode() + b"\n")
        wait_until(lambda: not probe.is_locked())
        with contextlib.suppress(BrokenPipeError):
            for _ in range(3 * MAX_LINE // 1000):
                process.stdin.write(b"x" * 1000)
        assert process.wait(PATIENCE_S) == 0
        assert probe.is_locked()

    def test_locks_and_ends_when_it_is_told_nonsense(self, guardian, probe):
        process = guardian("-m", "mask_gate.gate.relays.guardian")
        now_s = uptime_s()
        order = Order(True, "a", "compliant", now_s, now_s + 60.0)
        process.stdin.write(json.dumps({"order": asdict(order)}).encode() + b"\n")
        wait_until(lambda: not probe.is_locked())
        process.stdin.write(b"open sesame\n")
        assert process.wait(PATIENCE_S) == 0
        assert probe.is_locked()
        faults = [json.loads(line).get("fault", "") for line in process.stdout]
        assert any("was told nonsense" in fault for fault in faults)

    def test_locks_although_the_gate_takes_no_answers(self, guardian, probe):
        process = guardian("-m", "mask_gate.gate.relays.guardian", heartbeat_s=0.5)
        now_s = uptime_s()
        order = Order(True, "a", "compliant", now_s, now_s + 60.0)
        process.stdin.write(json.dumps({"order": asdict(order)}).encode() + b"\n")
        wait_until(lambda: "unlocked" in probe.levels())
        os.set_blocking(process.stdin.fileno(), False)
        with contextlib.suppress(BlockingIOError):  # from a guardian that waits, nothing is taken
            for _ in range(10_000):
                process.stdin.write(b'{"heartbeat": 1.0}\n')
        wait_until(probe.is_locked)

    def test_ends_and_says_so_where_neither_lock_nor_driver_come_to_an_end(self, guardian):
        process = guardian("-c", STUCK, close_s=0.3)
        order = Order(False, "d", "no_mask", uptime_s())
        process.stdin.write(json.dumps({"order": asdict(order)}).encode() + b"\n")
        process.stdin.close()
        assert process.wait(PATIENCE_S) == OutputError.exit_code
        faults = [json.loads(line).get("fault") for line in process.stdout]
        assert f"stuck: no answer; {CHECK_BY_HAND}" in faults


class TestAGateThat:
    def test_could_start_no_guardian_starts_one_when_it_can(self, probe):
        command = [sys.executable, "-c", STARVED, str(probe.path)]
        subprocess.run(command, cwd=ROOT, check=True, timeout=PATIENCE_S)
        assert probe.is_locked()

    @pytest.fixture
    def gate(self, probe):
        process = subprocess.Popen(
            [sys.executable, "-c", GATE, str(probe.path)], cwd=ROOT, start_new_session=True
        )
        wait_until(lambda: probe.levels() == ["locked", "unlocked"], "the door to open")
        yield process
        process.kill()
        process.wait()

    def test_is_killed_leaves_a_locked_door(self, gate, probe):
        killed_s = time.monotonic()
        gate.kill()
        wait_until(probe.is_locked)
        assert probe.edges()[-1][0] - killed_s < PATIENCE_S

    def test_stands_still_is_locked_out_until_it_asks_again(self, gate, probe):
        time.sleep(2.0)
        assert not probe.is_locked(), "its heart beats"
        gate.send_signal(signal.SIGSTOP)
        wait_until(probe.is_locked)
        gate.send_signal(signal.SIGCONT)
        time.sleep(0.5)
        assert probe.is_locked()
