"""What a supervisor hears, over a real socket, of a gate that runs, waits, hangs or is stopped."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mask_gate.gate.camera.frame_check import FrameCheck, FrameCheckConfig
from mask_gate.gate.decision.policy import Policy, PolicyConfig
from mask_gate.gate.decision.tracker import Tracker, TrackerConfig
from mask_gate.gate.domain import Decision, Frame, Reason, State
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lease import Door, DoorConfig
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.events import EventMaker, Scene
from mask_gate.gate.runtime import loop as runtime
from mask_gate.gate.system.systemd import STATUS_S, Supervisor
from mask_gate.models.detections import Detections

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
LIMIT_S = 1.0
LIMIT_US = str(round(1e6 * LIMIT_S))


class Ear:
    """The supervisor's end of the socket."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address)
        self.name = address.replace("\0", "@")

    def next(self, timeout_s=PATIENCE_S):
        """One message, as the lines it is made of; None when none came in time."""
        self.socket.settimeout(timeout_s)
        try:
            return self.socket.recv(65536).decode().split("\n")
        except TimeoutError:
            return None

    def all(self):
        """Every line that has come so far."""
        lines = []
        self.socket.setblocking(False)
        while True:
            try:
                lines += self.socket.recv(65536).decode().split("\n")
            except BlockingIOError:
                return lines

    def until(self, line):
        """Wait until a message has this line."""
        end_s = time.monotonic() + PATIENCE_S
        while line not in (self.next() or ()):
            assert time.monotonic() < end_s


@pytest.fixture(params=["path", "abstract"])
def ear(request, tmp_path):
    if request.param == "abstract" and not sys.platform.startswith("linux"):
        pytest.skip("only Linux has sockets with a name but no file")
    names = {"path": str(tmp_path / "notify"), "abstract": f"\0mask-gate-test-{os.getpid()}"}
    heard = Ear(names[request.param])
    yield heard
    heard.socket.close()


@pytest.fixture
def file_ear(tmp_path):
    heard = Ear(str(tmp_path / "notify"))
    yield heard
    heard.socket.close()


def supervisor(ear, clock=time.monotonic, limit=LIMIT_US, **variables):
    return Supervisor({"NOTIFY_SOCKET": ear.name, "WATCHDOG_USEC": limit, **variables}, clock)


class TestWords:
    def test_what_is_said_is_heard(self, ear, clock):
        told = supervisor(ear, clock)
        told.status("loading the model")
        told.ready()
        clock.advance(1.0)
        told.progress()
        told.stopping()
        told.close()
        assert ear.all() == ["STATUS=loading the model", "READY=1", "WATCHDOG=1", "STOPPING=1"]

    def test_a_decision_is_told_with_the_door(self, file_ear, clock):
        told = supervisor(file_ear, clock)
        told.decided(Scene(Decision(State.DENY, Reason.GROUP_MIXED, 1.0)), False)
        clock.advance(1.0)
        told.decided(Scene(Decision(State.ALLOW, Reason.COMPLIANT, 2.0, 3.0)), True)
        assert file_ear.all() == [
            "STATUS=DENY, door locked: group mixed",
            "STATUS=ALLOW, door OPEN: compliant",
        ]

    def test_no_text_can_say_anything_but_a_status(self, file_ear, clock):
        told = supervisor(file_ear, clock)
        told.status("camera rtsp://x\nWATCHDOG=1\r\x1b[2J\u2028\ud800 Tür 문" + "x" * 1000)
        (line,) = file_ear.all()
        assert line.startswith("STATUS=camera rtsp://x WATCHDOG=1  [2J   Tür 문xxx")
        assert len(line) < 250

    def test_the_same_status_is_said_once(self, file_ear, clock):
        told = supervisor(file_ear, clock)
        for _ in range(3):
            told.status("idle")
            clock.advance(1.0)
        assert file_ear.all() == ["STATUS=idle"]

    def test_of_a_status_that_flickers_the_newest_is_told_soon(self, file_ear, clock):
        told = supervisor(file_ear, clock)
        told.progress()
        for number in range(100):
            told.status(f"status {number}")
        assert file_ear.all() == ["WATCHDOG=1"]
        clock.advance(STATUS_S)
        told.progress()
        assert file_ear.all() == ["STATUS=status 99", "WATCHDOG=1"]


