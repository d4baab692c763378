"""Several doors held by one real command: what fails at one door is that door's alone.

Each door has a camera, a guardian with its relay and a record of its own; the detector is of all.
"""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from mask_gate.gate.commands.gate import main

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="watches processes in /proc: needs Linux"
    ),
]

LEASE_S = 2.0
"""Longer than by default, as `decision_max_age_s`: a slow machine has two cameras."""

SHARED = """\
gate: lobby
detector: {{device: cpu, engine: onnx, weights: "{weights}"}}
policy: {{hold_s: 8.0, lease_s: {lease_s}, cool_down_s: 0.2}}
door: {{max_open_s: 10.0, decision_max_age_s: 1.5}}
outputs: {{sound: false}}
doors:
"""
DOOR = """\
  {name}:
    camera: {{source: "{url}"}}
    outputs: {{events: "{folder}/events"}}
    relays: [{relays}]
    audit: {{path: "{folder}/audit.sqlite"}}
"""


@pytest.fixture
def cameras(gate_bench):
    """Somebody with a proper mask stands before each."""
    cameras = {name: gate_bench.DoorCamera(fps=8.0) for name in ("north", "south")}
    yield cameras
    for camera in cameras.values():
        camera.mode = "close"
        camera.vanish()


class Building:
    """One gate with a probe at each of its doors."""

    def __init__(self, gate_bench, folder, cameras, *, relays=None, flags=()):
        text = SHARED.replace("{lease_s}", str(LEASE_S))
        for name, camera in cameras.items():
            own = folder / name
            own.mkdir(exist_ok=True)
            held = (relays or {}).get(name, f'{{kind: recording, path: "{own}/door"}}')
            told = {"name": name, "url": camera.url, "folder": own, "relays": held}
            text += DOOR.format(**told).replace("{", "{{").replace("}", "}}")

        class Door(gate_bench.Gate):
            """A probe as at a gate of its own."""

            def __init__(self, name):
                self.folder, self.process, self.must_be_locked = folder / name, gate.process, []
                self.stillness = gate.stillness

            @property
            def said(self):
                return gate.said

        self.gate = gate = gate_bench.Gate(folder, "", template=text, flags=flags)
        self.north, self.south = map(Door, ("north", "south"))

    @property
    def doors(self):
        return self.north, self.south

    def end(self, code=0):
        assert self.gate.end() == code, self.gate.said
        for door in self.doors:
            door.check()


@pytest.fixture
def start(gate_bench, tmp_path, cameras):
    with contextlib.ExitStack() as gates:

        def start(**options):
            building = Building(gate_bench, tmp_path, cameras, **options)
            gates.enter_context(building.gate)
            return building

        yield start


class TestACamera:
    @pytest.mark.slow
    def test_in_trouble_locks_its_own_door_and_the_other_opens(self, start, cameras, gate_bench):
        building = start()
        for door in building.doors:
            door.wait_for_opening()
        for trouble in ("vanish", "stall", "black", "bare"):
            cameras["south"].mode = "nobody"
            gate_bench.wait_until(lambda: not building.south.is_open)
            fault_s = time.monotonic()
            if trouble == "vanish":
                cameras["north"].vanish()
            cameras["north"].mode = trouble
            building.north.locked_within(fault_s, LEASE_S)
            cameras["south"].mode = "ok"
            building.south.wait_for_new_opening(fault_s)
            building.north.stays_locked(fault_s + LEASE_S + 0.5, time.monotonic())
            back_s = time.monotonic()
            if trouble == "vanish":
                cameras["north"].appear()
            cameras["north"].mode = "ok"
            building.north.wait_for_new_opening(back_s)
        building.end()

    def test_that_is_away_at_the_start_is_waited_for_by_its_own_door(
        self, start, cameras, gate_bench
    ):
        cameras["north"].vanish()
        building = start()
        building.south.wait_for_opening()
        gate_bench.wait_until(lambda: building.north.reason == "camera_lost")
        cameras["north"].appear()
        building.north.wait_for_opening()
        building.end()

    def test_that_is_away_keeps_nobody_from_ending(self, start, cameras, gate_bench):
        cameras["north"].vanish()
        building = start()
        building.south.wait_for_opening()
        gate_bench.wait_until(lambda: building.north.reason == "camera_lost")
        building.end()


