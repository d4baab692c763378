"""Relays and cameras of other packages: the manual's own examples, installed, at a real door."""

from __future__ import annotations

import os
import re
import socketserver
import subprocess
import sys
import threading
import zipfile
from pathlib import Path

import pytest

from mask_gate.gate.commands.gate import main
from mask_gate.gate.errors import ConfigError

pytestmark = pytest.mark.process

ROOT = Path(__file__).resolve().parents[3]
MANUAL = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
PATIENCE_S = 300.0

BUILD = "import sys; from setuptools import build_meta as b; b.build_wheel(sys.argv[1])"


def block(language: str, begins: str = "") -> str:
    """A fenced block of the manual, by its language and how it begins."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```", MANUAL, re.MULTILINE | re.DOTALL)
    (found,) = (text for text in blocks if text.startswith(begins))
    return found


def installed(source: Path, target: Path) -> None:
    """Build a wheel by the build backend that pip would call, and unpack it where pip would."""
    command = [sys.executable, "-c", BUILD, str(source / "dist")]
    subprocess.run(command, cwd=source, check=True, capture_output=True, timeout=300)
    (wheel,) = (source / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(target)


def written(folder: Path, group: str, **modules: str) -> Path:
    """A folder of packages as pip leaves them: modules, and an entry point of the same name."""
    points = [f"[{group}]"]
    for name, text in modules.items():
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        points.append(f"{name} = {name}:make")
    about = folder / f"{'-'.join(modules)}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {folder.name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("\n".join(points) + "\n")
    return folder


class Board(socketserver.ThreadingTCPServer):
    """The board of the manual: knows its lines, and writes down what it was told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Line)
        self.told: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    class Line(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.server.told.append(self.rfile.readline().decode().strip())
            self.wfile.write(b"ok\n")

    @property
    def is_open(self) -> bool:
        return bool(self.told) and self.told[-1].startswith("ON")


@pytest.fixture
def board():
    with Board() as server:
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def etherboard(tmp_path_factory) -> Path:
    """The package of the manual, as pip installs it."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    (source / "etherboard.py").write_text(block("python", '"""EtherBoard'), encoding="utf-8")
    (source / "pyproject.toml").write_text(block("toml"), encoding="utf-8")
    installed(source, target)
    return target


def path_with(*folders: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, *folders]))}


def test_the_example_has_no_more_lines_than_it_promises():
    lines = block("python", '"""EtherBoard').splitlines()
    assert sum(bool(line.strip()) for line in lines[1:]) <= 20


def test_the_board_of_the_manual_holds_a_door(etherboard, board, gate_bench, camera, tmp_path):
    relay = block("yaml").replace("17123", str(board.server_address[1])).partition("\n")[2]
    template = gate_bench.CONFIG.replace("relays: [{{", "relays:\n  - {{").replace(
        'door"}}]', 'door"}}'
    )
    template = template.replace("audit:", relay.replace("{", "{{").replace("}", "}}") + "audit:")
    environment = path_with(etherboard)
    with gate_bench.Gate(tmp_path, camera.url, template=template, environment=environment) as gate:
        gate.wait_for_opening(PATIENCE_S)
        gate_bench.wait_until(lambda: board.is_open, PATIENCE_S, "an opening of the board")
        assert board.told[0] == "OFF 1"  # before anything else
        assert any(re.fullmatch(r"ON 1 \d+\.\d", words) for words in board.told)
        gate.process.kill()  # its guardian is left
        gate_bench.wait_until(lambda: not board.is_open, PATIENCE_S, "a lock by its guardian")


def test_the_camera_of_the_manual_shows_who_is_there(gate_bench, tmp_path):
    source = block("python", '"""Still') + "\n\nmake = Still\n"
    packages = written(tmp_path / "packages", "mask_gate.cameras", still=source)
    picture = ROOT / "assets/selftest/with_mask.jpg"
    with gate_bench.Gate(
        tmp_path, f"plugin:still:{picture}", environment=path_with(packages)
    ) as gate:
        gate.wait_for_opening(PATIENCE_S)
        assert gate.end() == 0
        gate.check()


