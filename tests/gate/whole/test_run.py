"""The command `mask-gate`, from its flags to its exit code, with everything real but the detector.

The detector here answers by frame number; what it is shown are pictures of noise.
"""

import copy
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mask_gate.gate.camera import source
from mask_gate.gate.commands.gate import main
from mask_gate.gate.errors import CameraError, ModelError
from mask_gate.gate.runtime import entrance, parts
from mask_gate.models.detections import Detections
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.labels import MaskLabel
from mask_gate.models.shipped import BUNDLED_WEIGHTS

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0
FPS = 10.0  # of a folder of pictures
BOX = (60.0, 30.0, 100.0, 80.0)
MASK, BARE = MaskLabel.WITH_MASK, MaskLabel.WITHOUT_MASK


def faces(*labels):
    count = len(labels)
    return Detections(
        np.array([BOX] * count, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.array(labels, np.int64),
        np.full(count, 0.8, np.float32),
    )


def passage(frame):
    """1.5 s of a proper mask, 1.5 s of nobody, 1.5 s of a bare face."""
    part = int(frame.index // (1.5 * FPS))
    return faces(*((MASK,), (), (BARE,), ())[min(part, 3)])


class FakeDetector:
    """Stands where the real one does."""

    answer = staticmethod(passage)
    asked = None
    brings = None

    def __init__(self, command, selftest, limits, cameras=1):
        type(self).asked = tuple(command[-4:-2])
        self.model_id = "sha256:fake"
        self.engine_name = "fake by test on cpu"
        self.operating_point = self.brings

    def __call__(self, frame, camera=0):
        return self.answer(frame)

    def close(self):
        pass


@pytest.fixture
def detector(monkeypatch):
    """Puts the fake detector into the command."""
    monkeypatch.setattr(parts, "DetectorProcess", FakeDetector)
    return FakeDetector


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A folder of 48 live pictures."""
    folder = tmp_path_factory.mktemp("clip")
    rng = np.random.default_rng(7)
    for number in range(48):
        picture = rng.integers(0, 256, (120, 160, 3), np.uint8)
        assert cv2.imwrite(str(folder / f"{number:03}.png"), picture)
    return folder


@pytest.fixture
def relay(tmp_path):
    """A relay script that writes down each edge, and a reader of what it wrote."""
    edges = tmp_path / "edges"
    script = tmp_path / "relay.sh"
    script.write_text(f'#!/bin/sh\necho "$1 $MASK_GATE_REASON" >> {edges}\n')
    script.chmod(0o755)

    def read():
        return edges.read_text().splitlines() if edges.exists() else []

    read.command = str(script)
    return read


def say(capfd):
    captured = capfd.readouterr()
    assert "Traceback" not in captured.err
    return captured


def signals(path):
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [(e["signal"], e["reason"]) for e in events if e["type"] == "signal"]


QUIET = ("--headless", "--mute")


class TestTheOperatingPoint:
    """The model's own thresholds decide, unless the configuration says otherwise."""

    def openings(self, clip, tmp_path, config=""):
        (tmp_path / "gate.yaml").write_text(config)
        events = tmp_path / "events"
        flags = ["--config", str(tmp_path / "gate.yaml"), "--camera", str(clip)]
        assert main([*flags, "--fast", "--events", str(events), *QUIET]) == 0
        return [signal for signal, _ in signals(events)].count("allow")

    @pytest.mark.parametrize(
        ("score", "config", "openings"),
        [
            (0.6, "", 1),
            (0.95, "", 0),  # the face has .9
            (0.95, "policy: {min_score: 0.5}", 1),
            (0.6, "policy: {min_score: 0.95}", 0),
            (0.6, "policy: {min_margin: 0.85}", 0),  # and leads by .8
        ],
    )
    def test_decides(
        self, clip, tmp_path, detector, monkeypatch, operating_point, capfd, score, config, openings
    ):
        classes = {
            **operating_point.classes,
            "with_mask": operating_point.classes["with_mask"].model_copy(
                update={"min_score": score}
            ),
        }
        point = operating_point.model_copy(update={"classes": classes})
        monkeypatch.setattr(detector, "brings", point)
        assert self.openings(clip, tmp_path, config) == openings
        if not config:
            assert f"votes from with_mask {score:.2f}, without_mask 0.40" in say(capfd).err

    def test_of_a_model_that_brings_none_is_as_ever(self, clip, tmp_path, detector, capfd):
        assert self.openings(clip, tmp_path) == 1
        assert "votes from with_mask 0.35" in say(capfd).err


class TestUsage:
    def test_help_names_the_exit_codes(self, capfd):
        assert main(["--help"]) == 0
        assert "3 camera, 4 model or weights, 5 output, 130 Ctrl-C" in capfd.readouterr().out

    def test_version_names_the_program_and_the_bundled_model(self, capfd):
        assert main(["--version"]) == 0
        program, model = capfd.readouterr().out.splitlines()
        assert program.startswith("mask-gate ")
        assert model == f"model {fingerprint(BUNDLED_WEIGHTS)}"

    @pytest.mark.parametrize(
        "flags",
        [
            ("--cammera", "0"),
            ("--came", "0"),
            ("--seconds", "0"),
            ("--seconds", "nan"),
            ("--seconds", "soon"),
            ("stray",),
            ("--camera",),
        ],
    )
    def test_flags_that_are_wrong_exit_2(self, flags, capfd):
        assert main([*flags]) == 2
        assert "usage: mask-gate" in say(capfd).err

    @pytest.mark.parametrize(
        ("flags", "said"),
        [
            (("--config", "nothing.yaml"), "mask-gate: nothing.yaml: no such file"),
            (("--gate", "a b"), "mask-gate: --gate: expected a name for this door"),
            (("--device", "tpu"), "mask-gate: --device: expected auto, cpu or cuda[:N]"),
            (("--on-allow", "no-such-program"), "mask-gate: --on-allow 'no-such-program': no"),
            (("--on-deny", "'"), 'mask-gate: --on-deny "\'": No closing quotation'),
            (("--camera", "ftp://host/x"), "mask-gate: --camera: ftp URLs are not played"),
            (("--weights", ""), "mask-gate: --weights: "),
        ],
    )
    def test_values_that_are_wrong_exit_2_with_one_sentence(self, flags, said, capfd, detector):
        assert main([*flags, *QUIET]) == 2
        error = say(capfd).err
        assert error.startswith(said)
        assert error.count("\n") == 1

    @pytest.mark.parametrize("seconds", ["soon", "-1", "inf"])
    def test_seconds_that_are_wrong_are_told_in_one_way(self, seconds, capfd):
        assert main(["--seconds", seconds]) == 2
        assert f"--seconds: expected a number above 0, got {seconds}" in say(capfd).err

    def test_help_says_what_a_hook_sees_of_the_environment(self, capfd):
        assert main(["--help"]) == 0
        assert "HOME and MASK_GATE_*" in " ".join(capfd.readouterr().out.split())

    def test_validating_reads_every_file_that_is_named(self, tmp_path, capfd):
        path = tmp_path / "gate.yaml"
        path.write_text("console: {enabled: true, password_file: gone}\n")
        assert main(["--config", str(path), "--validate-config"]) == 2
        assert say(capfd).err.startswith("mask-gate: console.password_file: secret file gone: ")

    def test_a_command_of_the_file_is_called_by_its_key(self, tmp_path, capfd):
        path = tmp_path / "gate.yaml"
        path.write_text("outputs: {on_deny: no-such-program}\n")
        assert main(["--config", str(path), "--validate-config"]) == 2
        assert say(capfd).err.startswith("mask-gate: outputs.on_deny 'no-such-program': no")

    def test_a_slip_in_the_configuration_is_named(self, tmp_path, capfd):
        path = tmp_path / "gate.yaml"
        path.write_text("policy:\n  hold_ms: 3\n")
        assert main(["--config", str(path)]) == 2
        assert say(capfd).err == (
            f"mask-gate: {path}:2: policy.hold_ms: no such key; did you mean hold_s?\n"
        )


class TestWhatIsMissing:
    def test_no_camera_exits_3(self, tmp_path, capfd, detector):
        assert main(["--camera", str(tmp_path / "nothing.mp4"), *QUIET]) == CameraError.exit_code
        error = say(capfd).err
        assert error.startswith("mask-gate: no camera, video file or folder called")
        assert error.count("\n") == 1

    def test_a_file_that_is_no_video_exits_3(self, tmp_path, capfd, detector):
        path = tmp_path / "clip.mp4"
        path.write_bytes(b"not a video" * 100)
        assert main(["--camera", str(path), *QUIET]) == 3
        assert "is not a video that can be played" in say(capfd).err

    @pytest.mark.parametrize("data", [None, b"", b"not a checkpoint" * 100])
    def test_wrong_weights_exit_4(self, tmp_path, clip, capfd, data):
        path = tmp_path / "best.pth"
        if data is not None:
            path.write_bytes(data)
        flags = ["--camera", str(clip), "--weights", str(path), "--device", "cpu", *QUIET]
        assert main(flags) == ModelError.exit_code
        assert str(path) in say(capfd).err

    @pytest.mark.parametrize("value", [float("nan"), 0.0, 1.5, None, "high"])
    def test_an_operating_point_that_cannot_be_exits_4(
        self, tmp_path, clip, capfd, relay, operating_point, value
    ):
        content = torch.load(BUNDLED_WEIGHTS, weights_only=True)
        point = copy.deepcopy(operating_point.to_plain())
        point["classes"]["with_mask"]["min_score"] = value
        path = tmp_path / "best.pth"
        torch.save(content | {"operating_point": point}, path)
        flags = ["--camera", str(clip), "--weights", str(path), "--device", "cpu", *QUIET]
        flags += ["--on-allow", relay.command, "--on-deny", relay.command]
        assert main(flags) == ModelError.exit_code
        assert "operating_point.classes.with_mask.min_score" in say(capfd).err
        assert set(relay()) <= {"deny starting", "deny stopping"}

    def test_an_events_file_that_cannot_be_written_exits_5(self, tmp_path, clip, capfd, detector):
        flags = ["--camera", str(clip), "--events", str(tmp_path / "no" / "events"), *QUIET]
        assert main(flags) == 5
        assert "mask-gate: outputs.events: " in say(capfd).err

    def test_a_recording_that_cannot_be_written_exits_5(self, tmp_path, clip, capfd, detector):
        flags = ["--camera", str(clip), "--record", str(tmp_path / "no" / "out.mp4"), *QUIET]
        assert main(flags) == 5
        assert "--record" in say(capfd).err

    def test_a_lock_that_never_works_exits_5(self, tmp_path, clip, capfd, detector):
        script = tmp_path / "broken.sh"
        script.write_text("#!/bin/sh\necho jammed; exit 1\n")
        script.chmod(0o755)
        config = tmp_path / "gate.yaml"
        config.write_text("outputs:\n  hook_limit_s: 3.0\n")
        flags = ["--config", str(config), "--camera", str(clip), "--seconds", "0.5", *QUIET]
        assert main([*flags, "--on-deny", str(script)]) == 5
        error = say(capfd).err
        assert "FAULT     door locked  output fault" in error
        assert "mask-gate: the deny hook ended with code 1: 'jammed'; the door may be" in error

    def test_no_display_costs_one_line(self, clip, capfd, detector, monkeypatch):
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert main(["--camera", str(clip), "--fast"]) == 0
        assert say(capfd).err.count("no window can be opened") == 1

    def test_no_sound_player_costs_one_line(self, clip, capfd, detector, monkeypatch):
        monkeypatch.setattr(entrance, "find_player", lambda: None)
        assert main(["--camera", str(clip), "--headless", "--seconds", "0.3"]) == 0
        assert say(capfd).err.count("no sound: install") == 1

    def test_an_opener_without_a_locker_is_warned_of(self, clip, capfd, detector, relay):
        flags = ["--camera", str(clip), "--seconds", "0.3", "--on-allow", relay.command, *QUIET]
        assert main(flags) == 0
        assert "give --on-deny too" in say(capfd).err


class TestAStartThatFails:
    """An earlier run may have been killed while the door was open: it is locked in any case."""

    def flags(self, relay, *flags):
        return [*flags, "--on-allow", relay.command, "--on-deny", relay.command, *QUIET]

    def test_without_a_camera(self, tmp_path, relay, detector):
        assert main(self.flags(relay, "--camera", str(tmp_path / "nothing.mp4"))) == 3
        assert set(relay()) <= {"deny starting", "deny stopping"}
        assert relay()[-1] == "deny stopping"

    def test_without_weights(self, tmp_path, relay, clip):
        weights = ("--weights", str(tmp_path / "none.pth"))
        assert main(self.flags(relay, "--camera", str(clip), *weights)) == 4
        assert set(relay()) <= {"deny starting", "deny stopping"}
        assert relay()[-1] == "deny stopping"

    @pytest.mark.parametrize("flag", ["--events", "--record"])
    def test_with_a_file_that_cannot_be_written(self, flag, tmp_path, relay, clip, detector):
        path = tmp_path / "no" / "file.mp4"
        assert main(self.flags(relay, "--camera", str(clip), flag, str(path))) == 5
        assert relay()[-1] == "deny stopping"

    def test_the_door_is_locked_before_the_model_is_loaded(
        self, tmp_path, relay, clip, detector, monkeypatch
    ):
        found = []

        class Slow(FakeDetector):
            def __init__(self, *asked, **more):
                super().__init__(*asked)
                deadline = time.monotonic() + PATIENCE_S
                while not relay() and time.monotonic() < deadline:
                    time.sleep(0.01)
                found.extend(relay())

        monkeypatch.setattr(parts, "DetectorProcess", Slow)
        assert main(self.flags(relay, "--camera", str(clip), "--seconds", "0.2")) == 0
        assert found == ["deny starting"]


class TestLockByHand:
    """What systemd runs after every end: nothing but the relays may keep it from locking."""

    def test_locks_every_relay_and_needs_neither_sounds_nor_audit_nor_home(
        self, tmp_path, monkeypatch, capfd
    ):
        for name in ("HOME", "STATE_DIRECTORY", "XDG_STATE_HOME"):
            monkeypatch.delenv(name, raising=False)
        door = tmp_path / "door"
        config = tmp_path / "gate.yaml"
        config.write_text(
            f"relays: [{{kind: recording, path: {door}}}]\noutputs: {{sounds: {tmp_path}}}\n"
        )
        assert main(["--lock", "--config", str(config)]) == 0
        assert {line.split()[1] for line in door.read_text().splitlines()} == {"locked"}
        assert main(["--config", str(config), "--validate-config"]) == 2
        assert "allow.wav is not there" in say(capfd).err

    def test_locks_also_where_nobody_can_say_whose_the_door_is(self, tmp_path, monkeypatch, capfd):
        (tmp_path / "file").write_text("no folder")
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "file"))
        door = tmp_path / "door"
        config = tmp_path / "gate.yaml"
        config.write_text(f"relays: [{{kind: recording, path: {door}}}]\n")
        assert main(["--lock", "--config", str(config)]) == 0
        assert door.exists()
        assert "cannot be used to keep the door" in say(capfd).err

    @pytest.mark.parametrize(
        "slip",
        [
            "camera: {source: 'ftp://camera/live'}",
            "camera: 3",
            "policy: {max_age_s: 0.5}",
            "policy: {hold_s: 9.0, lease_s: 9.0}",
            "audit: {path: door.txt}",
            "colour: blue",
            "console: {enabled: perhaps}",
        ],
    )
    def test_locks_whatever_else_is_wrong_in_the_configuration(self, tmp_path, capfd, slip):
        doors = [tmp_path / "north", tmp_path / "south"]
        listed = [f"relays: [{{kind: recording, path: {door}}}]" for door in doors]
        one, several = tmp_path / "one.yaml", tmp_path / "several.yaml"
        one.write_text(f"{listed[0]}\n{slip}\n")
        several.write_text(f"doors:\n  a: {{{listed[0]}}}\n  b: {{{listed[1]}, {slip}}}\n")
        for config, locked in ((one, doors[:1]), (several, doors)):
            assert main(["--validate-config", "--config", str(config)]) == 2
            assert main(["--lock", "--config", str(config)]) == 0
            assert all("locked" in door.read_text() for door in locked)
            assert "locking all the same: " in say(capfd).err
            for door in locked:
                door.unlink()

    @pytest.mark.parametrize("text", ["relays: [{kind: gpoi}]", "relays: [", "a: 1\na: 2"])
    def test_a_file_that_does_not_say_which_relays_there_are_is_told(self, tmp_path, capfd, text):
        config = tmp_path / "gate.yaml"
        config.write_text(f"{text}\n")
        assert main(["--lock", "--config", str(config)]) == 2
        assert str(config) in say(capfd).err

    def test_one_that_does_not_work_exits_5_and_the_others_are_locked(self, tmp_path, capfd):
        config = tmp_path / "gate.yaml"
        paths = (tmp_path / "no" / "door", tmp_path / "door")
        relays = ", ".join(f"{{kind: recording, path: {path}}}" for path in paths)
        config.write_text(f"relays: [{relays}]\n")
        assert main(["--lock", "--config", str(config)]) == 5
        assert "locked" in paths[1].read_text()
        assert "cannot be written" in say(capfd).err


