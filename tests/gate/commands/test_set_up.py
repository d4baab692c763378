"""Set-up: what is written can be run, what is there is left alone, what is missing is told."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from mask_gate.gate.camera.video_devices import VideoDevice, VideoMode
from mask_gate.gate.commands import set_up
from mask_gate.gate.commands.gate import main
from mask_gate.gate.config.schema import GateConfig, load_config
from mask_gate.gate.console.login import Password
from mask_gate.gate.errors import CameraError, ConfigError, OutputError
from mask_gate.gate.system.secret_file import read_secret


class TestInit:
    def test_it_writes_every_key_with_its_default(self, tmp_path, capsys):
        path = tmp_path / "gate.yaml"
        assert main(["--init", str(path)]) == 0
        assert load_config(path) == GateConfig()
        assert "--config" in capsys.readouterr().out
        assert main(["--config", str(path), "--validate-config"]) == 0

    def test_a_file_that_is_there_is_left_alone(self, tmp_path, capsys):
        path = tmp_path / "gate.yaml"
        path.write_text("gate: mine\n")
        assert main(["--init", str(path)]) == ConfigError.exit_code
        assert path.read_text() == "gate: mine\n"
        assert "is there already" in capsys.readouterr().err

    def test_a_folder_that_is_not_there_is_told(self, tmp_path, capsys):
        assert main(["--init", str(tmp_path / "no" / "gate.yaml")]) == OutputError.exit_code
        assert "cannot be written" in capsys.readouterr().err


class TestToken:
    def test_is_written_for_us_alone_told_once_and_good_for_a_console(self, tmp_path, capsys):
        path = tmp_path / "metrics"
        tokens = set()
        for _ in range(2):
            assert main(["--set-token", str(path)]) == 0
            token = read_secret(str(path)).decode()
            assert capsys.readouterr().out.rstrip().endswith(f": {token}")
            tokens.add(token)
        assert len(tokens) == 2
        assert min(map(len, tokens)) >= 32
        assert list(tmp_path.iterdir()) == [path]

    def test_that_cannot_be_written_is_told(self, tmp_path, capsys):
        assert main(["--set-token", str(tmp_path / "no" / "metrics")]) == OutputError.exit_code
        assert "cannot be written" in capsys.readouterr().err


class TestCameras:
    def test_without_one_there_is_a_sentence(self, monkeypatch, capsys):
        monkeypatch.setattr(set_up, "video_devices", lambda: [])
        assert main(["--list-cameras"]) == CameraError.exit_code
        assert "--camera demo" in capsys.readouterr().err

    def test_are_shown_with_what_they_offer_and_how_to_name_them(self, capsys):
        lasting, node = Path("/dev/v4l/by-id/usb-cam"), Path("/dev/video0")
        modes = (VideoMode("MJPG", 640, 480, (30.0, 7.5)), VideoMode("H264", 1280, 720, ()))
        set_up.print_cameras(
            [
                VideoDevice(lasting, node, "Webcam", modes),
                VideoDevice(Path("/dev/video2"), Path("/dev/video2"), "Other"),
                VideoDevice(Path("/dev/video3"), Path("/dev/video3"), fault="no rights"),
            ]
        )
        assert capsys.readouterr().out.splitlines() == [
            "/dev/v4l/by-id/usb-cam",
            "    Webcam, now /dev/video0",
            "    MJPG 640 x 480 at 30, 7.5 fps",
            "    H264 1280 x 720",
            "/dev/video2",
            "    Other, now /dev/video2",
            "    this name may be another camera's after the next start",
            "/dev/video3",
            "    no rights",
        ]


class TestSamples:
    def test_are_copied_as_they_are(self, repo_root, tmp_path, capsys):
        folder = tmp_path / "new" / "samples"
        assert main(["--copy-samples", str(folder)]) == 0
        said = capsys.readouterr().out.splitlines()
        assert str(folder / "relay" / "gpio.py") in said
        assert {folder / "systemd" / "mask-gate.service", folder / "relay" / "pulse.py"} <= {
            path for path in folder.rglob("*") if path.is_file()
        }
        for path in map(Path, said):
            original = repo_root / "assets" / path.relative_to(folder)
            assert path.read_bytes() == original.read_bytes()
            assert path.stat().st_mode == original.stat().st_mode

    def test_a_file_that_is_there_is_left_alone_and_nothing_is_copied(self, tmp_path, capsys):
        mine = tmp_path / "relay" / "usb_relay.py"
        mine.parent.mkdir()
        mine.write_text("mine")
        assert main(["--copy-samples", str(tmp_path)]) == ConfigError.exit_code
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [mine]
        assert mine.read_text() == "mine"
        assert "usb_relay.py is there already" in capsys.readouterr().err

    def test_a_folder_that_cannot_be_made_is_told(self, tmp_path, capsys):
        (tmp_path / "file").touch()
        assert main(["--copy-samples", str(tmp_path / "file")]) == OutputError.exit_code
        assert "Not a directory" in capsys.readouterr().err


class TestPassword:
    def test_a_given_one_is_kept_as_a_hash(self, tmp_path, monkeypatch):
        path = tmp_path / "password"
        monkeypatch.setattr(sys, "stdin", io.StringIO("a password of some length\n"))
        assert main(["--set-password", str(path)]) == 0
        assert Password.read(str(path)).matches("a password of some length")

    def test_a_short_one_is_refused(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(sys, "stdin", io.StringIO("short\n"))
        assert main(["--set-password", str(tmp_path / "p")]) == ConfigError.exit_code
        assert "expected 12" in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("text", "code"),
    [("gate: x", 0), ("gte: x", 2), ("language: xx", 2), ("console: {enabled: maybe}", 2),
     ("console: {host: 0.0.0.0}", 2), ("gate: [", 2)],
)  # fmt: skip
def test_validating_a_configuration_ends_with_the_truth(tmp_path, text, code):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    assert main(["--config", str(path), "--validate-config"]) == code


def test_the_gate_runs_without_the_extra_of_the_console():
    code = (
        "import sys\n"
        "for name in ('starlette', 'uvicorn', 'jinja2', 'prometheus_client'):\n"
        "    sys.modules[name] = None\n"
        "import mask_gate.gate.commands.gate\n"
        "sys.exit(mask_gate.gate.commands.gate.main(['--validate-config']))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0