class TestNobodyThere:
    @pytest.mark.parametrize(
        "environment",
        [
            {},
            {"NOTIFY_SOCKET": ""},
            {"WATCHDOG_USEC": LIMIT_US},
            {"NOTIFY_SOCKET": "vsock:2:9999", "WATCHDOG_USEC": LIMIT_US},
            {"NOTIFY_SOCKET": "@"},
        ],
    )
    def test_nothing_happens(self, environment):
        told = Supervisor(environment)
        told.ready()
        told.status("idle")
        told.progress()
        told.stopping()
        told.close()

    def test_an_address_of_another_kind_is_told_once(self, caplog):
        Supervisor({"NOTIFY_SOCKET": "vsock:2:9999"}).ready()
        assert [record.getMessage() for record in caplog.records] == [
            "NOTIFY_SOCKET: expected a path or @name, got 'vsock:2:9999'; nothing is told"
        ]

    def test_a_supervisor_that_is_away_costs_one_line_and_hears_all_that_counts_later(
        self, tmp_path, clock, caplog
    ):
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": LIMIT_US}
        told = Supervisor(environment, clock)
        told.ready()
        for number in range(100):
            told.status(f"status {number}")
            told.progress()
            clock.advance(0.05)
        assert len(caplog.records) == 1
        assert "cannot be told" in caplog.text
        ear = Ear(str(tmp_path / "notify"))
        clock.advance(0.1)
        told.progress()
        assert ear.next(0.0) == ["READY=1", "STATUS=status 99", "WATCHDOG=1"]
        assert ear.all() == []
        told.close()
        ear.socket.close()

    def test_a_supervisor_that_does_not_listen_holds_nobody_up(self, file_ear, clock):
        told = supervisor(file_ear, clock)

        def talk():
            for number in range(2000):  # more than any socket keeps for a reader who does not come
                told.status(f"status {number}")
                told.progress()
                clock.advance(1.0)

        talking = threading.Thread(target=talk, daemon=True)
        talking.start()
        talking.join(PATIENCE_S)
        assert not talking.is_alive()
        file_ear.all()
        told.progress()
        assert "STATUS=status 1999" in file_ear.all()

    def test_after_close_nothing_is_said(self, file_ear):
        told = supervisor(file_ear)
        told.close()
        told.close()
        told.ready()
        told.status("x")
        told.progress()
        assert file_ear.all() == []


class TestTheWatchdog:
    @pytest.mark.parametrize(("limit_us", "ping_s"), [("20000000", 1.0), ("2000000", 0.5)])
    def test_is_told_of_progress_at_most_half_its_limit_apart(
        self, file_ear, clock, limit_us, ping_s
    ):
        told = supervisor(file_ear, clock, limit_us)
        turn_s = 0.03
        pings_s = []
        for _ in range(2000):
            told.progress()
            pings_s += [clock.now_s] * file_ear.all().count("WATCHDOG=1")
            clock.advance(turn_s)
        gaps_s = np.diff(pings_s)
        assert told.ping_s == ping_s
        assert gaps_s.max() <= ping_s + turn_s <= int(limit_us) / 2e6
        assert gaps_s.min() >= ping_s - 1e-6

    def test_hears_nothing_but_from_the_loop(self, file_ear, clock):
        """Whatever else of the gate is alive does not hide that its loop is not."""
        told = supervisor(file_ear, clock)
        told.ready()
        for number in range(100):
            clock.advance(1.0)
            told.status(f"status {number}")
        told.stopping()
        assert not any("WATCHDOG" in line for line in file_ear.all())

    def test_a_ping_that_nobody_took_is_not_said_later_by_somebody_else(self, tmp_path, clock):
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": LIMIT_US}
        told = Supervisor(environment, clock)
        told.progress()
        told.status("idle")
        told.progress()
        ear = Ear(str(tmp_path / "notify"))
        clock.advance(60.0)
        told.status("the loop hangs")
        assert ear.all() == ["STATUS=the loop hangs"]
        told.close()
        ear.socket.close()

    @pytest.mark.parametrize(
        ("variables", "watched"),
        [
            ({"WATCHDOG_PID": str(os.getpid())}, True),
            ({"WATCHDOG_PID": "1"}, False),
            ({"WATCHDOG_USEC": ""}, False),
            ({"WATCHDOG_USEC": "0"}, False),
            ({"WATCHDOG_USEC": "-5"}, False),
            ({"WATCHDOG_USEC": "soon"}, False),
            ({"WATCHDOG_USEC": "٣"}, False),
            ({"WATCHDOG_USEC": "9" * 5000}, False),
        ],
    )
    def test_is_only_told_what_it_asked_for(self, file_ear, clock, variables, watched):
        told = supervisor(file_ear, clock, **variables)
        told.ready()
        told.progress()
        assert ("WATCHDOG=1" in file_ear.all()) is watched
        assert (told.ping_s is not None) is watched

    def test_no_child_can_speak_in_the_gates_name(self, file_ear):
        environment = {
            "NOTIFY_SOCKET": file_ear.name,
            "WATCHDOG_USEC": LIMIT_US,
            "WATCHDOG_PID": str(os.getpid()),
            "PATH": "/bin",
        }
        Supervisor(environment).close()
        assert environment == {"PATH": "/bin"}

    def test_costs_the_loop_next_to_nothing(self, file_ear):
        told = supervisor(file_ear, limit="20000000")
        told.progress()
        began_s = time.process_time()
        for _ in range(10_000):
            told.progress()
        assert time.process_time() - began_s < 1.0


