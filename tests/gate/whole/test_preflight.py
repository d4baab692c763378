"""`--validate-config` and a start judge alike: none calls right what the other ends with."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from mask_gate.gate.commands.gate import main
from mask_gate.gate.errors import CameraError, ConfigError, ModelError, OutputError

pytestmark = pytest.mark.process

WRONG = [
    ("camera: {source: gone.mp4}", CameraError, "no camera, video file or folder called gone.mp4"),
    ("camera: {source: empty}", CameraError, "holds no images"),
    ("detector: {weights: damaged.onnx}", ModelError, "damaged or not an ONNX file"),
    ("detector: {weights: gone.pth}", ModelError, "gone.pth: no such file"),
    ("relays: [{kind: command, on_deny: ./no-hook}]", ConfigError, "relays.0.on_deny './no-hook'"),
    ("relays: [{kind: recording, path: none/door}]", OutputError, "none/door: cannot be written"),
    ("relays: [{kind: serial, port: COM3}]", OutputError, "COM3.*: no such device"),
    ("audit: {path: /proc/nowhere/a.sqlite}", OutputError, "a.sqlite: cannot be written"),
    ("outputs: {events: none/events}", OutputError, "none/events: cannot be written"),
    ("outputs: {sounds: empty}", ConfigError, "is not there"),
    (
        "console: {enabled: true, tls_certificate: tls.pem, tls_key: open.pem}",
        ConfigError,
        "console.tls_key: .*open to every user here",
    ),
    ("notify: {urls_file: gone}", ConfigError, "notify.urls_file: secret file gone: cannot be"),
    ("languages: empty", ConfigError, "languages: empty holds no .yaml files"),
    ("language: xx", ConfigError, "language: expected one of en, ko, got 'xx'"),
    ("camera: {source: 'plugin:gone'}", ConfigError, "brings a camera plug-in gone"),
    ("mqtt: {host: b, username: u, password_file: gone}", ConfigError, "mqtt.password_file: "),
    (
        "relays: [{kind: webhook, url: 'https://localhost/', secret_file: open.pem}]",
        ConfigError,
        "relays.0.secret_file: .*open to every user",
    ),
    (
        "relays: [{kind: mqtt, host: h, topic: t, password_file: tls.pem}]",
        OutputError,
        "relays.0: password_file 'tls.pem': needs a username",
    ),
    ("camera: {source: 'rtmp://cam/live'}", ConfigError, "rtmp URLs are not played"),
    ("camera: {source: 'file:///a.mp4'}", ConfigError, "file URLs are not played"),
    ("camera: {source: -1}", ConfigError, "expected an index of 0 or more"),
    ("relays: [{kind: gpio, pin: BOARD1}]", OutputError, "relays.0: BOARD1 is no pin"),
    pytest.param(
        "relays: [{kind: gpio, pin: 17}]",
        OutputError,
        "relays.0: .* found no pins on this machine",
        marks=pytest.mark.skipif(any(Path("/dev").glob("gpio*")), reason="there are pins here"),
    ),
    (
        "console: {enabled: true, tls_certificate: tls.pem, tls_key: tls.pem}",
        ConfigError,
        "tls.pem and tls.pem cannot be used",
    ),
    ("mqtt: {host: b, tls: true, ca_file: gate.yaml}", ConfigError, "mqtt.ca_file: .*certificates"),
    ("outputs: {on_deny: no-hook}", ConfigError, "outputs.on_deny 'no-hook'"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged.onnx").write_bytes(b"\x08\x00nothing of the kind")
    for name, rights in (("tls.pem", 0o640), ("open.pem", 0o644)):
        (tmp_path / name).write_text("a key\n")
        (tmp_path / name).chmod(rights)
    monkeypatch.delenv("GPIOZERO_PIN_FACTORY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def config_with(line, weights):
    """A configuration that is right but for this line."""
    sound = {
        "camera": "{source: demo}",
        "detector": f"{{engine: onnx, device: cpu, weights: {weights}}}",
        "outputs": "{sound: false}",
        "audit": "{path: a.sqlite}",
    }
    for each in line.splitlines():
        sound.pop(each.partition(":")[0], None)
    return "\n".join([line, *(f"{key}: {value}" for key, value in sound.items())]) + "\n"


@pytest.mark.parametrize(("line", "error", "said"), WRONG)
def test_a_start_ends_with_the_words_of_the_check(line, error, said, folder, small_detector, capfd):
    (folder / "gate.yaml").write_text(config_with(line, small_detector))
    flags = ["--config", "gate.yaml", "--headless", "--mute", "--seconds", "5"]
    assert main([*flags, "--validate-config"]) == error.exit_code
    checked = capfd.readouterr().err.strip()
    assert re.search(said, checked)
    assert main(flags) == error.exit_code
    started = capfd.readouterr().err.strip()
    assert started.endswith(checked)  # the log stands before it
    assert "Traceback" not in checked + started


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(WRONG[:12:3], 2)))
def test_of_two_faults_both_name_the_same(first, second, folder, small_detector, capfd):
    lines = f"{first[0]}\n{second[0]}"
    (folder / "gate.yaml").write_text(config_with(lines, small_detector))
    flags = ["--config", "gate.yaml", "--headless", "--mute", "--seconds", "5"]
    code = main([*flags, "--validate-config"])
    checked = capfd.readouterr().err.strip()
    assert main(flags) == code != 0
    assert capfd.readouterr().err.strip().endswith(checked)


def test_the_check_finds_what_is_wrong_with_one_of_several_doors(folder, small_detector, capfd):
    line = "doors: {a: {camera: {source: gone.mp4}}}"
    (folder / "gate.yaml").write_text(config_with(line, small_detector))
    assert main(["--config", "gate.yaml", "--validate-config"]) == CameraError.exit_code
    assert "door a: no camera, video file" in capfd.readouterr().err


def test_the_check_leaves_nothing_behind_and_moves_nothing(folder, small_detector, capfd):
    relay = "relays: [{kind: recording, path: door}, {kind: command, on_allow: touch opened}]"
    (folder / "gate.yaml").write_text(config_with(relay, small_detector))
    before = sorted(folder.iterdir())
    assert main(["--config", "gate.yaml", "--validate-config"]) == 0
    assert "the configuration is right; its audit is a.sqlite" in capfd.readouterr().out
    assert sorted(folder.iterdir()) == before


def test_a_password_in_a_file_that_everybody_may_read_is_told(folder, small_detector, capfd):
    path = folder / "gate.yaml"
    line = "camera: {source: 'rtsp://admin:hunter2pw@127.0.0.1:1/x'}"
    path.write_text(config_with(line, small_detector))
    path.chmod(0o644)
    assert main(["--config", "gate.yaml", "--validate-config"]) == 0
    told = capfd.readouterr().err
    assert "holds a password (camera.source) and is open to every user here" in told
    assert "hunter2pw" not in told
    path.chmod(0o640)
    assert main(["--config", "gate.yaml", "--validate-config"]) == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("several", [False, True])
def test_a_replay_is_of_a_clip(several, folder, small_detector, capfd):
    line = "camera: {source: 0}"
    (folder / "gate.yaml").write_text(
        config_with(line, small_detector) + "doors: {a: {}}\n" * several
    )
    assert main(["--config", "gate.yaml", "--validate-config", "--fast"]) == 2
    assert re.search("--fast:? is for", capfd.readouterr().err)