class TestARelay:
    def test_that_hangs_leaves_the_other_door_its_own(self, start, tmp_path, gate_bench):
        script = tmp_path / "hangs.py"
        script.write_text("import time\ntime.sleep(600)\n")
        command = f"{sys.executable} {script}"
        own = f'{{kind: recording, path: "{tmp_path}/north/door"}}'
        hangs = f'{{kind: command, on_allow: "{command}", on_deny: "{command}", limit_s: 0.5}}'
        building = start(relays={"north": f"{own}, {hangs}"})
        began_s = time.monotonic()
        building.south.wait_for_opening()
        gate_bench.wait_until(lambda: building.north.reason == "output_fault")
        gate_bench.wait_until(
            lambda: "north  error     out of order: command" in building.gate.said
        )
        assert "south  error" not in building.gate.said
        named = [event["detail"] for event in building.north.events if "detail" in event]
        assert named
        assert all(detail.startswith("command") for detail in named)
        building.south.wait_for_new_opening(building.south.edges[-1][0])
        building.north.stays_locked(began_s, time.monotonic())
        assert building.gate.end() == 5
        assert "the door may be open" in building.gate.said
        building.north.check()
        building.south.check()

    def test_that_is_not_there_is_waited_for_by_its_own_door(self, start, tmp_path, gate_bench):
        late = tmp_path / "plugged in later"
        building = start(relays={"north": f'{{kind: recording, path: "{late}/door"}}'})
        building.south.wait_for_opening()
        told = "north  error     out of service: relays.0: "
        gate_bench.wait_until(lambda: told in building.gate.said)
        late.mkdir()
        (tmp_path / "north" / "door").symlink_to(late / "door")
        building.north.wait_for_opening()
        building.end()


class TestARecord:
    def test_that_cannot_be_kept_keeps_its_own_door_locked(self, start, tmp_path, gate_bench):
        record = tmp_path / "north" / "audit.sqlite"
        record.mkdir(parents=True)
        building = start()
        building.south.wait_for_opening()
        assert {level for _, level, _ in building.north.edges} == {"locked"}
        told = f"north  error     out of service: audit.path: {record}"
        gate_bench.wait_until(lambda: told in building.gate.said)
        record.rmdir()
        building.north.wait_for_opening()
        building.end()


class TestTheDetector:
    def test_killed_or_stopped_locks_all_doors_and_all_open_again(self, start, gate_bench):
        building = start()
        for number in (signal.SIGKILL, signal.SIGSTOP):
            for door in building.doors:
                door.wait_for_opening()
            hit_s = time.monotonic()
            os.kill(building.gate.child("mask_gate.gate.detector.worker"), number)
            for door in building.doors:
                door.locked_within(hit_s, LEASE_S)
            for door in building.doors:
                door.wait_for_new_opening(hit_s)
        for door in building.doors:
            door.wait_for_event(reason="model_fault")
        building.end()


