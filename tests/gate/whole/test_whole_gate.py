"""The real command at a real door, and everything that can go wrong around it.

Camera, detector, guardian, audit and relay are the ones of a gate in service, each in its own
process; the probe at the door says what happened. Where a person with a mask stands in front of the
camera, the door must open; where anything is odd, it must be locked.
"""

import contextlib
import itertools
import json
import os
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import ClassVar

import pytest

from mask_gate.gate.commands.gate import main
from mask_gate.gate.decision.policy import PolicyConfig
from mask_gate.gate.runtime import lock
from mask_gate.models.files.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "assets/weights/mask-gate-lite.pth"

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="watches processes in /proc: needs Linux"
    ),
]


@pytest.fixture
def start(gate_bench, tmp_path, camera):
    """Starts gates at one door, and leaves none behind."""
    with contextlib.ExitStack() as gates:

        def start(**options):
            return gates.enter_context(gate_bench.Gate(tmp_path, camera.url, **options))

        yield start


class TestTheCamera:
    """After a fault the door is locked with the lease, and opens again once there are pictures."""

    REASONS: ClassVar = {
        "stall": {"camera_lost"},
        "close": {"camera_lost"},
        "reset": {"camera_lost"},
        "cut": {"camera_lost"},
        "page": {"camera_lost"},
        "frozen": {"frozen"},
        "loop": {"frozen"},
        "black": {"bad_image"},
        "sizes": {"bad_image"},
        "nobody": {"no_face"},
        "bare": {"no_mask"},
        "nose": {"mask_incorrect"},
        "two": {"no_mask", "group_mixed", "uncertain"},
    }

    @pytest.mark.slow
    def test_that_fails_in_any_way_keeps_the_door_locked(self, start, camera, gate_bench):
        gate = start()
        gate.wait_for_opening()
        for mode, reasons in self.REASONS.items():
            fault_s = time.monotonic()
            camera.mode = mode
            gate.locked_within(fault_s, gate_bench.LEASE_S)
            gate_bench.wait_until(lambda reasons=reasons: gate.reason in reasons, what=mode)
            gate.stays_locked(fault_s + 1.5, time.monotonic())
            camera.mode = "ok"
            gate.wait_for_new_opening(time.monotonic())
        assert gate.end() == 0
        gate.check()

    def test_that_is_pulled_and_plugged_in_again_is_found(self, start, camera, gate_bench):
        gate = start()
        gate.wait_for_opening()
        pulled_s = time.monotonic()
        camera.vanish()
        gate.locked_within(pulled_s, gate_bench.LEASE_S)
        gate_bench.wait_until(lambda: gate.reason == "camera_lost")
        gate.stays_locked(pulled_s + 1.5, time.monotonic())
        camera.appear()
        gate.wait_for_new_opening(time.monotonic())
        assert gate.end() == 0
        gate.check()

    def test_whose_process_is_killed_or_stopped_is_captured_by_another(self, start, gate_bench):
        gate = start()
        gate.wait_for_opening()
        for number in (signal.SIGKILL, signal.SIGSTOP):
            hit_s = time.monotonic()
            os.kill(gate.child("mask_gate.gate.camera.capture_process"), number)
            gate.locked_within(hit_s, gate_bench.MAX_OPEN_S)  # at once replaced, it may stay open
            gate.wait_for_new_opening(time.monotonic())
        assert gate.end() == 0
        gate.check()

    def test_that_is_not_there_at_the_start_is_waited_for_with_the_door_locked(
        self, start, camera, gate_bench, tmp_path
    ):
        """A power cut, and the PC is back before its camera: nobody must go there."""
        camera.vanish()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
            supervisor.bind(str(tmp_path / "notify"))
            supervisor.settimeout(gate_bench.PATIENCE_S)
            gate = start(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
            words = ""
            while "STATUS=FAULT, door locked: camera lost" not in words:
                words += supervisor.recv(4096).decode() + "\n"
            assert "READY=1" in words.splitlines()
        gate_bench.wait_until(lambda: gate.reason == "camera_lost")
        gate_bench.wait_until(lambda: "no picture from http://***@127" in gate.said)
        assert "the door stays locked until there is one" in gate.said
        assert "S3cret" not in gate.said
        back_s = time.monotonic()
        gate.stays_locked(gate.began_s, back_s)
        camera.appear()
        gate.wait_for_new_opening(back_s)
        assert gate.end() == 0
        gate.check()

    def test_that_is_a_file_and_not_there_ends_the_gate_and_is_named(self, gate_bench, tmp_path):
        with gate_bench.Gate(tmp_path, "film.mp4") as gate:
            assert gate.process.wait(60) == 3
            assert "no camera, video file or folder called" in gate.said
            gate.check()


class TestTheDetector:
    def test_killed_or_stopped_is_replaced_and_the_door_is_locked_meanwhile(
        self, start, gate_bench
    ):
        gate = start()
        gate.wait_for_opening()
        for number in (signal.SIGKILL, signal.SIGSTOP):
            hit_s = time.monotonic()
            worker = gate.child("mask_gate.gate.detector.worker")
            os.kill(worker, number)
            gate.locked_within(hit_s, gate_bench.LEASE_S)
            gate.wait_for_new_opening(hit_s)
            assert gate.child("mask_gate.gate.detector.worker") != worker
        gate.wait_for_event(reason="model_fault")
        assert gate.end() == 0
        gate.check()

    def test_that_is_too_slow_opens_nothing(self, start, gate_bench):
        """It runs for a twentieth of the time: its answers are late, and none counts."""
        gate = start()
        gate.wait_for_opening()
        slow_s = time.monotonic()
        while time.monotonic() - slow_s < 4.0:
            worker = gate.child("mask_gate.gate.detector.worker")
            with contextlib.suppress(ProcessLookupError):  # one that hangs for long is replaced
                os.kill(worker, signal.SIGSTOP)
                time.sleep(0.55)
                os.kill(worker, signal.SIGCONT)
                time.sleep(0.03)
        gate.locked_within(slow_s, gate_bench.LEASE_S)
        gate.stays_locked(slow_s + 1.5, time.monotonic())
        gate.wait_for_new_opening(time.monotonic())
        gate.wait_for_event(reason="model_fault")
        assert gate.end() == 0
        gate.check()

    def test_with_swapped_classes_never_comes_to_the_door(self, start, tmp_path):
        """Each other order: `test_selftest.py`."""
        checkpoint = load_checkpoint(WEIGHTS)
        for name in ("class_branch.classes.weight", "class_branch.classes.bias"):
            rows = checkpoint.weights[name].unflatten(0, (3, -1))
            checkpoint.weights[name] = rows[[1, 0, 2]].flatten(0, 1)
        path = tmp_path / "swapped.pth"
        save_checkpoint(path, checkpoint)
        gate = start(flags=("--weights", str(path), "--engine", "torch"))
        assert gate.process.wait(120) == 4
        assert "the gate refuses to start with them" in gate.said
        assert {level for _, level, _ in gate.edges} == {"locked"}
        gate.check()


def test_neither_torch_nor_a_runtime_is_loaded_where_an_exported_twin_does(start, gate_bench):
    """The gate itself loads no runtime at all, and its detector none that trains."""

    def loaded(pid):
        return Path(f"/proc/{pid}/maps").read_text()

    gate = start()
    gate.wait_for_opening()
    for pid in (gate.pid, *gate_bench.processes_below(gate.pid)):
        assert "libtorch" not in loaded(pid)
    for runtime in ("onnxruntime", "openvino"):
        assert runtime not in loaded(gate.pid)
    assert gate.end() == 0
    gate.check()


class TestTheGuardian:
    def test_killed_or_stopped_is_replaced_by_one_that_locks_first(self, start, gate_bench):
        gate = start()
        gate.wait_for_opening()
        for number, limit_s in ((signal.SIGKILL, 1.0), (signal.SIGSTOP, 4.0)):
            guardian = gate.child("mask_gate.gate.relays.guardian")
            hit_s = time.monotonic()
            os.kill(guardian, number)
            gate.locked_within(hit_s, limit_s)
            gate.wait_for_event(reason="output_fault")
            gate.stays_locked(hit_s + limit_s + 0.5, hit_s + 6.0)  # outputs.fault_hold_s is 6.5
            gate.wait_for_new_opening(hit_s)
            assert gate.child("mask_gate.gate.relays.guardian") != guardian
        assert gate.end() == 0
        gate.check()

    def test_locks_when_the_gate_is_killed(self, start, gate_bench):
        gate = start()
        gate.wait_for_opening()
        killed_s = time.monotonic()
        gate.process.kill()
        gate.process.wait()
        gate.locked_within(killed_s, 0.2)
        gate.check()

    def test_locks_when_the_gate_stands_still(self, start, gate_bench):
        gate = start()
        gate.wait_for_opening()
        stopped_s = time.monotonic()
        os.kill(gate.pid, signal.SIGSTOP)
        gate.locked_within(stopped_s, gate_bench.HEARTBEAT_S + 0.2)
        time.sleep(1.0)
        os.kill(gate.pid, signal.SIGCONT)
        gate.wait_for_new_opening(stopped_s)
        assert gate.end() == 0
        gate.check()

    def test_leaves_no_door_open_that_was_open_while_everything_stood_still(
        self, start, gate_bench
    ):
        """As after a suspend: the first that happens is a lock."""
        gate = start()
        opened_s = gate.wait_for_opening()
        gate.stand_still()
        before = len(gate.edges)
        time.sleep(3.0)
        woken_s = time.monotonic()
        gate.go_on()
        gate_bench.wait_until(lambda: len(gate.edges) > before)
        at, level, _ = gate.edges[before]
        assert level == "locked"
        assert gate.awake_s(woken_s, at) < 1.0 + gate_bench.SLACK_S
        assert at - opened_s < gate_bench.MAX_OPEN_S
        gate.wait_for_new_opening(woken_s)
        assert gate.end() == 0
        gate.check()


# In every process of a gate: CLOCK_BOOTTIME is ahead by what the file says, as after a sleep.
SLEEPING = """
import mmap, os, struct, time
_told = mmap.mmap(os.open(os.environ["SLEPT"], os.O_RDONLY), 8, mmap.MAP_SHARED, mmap.PROT_READ)
_gettime = time.clock_gettime
time.clock_gettime = lambda clock: (
    _gettime(clock) + (struct.unpack("d", _told)[0] if clock == time.CLOCK_BOOTTIME else 0.0)
)
"""


class TestAMachineThatSlept:
    """CLOCK_MONOTONIC stood still; what was true in the evening is not in the morning."""

    NIGHT_S = 8 * 3600.0

    @pytest.fixture
    def slept(self, tmp_path):
        """By how much the clocks of the gate differ; a write is a sleep."""
        folder = tmp_path / "python"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(SLEEPING)
        slept = tmp_path / "slept"
        slept.write_bytes(struct.pack("d", 0.0))
        return slept

    @pytest.fixture
    def sleeper(self, start, slept, gate_bench):
        """A gate whose machine can sleep, with its door open."""
        python = os.pathsep.join([str(slept.parent / "python"), str(ROOT)])
        patient = gate_bench.CONFIG.replace("sound: false", "sound: false, heartbeat_s: 5.0")
        environment = {"PYTHONPATH": python, "SLEPT": str(slept)}
        gate = start(template=patient, environment=environment)
        gate.wait_for_opening()
        return gate

    def sleep(self, gate, slept, gate_bench):
        """Everything stands still and wakes again; when it woke, and how many edges were before."""
        gate.stand_still()
        before = len(gate.edges)
        assert gate.is_open
        with slept.open("r+b") as file:
            file.write(struct.pack("d", self.NIGHT_S))
        gate.slept_s = self.NIGHT_S
        woken_s = time.monotonic()
        gate.go_on()
        return woken_s, before

    def test_locks_at_once_and_takes_no_evidence_from_before(self, sleeper, slept, gate_bench):
        woken_s, before = self.sleep(sleeper, slept, gate_bench)
        gate_bench.wait_until(lambda: len(sleeper.edges) > before)
        at, level, _ = sleeper.edges[before]
        assert level == "locked"
        assert sleeper.awake_s(woken_s, at) < 0.2 + gate_bench.SLACK_S
        assert sleeper.wait_for_new_opening(woken_s) > PolicyConfig().min_evidence_s
        assert sleeper.end() == 0
        sleeper.check()

    def test_locks_by_its_guardian_where_the_gate_does_not_wake(self, sleeper, slept, gate_bench):
        guardian = sleeper.child("mask_gate.gate.relays.guardian")
        os.kill(sleeper.pid, signal.SIGSTOP)
        os.kill(guardian, signal.SIGSTOP)
        before = len(sleeper.edges)
        slept.write_bytes(struct.pack("d", self.NIGHT_S))
        woken_s = time.monotonic()
        os.kill(guardian, signal.SIGCONT)
        gate_bench.wait_until(lambda: len(sleeper.edges) > before)
        at, level, _ = sleeper.edges[before]
        assert level == "locked"
        # By the cap of the opening: a heartbeat that is missing would take five seconds.
        assert sleeper.awake_s(woken_s, at) < 1.0
        os.kill(sleeper.pid, signal.SIGCONT)
        assert sleeper.end() == 0


def test_all_processes_of_a_gate_live_by_the_clock_that_counts_sleep(gate_bench, camera, tmp_path):
    """In a world in which the two clocks differ, no two of them can mean different ones."""
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare for clocks of its own: install util-linux")
    before = ("unshare", "-rT", "--boottime", "100000", "--fork", "--kill-child")
    if subprocess.run([*before, "true"], capture_output=True).returncode:
        pytest.skip("needs time namespaces: Linux 5.6, sysctl user.max_time_namespaces")
    with gate_bench.Gate(tmp_path, camera.url, before=before) as gate:
        gate.slept_s = 100_000
        gate.wait_for_opening()
        inside = gate.wait_for_event(signal="allow")
        assert inside["time_s"] > time.monotonic() + 90_000
        (pid,) = gate_bench.processes_below(gate.pid)[:1]
        os.kill(pid, signal.SIGTERM)
        assert gate.process.wait(gate_bench.PATIENCE_S) == 0
    gate.check()


class TestTheEnd:
    @pytest.mark.parametrize(
        ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)]
    )
    def test_by_a_signal_locks_an_open_door_first_and_leaves_nothing(
        self, start, gate_bench, number, code
    ):
        gate = start()
        gate.wait_for_opening()
        children = gate_bench.processes_below(gate.pid)
        told_s = time.monotonic()
        gate.process.send_signal(number)
        gate.process.send_signal(number)
        gate.locked_within(told_s, 0.1)
        assert gate.process.wait(gate_bench.PATIENCE_S) == code
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        gate.check()

    def test_by_a_signal_to_the_whole_group_is_no_different(self, start, gate_bench):
        """As a terminal sends Ctrl-C, and systemd SIGTERM, to every process."""
        gate = start()
        gate.wait_for_opening()
        told_s = time.monotonic()
        for pid in [*gate_bench.processes_below(gate.pid), gate.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        gate.locked_within(told_s, 0.1)
        assert gate.process.wait(gate_bench.PATIENCE_S) == 0
        gate.check()


class TestTooFewOpenFiles:
    """`ulimit -n`: the gate says what it cannot have, or works; the door is locked or watched."""

    def test_end_the_start_with_a_sentence(self, gate_bench, camera, tmp_path):
        before = ("sh", "-c", 'ulimit -n 24; exec "$@"', "sh")
        with gate_bench.Gate(tmp_path, camera.url, before=before) as gate:
            assert gate.process.wait(60) in (3, 4, 5)
            assert "Too many open files" in gate.said
            assert {level for _, level, _ in gate.edges} == {"locked"}
            gate.check()

    def test_of_which_forty_are_enough(self, gate_bench, camera, tmp_path):
        before = ("sh", "-c", 'ulimit -n 40; exec "$@"', "sh")
        with gate_bench.Gate(tmp_path, camera.url, before=before) as gate:
            gate.wait_for_opening()
            assert gate.end() == 0
            gate.check()


class TestTheAudit:
    def test_on_a_full_disk_keeps_the_door_locked_until_there_is_room(
        self, gate_bench, camera, tmp_path
    ):
        if shutil.which("unshare") is None:
            pytest.skip("needs unshare for a disk of its own: install util-linux")
        disk = tmp_path / "disk"
        disk.mkdir()
        mount = f"mount -t tmpfs -o size=1m none '{disk}' && exec \"$@\""
        before = ("unshare", "-rm", "sh", "-c", mount, "sh")
        if subprocess.run([*before, "true"], capture_output=True).returncode:
            pytest.skip("needs user namespaces: sysctl user.max_user_namespaces")
        flags = ("--audit", str(disk / "audit.sqlite"))
        with gate_bench.Gate(tmp_path, camera.url, flags=flags, before=before) as gate:
            gate.wait_for_opening()
            inside = Path(f"/proc/{gate.pid}/root{disk}")
            fault_s = time.monotonic()
            ballast = inside / "ballast"
            with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"\0" * 4096)
            camera.mode = "nobody"  # the next openings must be recorded anew
            gate_bench.wait_until(lambda: not gate.is_open)
            camera.mode = "ok"
            gate_bench.wait_until(lambda: gate.reason == "audit_unavailable", what=gate.said)
            full_s = time.monotonic()
            time.sleep(2.0)
            gate.stays_locked(full_s, time.monotonic())
            room_s = time.monotonic()
            ballast.unlink()
            gate.wait_for_new_opening(room_s)
            shutil.copytree(inside, tmp_path / "copy", ignore=shutil.ignore_patterns("*-shm"))
            assert gate.end() == 0
        (tmp_path / "copy" / "audit.sqlite").rename(tmp_path / "audit.sqlite")
        for rest in (tmp_path / "copy").glob("audit.sqlite-*"):
            rest.rename(tmp_path / rest.name)
        assert fault_s < full_s
        gate.check()

    def test_locked_by_another_process_keeps_the_door_locked(self, start, camera, gate_bench):
        gate = start()
        gate.wait_for_opening()
        camera.mode = "nobody"
        gate_bench.wait_until(lambda: not gate.is_open)
        other = sqlite3.connect(gate.folder / "audit.sqlite", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        held_s = time.monotonic()
        camera.mode = "ok"
        gate_bench.wait_until(lambda: gate.reason == "audit_unavailable")
        time.sleep(1.0)
        gate.stays_locked(held_s, time.monotonic())
        free_s = time.monotonic()
        other.execute("ROLLBACK")
        other.close()
        gate.wait_for_new_opening(free_s)
        assert gate.end() == 0
        gate.check()

    def test_that_was_damaged_is_set_aside_and_the_new_one_begins_with_an_alarm(
        self, start, tmp_path
    ):
        path = tmp_path / "audit.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("CREATE TABLE rows (seq)")
        data = bytearray(path.read_bytes())
        data[100:] = os.urandom(len(data) - 100)
        path.write_bytes(data)
        gate = start()
        if gate.process.poll() is None:
            gate.wait_for_opening()
        assert gate.end() == 0
        gate.check()
        assert list(tmp_path.glob("audit.sqlite.corrupt-*"))
        with contextlib.closing(sqlite3.connect(path)) as database:
            kinds = [kind for (kind,) in database.execute("SELECT kind FROM rows LIMIT 3")]
        assert "alarm" in kinds

    def test_that_cannot_be_had_ends_the_start_with_the_door_locked(self, start, tmp_path):
        (tmp_path / "file").write_text("no folder")
        gate = start(flags=("--audit", str(tmp_path / "file" / "audit.sqlite")))
        assert gate.process.wait(60) == 5
        assert "mask-gate: audit.path: " in gate.said
        assert {level for _, level, _ in gate.edges} == {"locked"}

    def test_has_every_opening_before_the_door_and_what_the_relay_did_after_it(
        self, start, camera, gate_bench
    ):
        gate = start()
        gate.wait_for_opening()
        camera.mode = "nobody"
        gate_bench.wait_until(lambda: not gate.is_open)
        assert gate.end() == 0
        gate.check()
        with contextlib.closing(sqlite3.connect(gate.folder / "audit.sqlite")) as database:
            found = database.execute(
                "SELECT kind, signal_id, outcome, model, config, mono_s FROM rows ORDER BY seq"
            ).fetchall()
        (opened_s, _, signal_id), *_ = [edge for edge in gate.edges if edge[1] == "unlocked"]
        about = {row[0]: row for row in found if row[1] == signal_id}
        assert next(iter(about)) == "intent"
        assert set(about) == {"intent", "event", "result"}  # two processes tell of the latter
        assert about["result"][2] == "unlocked"
        assert about["intent"][5] <= opened_s
        assert all(row[3].startswith("sha256:") for row in about.values())
        assert all(row[4].startswith("sha256:") for row in found)
        locks = {name for _, level, name in gate.edges if level == "locked"} - {"-"}
        assert locks <= {row[1] for row in found if row[0] == "result" and row[2] == "locked"}
        # And all that is written holds no picture.
        files = [path for path in gate.folder.rglob("*") if path.is_file()]
        assert len(files) >= 4
        for path in files:
            data = path.read_bytes()
            assert len(data) < 1_000_000, path
            for begin in (b"\xff\xd8\xff", b"\x89PNG", b"ftypisom", b"RIFF"):
                assert begin not in data, path


class TestOneOwner:
    def test_a_second_gate_is_told_whose_the_door_is_and_touches_nothing(
        self, start, gate_bench, camera, tmp_path, monkeypatch, capfd
    ):
        first = start()
        first.wait_for_opening()
        folder = tmp_path / "second"
        folder.mkdir()
        with gate_bench.Gate(folder, camera.url) as second:
            assert second.process.wait(60) == 5
            assert f"is kept by process {first.pid} since" in second.said
            assert second.edges == []
            assert not (folder / "audit.sqlite").exists()
        monkeypatch.setattr(lock, "WAIT_S", 0.1)
        assert main(["--lock", "--config", str(second.config)]) == 5
        assert f"is kept by process {first.pid} since" in capfd.readouterr().err
        assert not (folder / "door").exists()
        assert first.end() == 0
        first.check()

    def test_a_gate_that_was_killed_hands_its_door_over_locked(self, start, tmp_path):
        first = start()
        first.wait_for_opening()
        killed_s = time.monotonic()
        first.process.kill()
        second = start()
        second.wait_for_new_opening(killed_s + 0.5)
        assert second.end() == 0
        second.check()

    def test_a_replay_and_a_dry_run_need_no_door(self, start, gate_bench):
        first = start()
        first.wait_for_opening()
        before = first.edges
        for flags in (("--camera", "demo", "--fast"), ("--dry-run",)):
            beside = subprocess.run(
                [
                    *gate_bench.COMMAND, "--config", str(first.config), "--headless",
                    "--seconds", "0.5", "--events", "/dev/null", *flags,
                ],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
            )  # fmt: skip
            assert beside.returncode == 0, beside.stderr
            assert "would lock: recording" in beside.stderr
        assert {name for _, _, name in first.edges[: len(before)]} == {n for _, _, n in before}
        assert first.end() == 0
        first.check()


class TestTheConfiguration:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("door: {max_open_s: 99}\n", "given twice"),
            ("audit_path: x\n", "audit_path: no such key"),
            ("quality: {black_level: .nan}\n", "quality.black_level: input should be a finite"),
            ("tracker: [1]\n", "tracker: input should be a valid dictionary"),
            ("mqtt: {host: a, keepalive_s: 1}\n", "mqtt.keepalive_s: input should be greater"),
            ("gate: 'a/b'\n", "gate: expected a name for this door"),
        ],
    )
    def test_that_is_wrong_ends_with_2_before_the_relay_is_touched(
        self, gate_bench, tmp_path, capfd, text, said
    ):
        config = tmp_path / "gate.yaml"
        config.write_text(
            gate_bench.CONFIG.format(url="demo", folder=tmp_path, weights=gate_bench.WEIGHTS) + text
        )
        assert main(["--config", str(config), "--headless"]) == 2
        told = capfd.readouterr().err
        assert said in told
        assert "Traceback" not in told
        assert not (tmp_path / "door").exists()

    def test_that_is_right_can_be_asked_for(self, start):
        gate = start(flags=("--validate-config",))
        assert gate.process.wait(60) == 0
        assert "the configuration is right; its audit is" in gate.said
        assert gate.edges == []