class TestAClip:
    def test_plays_to_its_end_and_the_relay_hears_every_edge(
        self, clip, tmp_path, relay, capfd, detector
    ):
        events = tmp_path / "events.jsonl"
        hooks = ("--on-allow", relay.command, "--on-deny", relay.command)
        flags = ["--camera", str(clip), "--gate", "lobby", "--events", str(events), *hooks, *QUIET]
        assert main(flags) == 0
        expected = [
            ("deny", "starting"),
            ("allow", "compliant"),
            ("deny", "uncertain"),
            ("deny", "no_mask"),
            ("deny", "stopping"),
        ]
        assert relay() == [" ".join(edge) for edge in expected]
        assert signals(events) == expected
        lines = [json.loads(line) for line in events.read_text().splitlines()]
        assert {line["gate"] for line in lines} == {"lobby"}
        assert [line["time_s"] for line in lines] == sorted(line["time_s"] for line in lines)
        judged = [line for line in lines if line["picture_s"] is not None]
        assert judged[0]["picture_wh"] == [160, 120]
        assert all(line["picture_s"] <= line["time_s"] for line in judged)
        assert [line["model"] for line in lines] == [None, *["sha256:fake"] * (len(lines) - 1)]
        said = say(capfd).err
        assert f"gate lobby: watching {clip} with fake by test on cpu (sha256:fake)" in said
        assert "ALLOW     door OPEN    compliant, 1 face" in said
        assert "1 opening, 1 denial" in said

    def test_in_a_hurry_gives_the_same_edges_every_time_and_moves_nothing(
        self, clip, tmp_path, relay, capfd, detector
    ):
        hooks = ("--on-allow", relay.command, "--on-deny", relay.command)
        heard = []
        for name in ("first", "second"):
            events = tmp_path / name
            flags = ["--camera", str(clip), "--fast", "--events", str(events), *hooks, *QUIET]
            assert main(flags) == 0
            lines = [json.loads(line) for line in events.read_text().splitlines()]
            heard.append([(e["signal"], e["time_s"]) for e in lines if e["type"] == "signal"])
        assert heard[0] == heard[1]
        assert [kind for kind, _ in heard[0]] == ["deny", "allow", "deny", "deny", "deny"]
        assert relay() == []
        assert f"would run: {relay.command} allow" in say(capfd).err

    def test_that_is_the_demo_plays_over_and_over_until_it_is_stopped(
        self, clip, tmp_path, relay, detector, monkeypatch, capfd
    ):
        """Twelve pictures at 60 a second: many rounds in two seconds, and none of them a replay."""
        demo, events, config = tmp_path / "demo", tmp_path / "events", tmp_path / "gate.yaml"
        demo.mkdir()
        for picture in sorted(clip.iterdir())[:12]:
            (demo / picture.name).write_bytes(picture.read_bytes())
        monkeypatch.setattr(source, "DEMO_CLIP", demo)
        config.write_text("camera: {folder_fps: 60}\n")
        flags = ["--config", str(config), "--camera", "demo", "--events", str(events), *QUIET]
        assert main([*flags, "--dry-run", "--seconds", "2"]) == 0
        said = say(capfd).err
        assert "watching demo, over and over until it is stopped (--once: one round), with" in said
        assert int(re.search(r"(\d+) frames", said)[1]) > 24
        assert "frozen" not in events.read_text()
        assert "the demo moves the relay" not in said
        relays = ["--on-allow", relay.command, "--on-deny", relay.command]
        assert main([*flags, *relays, "--seconds", "1"]) == 0
        said = "the demo moves the relay: the door opens though nobody stands there"
        assert said in say(capfd).err
        assert main([*flags, "--dry-run", "--once"]) == 0
        said = say(capfd).err
        assert "watching demo with" in said
        assert int(re.search(r"(\d+) frames", said)[1]) <= 12
        assert main([*flags, "--fast"]) == 0
        assert " 12 frames" in say(capfd).err

    def test_in_a_hurry_must_be_a_clip(self, capfd, detector, monkeypatch):
        class Live:
            is_live = True

            def close(self):
                pass

        monkeypatch.setattr(parts, "open_camera", lambda source, **options: Live())
        assert main(["--camera", "0", "--fast", *QUIET]) == 2
        assert "--fast is for clips" in say(capfd).err

    def test_dry_run_prints_and_runs_nothing(self, clip, relay, capfd, detector):
        hooks = ("--on-allow", relay.command, "--on-deny", relay.command)
        flags = ["--camera", str(clip), "--seconds", "0.5", "--dry-run", *hooks, *QUIET]
        assert main(flags) == 0
        assert f"would run: {relay.command} deny  (MASK_GATE_HOLD_S=0.000)" in say(capfd).err
        assert relay() == []

    def test_seconds_end_it(self, clip, capfd, detector):
        assert main(["--camera", str(clip), "--fast", "--seconds", "1", *QUIET]) == 0
        assert "ended after" in say(capfd).err

    def test_events_on_standard_output_are_nothing_but_json(self, clip, capfd, detector):
        assert main(["--camera", str(clip), "--fast", "--events", "-", *QUIET]) == 0
        lines = say(capfd).out.splitlines()
        assert {json.loads(line)["type"] for line in lines} == {"signal", "decision"}

    def test_is_recorded_with_what_the_window_shows(self, clip, tmp_path, capfd, detector):
        path = tmp_path / "out.webm"
        assert main(["--camera", str(clip), "--fast", "--record", str(path), *QUIET]) == 0
        video = cv2.VideoCapture(str(path))
        assert video.isOpened()
        assert int(video.get(cv2.CAP_PROP_FRAME_WIDTH)) == 160
        video.release()

    def test_the_configuration_and_the_flags_reach_the_parts(self, clip, tmp_path, capfd, detector):
        path = tmp_path / "gate.yaml"
        path.write_text(
            f"gate: from-file\ncamera:\n  source: {clip}\ndetector:\n  device: cpu\n"
            "outputs:\n  sound: false\n"
        )
        events = tmp_path / "events"
        flags = ["--config", str(path), "--gate", "from-flag", "--events", str(events)]
        weights = tmp_path / "mine.pth"
        weights.write_bytes(b"of the fake")
        assert main([*flags, "--weights", str(weights), "--headless", "--fast"]) == 0
        assert detector.asked == (str(weights), "cpu")
        assert json.loads(events.read_text().splitlines()[0])["gate"] == "from-flag"

    def test_without_weights_the_bundled_ones_are_used(self, clip, capfd, detector):
        assert main(["--source", str(clip), "--fast", *QUIET]) == 0
        assert detector.asked == (
            str(ROOT / "assets" / "weights" / "mask-gate-lite.pth"),
            "auto",
        )