class TestTheEnd:
    def test_by_a_signal_locks_all_open_doors_and_leaves_nothing(self, start, gate_bench):
        """Nothing but what was told, and that bears each door's name."""
        building = start()
        told = [f"{name}  ALLOW     door OPEN" for name in ("north", "south")]
        gate_bench.wait_until(lambda: all(words in building.gate.said for words in told))
        for door in building.doors:
            door.wait_for_opening()
        children = gate_bench.processes_below(building.gate.pid)
        told_s = time.monotonic()
        building.gate.process.send_signal(signal.SIGTERM)
        for door in building.doors:
            door.locked_within(told_s, 0.1)
        assert building.gate.process.wait(gate_bench.PATIENCE_S) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)
        for door in building.doors:
            door.check()
        for name, door in (("north", building.north), ("south", building.south)):
            assert {event["gate"] for event in door.events} == {f"lobby-{name}"}
            assert f"{name}  gate lobby-{name}: watching" in building.gate.said

    def test_after_some_time_is_no_fault_of_the_detector(self, start):
        building = start(flags=("--seconds", "2"))
        assert building.gate.process.wait(90) == 0
        assert "the detector is closed" not in building.gate.said
        for door in building.doors:
            assert f"lobby-{door.folder.name}: watching" in building.gate.said

    def test_of_a_gate_that_is_killed_leaves_all_doors_locked(self, start, gate_bench):
        building = start()
        for door in building.doors:
            door.wait_for_opening()
        killed_s = time.monotonic()
        building.gate.process.kill()
        building.gate.process.wait()
        for door in building.doors:
            door.locked_within(killed_s, 0.2)
            door.check()


class TestWhatIsTold:
    def test_by_the_check_and_the_lock_is_of_each_door(self, tmp_path, capsys):
        config = tmp_path / "gate.yaml"
        text = (
            "doors:\n"
            f"  a:\n    camera: {{source: demo}}\n    audit: {{path: {tmp_path}/a.db}}\n"
            f"    relays: [{{kind: recording, path: {tmp_path}/a}}]\n"
            f"  b:\n    camera: {{source: demo}}\n    audit: {{path: {tmp_path}/b.db}}\n"
            f"    relays: [{{kind: recording, path: {tmp_path}/b}}]\n"
        )
        config.write_text(text)
        assert main(["--config", str(config), "--validate-config"]) == 0
        said = capsys.readouterr().out
        for name in ("a", "b"):
            assert f"gate entrance-{name}: the configuration is right" in said
        config.write_text(text.replace("/b}", "/none/b}"))
        assert main(["--config", str(config), "--validate-config"]) == 5
        assert "door b: relays.0: " in capsys.readouterr().err
        assert main(["--config", str(config), "--lock"]) == 5  # b has none, and a is locked
        assert "door b: " in capsys.readouterr().err
        assert (tmp_path / "a").read_text().split()[1] == "locked"

    @pytest.mark.parametrize(
        ("own", "said"),
        [
            ("outputs: {sounds: /nowhere}", "door b: "),
            (
                "relays: [{kind: webhook, url: 'https://x/', secret_file: /no}]",
                "door b: relays.0",
            ),
            ("outputs: {on_deny: '/nowhere/lock'}", "door b: outputs.on_deny"),
        ],
    )
    def test_of_a_file_that_is_missing_names_the_door_that_wants_it(
        self, tmp_path, capsys, own, said
    ):
        config = tmp_path / "gate.yaml"
        config.write_text(f"camera: {{source: demo}}\ndoors:\n  a: {{}}\n  b:\n    {own}\n")
        assert main(["--config", str(config), "--validate-config"]) == 2
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (["--camera", "0"], "--camera: of which door? There are several; set doors.NAME."),
            (["--on-allow", "x"], "set doors.NAME.outputs.on_allow in the file"),
            (["--audit", "a.db"], "set doors.NAME.audit.path in the file"),
            (["--fast"], "--fast: is for one door, and there are 2"),
            (["--kiosk"], "--kiosk: is for one door, and there are 2"),
            (["--record", "a.mp4"], "--record: is for one door, and there are 2"),
        ],
    )
    def test_of_flags_that_are_for_one_door_is_a_sentence(self, tmp_path, capsys, flags, said):
        config = tmp_path / "gate.yaml"
        config.write_text("doors: {a: {camera: {source: demo}}, b: {camera: {source: demo}}}\n")
        assert main(["--config", str(config), "--headless", *flags]) == 2
        assert said in capsys.readouterr().err