class TestTheSupervisor:
    @pytest.fixture
    def ear(self, tmp_path):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
            ear.bind(str(tmp_path / "notify"))
            ear.settimeout(60.0)
            yield ear

    @pytest.fixture
    def heard(self, ear):
        """Hears until a condition holds; everything that was said, with times."""

        def heard(until):
            found = []
            while not until(found):
                found += [(time.monotonic(), word) for word in ear.recv(4096).decode().split("\n")]
            return found

        return heard

    def test_hears_of_readiness_progress_state_and_the_end(
        self, start, heard, camera, tmp_path, gate_bench
    ):
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        gate = start(environment=environment)
        found = heard(lambda found: any("ALLOW, door OPEN" in word for _, word in found))
        words = [word for _, word in found]
        assert words.index("READY=1") < words.index("STATUS=ALLOW, door OPEN: compliant")
        camera.mode = "stall"  # a loop that truthfully tells of a lost camera makes progress
        found = heard(lambda found: sum(word == "WATCHDOG=1" for _, word in found) > 4)
        times = [at for at, word in found if word == "WATCHDOG=1"]
        gaps = [later - sooner for sooner, later in itertools.pairwise(times)]
        assert max(gaps) < 4.0  # or it would be killed
        gate.process.send_signal(signal.SIGTERM)
        heard(lambda found: "STOPPING=1" in [word for _, word in found])
        assert gate.process.wait(60) == 0
        gate.check()

    def test_has_a_gate_back_with_its_new_configuration_and_only_with_one_that_works(
        self, start, ear, tmp_path, gate_bench
    ):
        """SIGHUP: the gate ends, locked, to be started again; it goes on where that would fail."""
        gate = start(environment={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        gate.wait_for_opening()
        sound = gate.config.read_text()
        gate.config.write_text(sound[: len(sound) // 2] + "\ndoor: {max_opens: 3}\n")
        gate.process.send_signal(signal.SIGHUP)
        gate_bench.wait_until(lambda: "SIGHUP: goes on with the configuration" in gate.said)
        for wrong in ("outputs: {on_deny: no-hook}", "detector: {weights: gone.onnx}"):
            key = wrong.partition(":")[0]
            kept = [line for line in sound.splitlines() if not line.startswith(key)]
            gate.config.write_text("\n".join([*kept, wrong]) + "\n")
            before = gate.said.count("SIGHUP: goes on")
            gate.process.send_signal(signal.SIGHUP)
            gate_bench.wait_until(lambda: gate.said.count("SIGHUP: goes on") > before)  # noqa: B023
        gate.wait_for_new_opening(time.monotonic())
        gate.config.write_text(sound)
        told_s = time.monotonic()
        assert gate.end(signal.SIGHUP) == 0
        gate.locked_within(told_s, 30.0)  # once the new configuration was tried; no fault till then
        gate.check()

    def test_hears_nothing_of_a_gate_whose_loop_stands_still(self, start, ear, heard, tmp_path):
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "4000000"}
        gate = start(environment=environment)
        heard(lambda found: any(word == "WATCHDOG=1" for _, word in found))
        os.kill(gate.pid, signal.SIGSTOP)
        ear.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while True:
                ear.recv(4096)
        ear.settimeout(2.5)
        with pytest.raises(TimeoutError):
            ear.recv(4096)


@pytest.mark.parametrize("start_order", ["broker first", "gate first"])
def test_a_broker_is_told_what_the_gate_does(
    start_order, start, camera, mqtt_bench, tmp_path, gate_bench
):
    folder = tmp_path / "broker"
    folder.mkdir()
    broker = mqtt_bench.MosquittoBroker(folder)
    if start_order == "broker first":
        broker.start()
    try:
        gate = start(config=f"mqtt: {{host: 127.0.0.1, port: {broker.port}, keepalive_s: 2}}\n")
        gate.wait_for_opening()
        if start_order == "gate first":
            broker.start()
        with mqtt_bench.Listener(broker.port) as listener:

            def told(key):
                return listener.last(f"mask-gate/entrance/{key}")

            mqtt_bench.wait_until(lambda: told("availability") == "online")
            mqtt_bench.wait_until(lambda: told("door") == "open")
            mqtt_bench.wait_until(lambda: told("state") == "allow")
            camera.mode = "bare"
            mqtt_bench.wait_until(lambda: told("reason") == "no_mask")
            mqtt_bench.wait_until(lambda: told("door") == "locked")

            def counted(name):
                return json.loads(told("counters") or "{}").get(name, 0)

            mqtt_bench.wait_until(lambda: counted("openings") >= 1 and counted("denials") >= 1)
            assert gate.end() == 0
            mqtt_bench.wait_until(lambda: told("availability") == "offline")
        gate.check()
    finally:
        broker.kill()