DRIVER = """
import sys, time
from pathlib import Path
import numpy as np
from mask_gate.gate.runtime import entrance, parts
from mask_gate.gate.commands import gate as run
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Frame
from mask_gate.models.detections import Detections

class Camera:
    is_live, ended, index = True, False, 0
    def read(self, timeout_s):
        time.sleep(0.03)
        self.index += 1
        image = np.random.default_rng(self.index).integers(0, 256, (120, 160, 3), np.uint8)
        return Frame(image, uptime_s(), self.index)
    def close(self):
        pass

class Detector:
    model_id, engine_name, operating_point = "sha256:fake", "fake", None
    def __init__(self, command, selftest, limits, cameras=1):
        if LOADS:
            print("loading", flush=True)
            time.sleep(600)
    def __call__(self, frame, camera=0):
        if HANGS and Path(sys.argv[-1]).exists() and "allow" in Path(sys.argv[-1]).read_text():
            print("hanging", flush=True)
            time.sleep(600)
        one = lambda value, kind: np.array([value], kind)
        return Detections(np.array([[60, 30, 100, 80]], np.float32), one(0.9, np.float32),
                          one(0, np.int64), one(0.8, np.float32))
    def close(self):
        pass

HANGS, LOADS = sys.argv[1] == "hangs", sys.argv[1] == "loads"
parts.open_camera = lambda source, **options: Camera()
parts.DetectorProcess = Detector
sys.exit(run.main(sys.argv[2:-1]))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
class TestSignals:
    @pytest.fixture
    def gate(self, tmp_path):
        """Starts the gate as a process whose relay stays alive while the door is open."""
        edges = tmp_path / "edges"
        script = tmp_path / "relay.sh"
        script.write_text(
            f'#!/bin/sh\necho "$1 $MASK_GATE_REASON $$" >> {edges}\n'
            '[ "$1" = deny ] || exec sleep "$MASK_GATE_HOLD_S"\n'
        )
        script.chmod(0o755)
        started = []

        def start(how, *flags):
            hooks = ("--on-allow", str(script), "--on-deny", str(script))
            process = subprocess.Popen(
                [sys.executable, "-c", DRIVER, how, *hooks, *QUIET, *flags, str(edges)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            started.append(process)
            return process

        def read():
            return (
                [line.split() for line in edges.read_text().splitlines()]
                if (edges.exists())
                else []
            )

        def wait_for(word):
            deadline = time.monotonic() + PATIENCE_S
            while not any(line[0] == word for line in read()):
                assert time.monotonic() < deadline
                assert started[-1].poll() is None
                time.sleep(0.02)

        start.edges, start.wait_for = read, wait_for
        yield start
        for process in started:
            process.kill()
            process.communicate()

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
    def test_lock_first_and_leave_nothing(self, gate, number, code):
        process = gate("runs")
        gate.wait_for("allow")
        process.send_signal(number)
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code
        assert gate.edges()[-1][:2] == ["deny", "stopping"]
        opened = next(line for line in gate.edges() if line[0] == "allow")
        assert not Path(f"/proc/{opened[2]}").exists()
        assert "Traceback" not in error
        assert "1 opening" in error

    def test_a_loop_that_hangs_is_ended_all_the_same(self, gate):
        process = gate("hangs")
        assert process.stdout.readline() == "hanging\n"
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert gate.edges()[-1][:2] == ["deny", "stopping"]
        assert "the loop does not end; it is given up" in error
        assert "Traceback" not in error

    def test_while_the_model_is_still_loading(self, gate):
        process = gate("loads")
        assert process.stdout.readline() == "loading\n"
        gate.wait_for("deny")  # the first lock: nothing has waited for it
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert [edge[:2] for edge in gate.edges()] == [["deny", "starting"], ["deny", "stopping"]]
        assert "Traceback" not in error

    def test_killed_outright_the_relay_still_locks_by_itself(self, gate, tmp_path):
        config = tmp_path / "gate.yaml"
        config.write_text("policy:\n  hold_s: 1\ndoor:\n  max_open_s: 2\n")
        process = gate("runs", "--config", str(config))
        gate.wait_for("allow")
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        opened = next(line for line in gate.edges() if line[0] == "allow")
        deadline = time.monotonic() + PATIENCE_S
        while Path(f"/proc/{opened[2]}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