RAISES = "raise RuntimeError('no licence\\nfor this board')"
ENDS = "import os; os._exit(3)"
HANGS = "import time; time.sleep(600)"
MAKES = (
    "class make:\n    def __init__(self, host, port=1):\n        print('hello')\n        1 / 0\n"
)

WRONG = [
    ("", "gone", "{}", "no package that is installed brings a relay plug-in gone; there is none"),
    (RAISES, "board", "{}", "relay plug-in board cannot be loaded: RuntimeError: no licence for"),
    (HANGS, "board", "{}", "relay plug-in board cannot be loaded: its import hangs for more than"),
    (MAKES, "board", "{}", "relay plug-in board: settings: missing a required argument: 'host'"),
    (MAKES, "board", "{host: a, colour: 1}", "settings: got an unexpected keyword .*'colour'"),
    ("make = 7", "board", "{}", "relay plug-in board is no class or function, but 7"),
]


@pytest.fixture
def configured(tmp_path, monkeypatch, small_detector):
    """Writes a gate.yaml with a relay of a package that is on the path."""

    def write(code: str, driver: str, settings: str) -> list[str]:
        if code:
            packages = written(tmp_path / "packages", "mask_gate.relays", board=code)
            monkeypatch.setenv("PYTHONPATH", str(packages))
        (tmp_path / "gate.yaml").write_text(
            "camera: {source: demo}\n"
            f"detector: {{engine: onnx, device: cpu, weights: {small_detector}}}\n"
            "outputs: {sound: false}\n"
            "audit: {path: a.sqlite}\n"
            "relays:\n"
            "  - {kind: recording, path: door}\n"
            f"  - {{kind: plugin, driver: {driver}, settings: {settings}}}\n"
        )
        monkeypatch.chdir(tmp_path)
        return ["--config", "gate.yaml", "--headless", "--mute", "--seconds", "5"]

    return write


@pytest.mark.parametrize(("code", "driver", "settings", "said"), WRONG)
def test_a_plugin_that_cannot_be_had_is_one_sentence_and_the_door_is_locked(
    code, driver, settings, said, configured, tmp_path, capfd
):
    flags = configured(code, driver, settings)
    assert main([*flags, "--validate-config"]) == ConfigError.exit_code
    checked = capfd.readouterr().err
    assert re.search(said, checked), checked
    assert not (tmp_path / "door").exists()
    assert main(flags) == ConfigError.exit_code
    started = capfd.readouterr().err
    assert re.search(said, started), started
    assert "Traceback" not in checked + started
    edges = (tmp_path / "door").read_text().splitlines()
    assert {line.split()[1] for line in edges} == {"locked"}


def test_one_that_ends_its_process_is_told_too(configured, capfd):
    flags = configured(ENDS, "board", "{}")
    assert main([*flags, "--validate-config"]) == ConfigError.exit_code
    assert "it ends the process that imports it" in capfd.readouterr().err


def test_a_device_that_is_not_there_is_no_matter_of_the_configuration(configured, capfd):
    """The check touches no device; the start tries, and says what the driver has raised."""
    flags = configured(MAKES, "board", "{host: a}")
    assert main([*flags, "--validate-config"]) == 0
    assert main(flags) == 5
    assert (
        "relay plugin: plug-in board: ZeroDivisionError: division by zero" in capfd.readouterr().err
    )


def test_a_lock_by_hand_locks_the_others(configured, tmp_path, capfd):
    flags = configured(RAISES, "board", "{}")
    assert main([*flags[:2], "--lock"]) == 5
    assert "cannot be loaded: RuntimeError" in capfd.readouterr().err
    assert (tmp_path / "door").read_text().split()[1] == "locked"