# A loop that makes progress until a line comes in; then it hangs, while a thread of its own talks.
LOOP = """
import os, sys, threading, time
from mask_gate.gate.system.systemd import Supervisor

told = Supervisor(os.environ)
hangs = threading.Event()

def listen():
    sys.stdin.readline()
    hangs.set()
    number = 0
    while True:
        told.status(f"thread {number}")
        number += 1
        time.sleep(0.1)

threading.Thread(target=listen, daemon=True).start()
told.ready()
while not hangs.wait(0.02):
    told.progress()
print("hangs", flush=True)
time.sleep(600)
"""


@pytest.fixture
def looping(file_ear):
    """A process of its own, already up and turning."""
    process = subprocess.Popen(
        [sys.executable, "-c", LOOP],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "NOTIFY_SOCKET": file_ear.name,
            "WATCHDOG_USEC": LIMIT_US,
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    file_ear.until("READY=1")
    file_ear.until("WATCHDOG=1")
    yield process
    process.kill()
    process.communicate()


class TestARealProcess:
    def test_that_is_stopped_falls_silent_and_is_heard_again_when_it_goes_on(
        self, looping, file_ear
    ):
        looping.send_signal(signal.SIGSTOP)
        while not _is_stopped(looping.pid):
            time.sleep(0.01)
        file_ear.all()
        assert file_ear.next(1.5 * LIMIT_S) is None
        looping.send_signal(signal.SIGCONT)
        file_ear.until("WATCHDOG=1")

    def test_whose_loop_hangs_while_its_threads_live_pings_no_more(self, looping, file_ear):
        looping.stdin.write("\n")
        looping.stdin.flush()
        assert looping.stdout.readline() == "hangs\n"
        file_ear.all()
        heard, end_s = [], time.monotonic() + 1.5 * LIMIT_S
        while time.monotonic() < end_s:
            heard += file_ear.next(0.5) or []
        assert any(line.startswith("STATUS=thread") for line in heard)
        assert "WATCHDOG=1" not in heard


def _is_stopped(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return state.stdout.startswith("T")


class Camera:
    """Live pictures until it is unplugged."""

    is_live, ended = True, False

    def __init__(self):
        self.unplugged = threading.Event()
        self.index = 0

    def read(self, timeout_s):
        if self.unplugged.wait(0.02):
            time.sleep(timeout_s)
            return None
        self.index += 1
        image = np.random.default_rng(self.index).integers(0, 256, (120, 160, 3), np.uint8)
        return Frame(image, time.monotonic(), self.index)


class Detector:
    """Sees nobody, or hangs until it is let go."""

    def __init__(self):
        self.free = threading.Event()
        self.free.set()

    def __call__(self, frame):
        self.free.wait()
        return Detections.empty()


@pytest.fixture
def gate(file_ear):
    """The real loop in a thread, told to the supervisor; the camera and the detector obey us."""
    told = supervisor(file_ear)
    reporter = Reporter(EventMaker("lobby"), told.decided)
    door = Door(DoorConfig(), time.monotonic, reporter.signal)
    controller = DoorController(door, reporter, time.monotonic, fault_hold_s=6.5)
    over = threading.Event()
    loop = runtime.Gate(
        camera=Camera(),
        frame_check=FrameCheck(FrameCheckConfig()),
        detector=Detector(),
        tracker=Tracker(TrackerConfig()),
        policy=Policy(PolicyConfig()),
        controller=controller,
        limits=runtime.Limits(camera_s=0.3, result_s=60.0, fault_frames=3),
    )

    def stop():
        told.progress()  # asked at each turn of the loop
        return over.is_set()

    thread = threading.Thread(target=loop.run, args=(stop,))
    told.ready()
    thread.start()
    loop.camera, loop.detector = loop._camera, loop._detector
    yield loop
    loop.detector.free.set()
    over.set()
    thread.join(PATIENCE_S)
    told.close()


class TestTheLoopOfTheGate:
    def test_a_lost_camera_is_told_and_is_no_reason_to_be_restarted(self, gate, file_ear):
        file_ear.until("STATUS=IDLE, door locked: no face")
        gate.camera.unplugged.set()
        file_ear.until("STATUS=FAULT, door locked: camera lost")
        lost_s = time.monotonic()
        while time.monotonic() < lost_s + 1.5 * LIMIT_S:
            file_ear.until("WATCHDOG=1")
        gate.camera.unplugged.clear()
        file_ear.until("STATUS=IDLE, door locked: no face")

    def test_a_detector_that_hangs_is(self, gate, file_ear):
        file_ear.until("WATCHDOG=1")
        gate.detector.free.clear()
        quiet_s, end_s = 0.0, time.monotonic() + PATIENCE_S
        while quiet_s < LIMIT_S:  # silent for as long as the supervisor waits
            began_s = time.monotonic()
            assert began_s < end_s
            file_ear.next(LIMIT_S + 0.1)
            quiet_s = time.monotonic() - began_s
        gate.detector.free.set()
        file_ear.until("WATCHDOG=1")
