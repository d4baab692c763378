"""The wheel: everything a gate needs, below one name, and a gate that runs from it alone.

Both distributions are built from a copy of the tracked files, and the wheel is installed into a new
environment. The libraries beside it are those of the environment that runs the tests, for the
declared dependencies and what they ask for in turn, and no others: what pip would have installed,
without a network.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
import tomllib
import urllib.error
import urllib.request
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LIMIT_S = 600
UNTIL_S = 19
"""Of the demo: somebody without a mask, somebody whose nose is free, and one who is let in."""

MOST_BYTES = 20_000_000
"""No single file of the distribution is larger."""

BUILD = """
import sys
from setuptools import build_meta
print(getattr(build_meta, sys.argv[1])(sys.argv[2]))
"""

DATA = {
    "assets": {"demo.mp4"},
    "assets/console": None,  # every file there
    "assets/faces": None,
    "assets/faces/images": None,
    "assets/fonts": None,
    "assets/grafana": None,
    "assets/languages": None,
    "assets/relay": None,
    "assets/selftest": None,
    "assets/sign": None,
    "assets/sounds": None,
    "assets/systemd": None,
    "assets/voice": None,
    "assets/voice/en": None,
    "assets/voice/ko": None,
    "assets/weights": None,
    "configs": None,
}


def tracked() -> list[str]:
    """The repository's files; links by their own name."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [
        name for name in listed.stdout.decode().split("\0") if name and os.path.lexists(ROOT / name)
    ]


def build(kind: str, source: Path, out: Path) -> Path:
    """One of the two distributions, by the build backend that pip would call."""
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("from-checkout")
    for name in tracked():
        if not name.startswith(("tests/", "docs/")):
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / "source" / name, follow_symlinks=False)
    return build("wheel", folder / "source", folder / "dist")


@pytest.fixture(scope="module")
def sdist(wheel) -> Path:
    return build("sdist", wheel.parents[1] / "source", wheel.parent)


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class TestTheFiles:
    def test_are_the_packages_the_configurations_and_what_is_needed_to_run(self, wheel):
        expected = {"mask_gate/__init__.py", "mask_gate/py.typed"}
        for name in tracked():
            folder, _, file = name.rpartition("/")
            is_code = name.endswith(".py") and name.startswith(("gate/", "models/", "training/"))
            if is_code or (folder in DATA and (DATA[folder] is None or file in DATA[folder])):
                expected.add(f"mask_gate/{name}")
        found = {name for name in contents(wheel) if ".dist-info/" not in name}
        assert found == expected

    def test_only_one_name_is_taken_in_the_environment(self, wheel):
        version = PROJECT["version"]
        tops = {name.partition("/")[0] for name in contents(wheel)}
        assert tops == {"mask_gate", f"mask_gate-{version}.dist-info"}

    def test_none_is_large(self, wheel):
        assert max(len(content) for content in contents(wheel).values()) < MOST_BYTES

    def test_an_sdist_makes_the_same_wheel(self, wheel, sdist, tmp_path):
        with tarfile.open(sdist) as archive:
            assert not [member.name for member in archive if member.issym() or member.islnk()]
            archive.extractall(tmp_path, filter="data")
        (source,) = tmp_path.iterdir()
        assert not (source / "tests").exists()
        assert (source / "constraints.txt").is_file()
        assert contents(build("wheel", source, tmp_path / "dist")) == contents(wheel)


def libraries(extras: tuple[str, ...]) -> set[str]:
    """Distributions that pip installs for the dependencies of these extras."""
    found: set[str] = set()
    waiting = [*PROJECT["dependencies"]]
    for extra in extras:
        waiting += PROJECT["optional-dependencies"][extra]
    while waiting:
        wanted = Requirement(waiting.pop())
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        if wanted.name not in found:
            found.add(wanted.name)
            waiting += metadata.requires(wanted.name) or []
    return found


def link(source: Path, target: Path) -> None:
    """The same file under another name, which costs no space; a copy on another file system.

    Not a symbolic link: a library that asks where it really lies would look for others there.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists() or not source.exists():
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Installation:
    """An environment with the wheel in it, and an empty folder to run commands from."""

    def __init__(self, wheel: Path, folder: Path, *extras: str) -> None:
        self.bin = folder / "venv" / "bin"
        self.empty = folder / "empty"
        self.empty.mkdir()
        venv.create(folder / "venv", with_pip=True)
        self.run("pip", "install", "-q", "--no-index", "--no-deps", str(wheel))
        (self.packages,) = (folder / "venv").glob("lib/python3*/site-packages")
        for name in libraries(extras):
            library = metadata.distribution(name)
            for file in library.files or []:
                if file.parts[0] != "..":
                    link(Path(str(library.locate_file(file))), self.packages / file)

    def start(self, command: str, *arguments: str) -> subprocess.Popen[str]:
        """A command of the installation, in the empty folder, with little of our environment."""
        environment = {
            "PATH": os.defpath,
            "HOME": str(self.empty),
            "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"],
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.Popen(
            [str(self.bin / command), *arguments],
            cwd=self.empty,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def signals(self, *flags: str) -> list[tuple[str, str]]:
        """What the gate signals in front of its demo, and why."""
        events = self.empty / "events.jsonl"
        events.unlink(missing_ok=True)
        self.run(
            "mask-gate", "--camera", "demo", "--headless", "--fast", "--device", "cpu",
            "--engine", "onnx", "--events", str(events), *flags,
        )  # fmt: skip
        told = map(json.loads, events.read_text(encoding="utf-8").splitlines())
        return [(event["signal"], event["reason"]) for event in told if event["type"] == "signal"]

    def run(self, command: str, *arguments: str, expect: int = 0) -> str:
        """What a command says; it must end with `expect`."""
        with self.start(command, *arguments) as running:
            said, _ = running.communicate(timeout=LIMIT_S)
        assert running.returncode == expect, said
        return said


@pytest.fixture(scope="module")
def gate(wheel, tmp_path_factory) -> Installation:
    """What `pip install mask-gate` brings."""
    return Installation(wheel, tmp_path_factory.mktemp("gate"))


@pytest.fixture(scope="module")
def gate_with_extras(wheel, tmp_path_factory) -> Installation:
    """What a gate may have besides."""
    return Installation(wheel, tmp_path_factory.mktemp("extras"), "console", "mqtt", "serial")


@pytest.fixture(scope="module")
def trainer(wheel, tmp_path_factory) -> Installation:
    """What `pip install 'mask-gate[train]'` brings."""
    return Installation(wheel, tmp_path_factory.mktemp("trainer"), "train")


class TestAGate:
    def test_it_is_the_wheel_that_runs_and_there_is_no_torch(self, gate):
        said = gate.run("python", "-c", "import mask_gate; print(mask_gate.__file__)")
        assert str(gate.packages) in said
        for name in ("torch", "lxml", "onnx", "starlette", "pytest"):
            assert f"No module named '{name}'" in gate.run(
                "python", "-c", f"import {name}", expect=1
            )

    def test_the_demo_lets_in_who_wears_a_mask_and_nobody_else(self, gate, small_detector):
        """The bundled detector is loaded in the next test; a smaller one judges as many frames."""
        signals = gate.signals("--weights", str(small_detector), "--seconds", str(UNTIL_S))
        allowed = [reason for word, reason in signals if word == "allow"]
        assert allowed == ["compliant"]
        assert {("deny", "no_mask"), ("deny", "mask_incorrect")} <= set(signals)

    def test_the_bundled_detector_runs(self, gate):
        assert ("deny", "no_mask") in gate.signals("--seconds", "5")

    def test_it_names_itself_and_the_bundled_model(self, gate):
        program, model = gate.run("mask-gate", "--version").splitlines()
        assert program == f"mask-gate {PROJECT['version']}"
        assert model.startswith("model sha256:")

    def test_a_first_configuration_is_written_and_is_right(self, gate, tmp_path):
        path = str(tmp_path / "gate.yaml")
        gate.run("mask-gate", "--init", path)
        said = gate.run("mask-gate", "--config", path, "--language", "ko", "--validate-config")
        assert "the configuration is right" in said

    def test_the_samples_are_copied_and_run(self, gate, tmp_path):
        gate.run("mask-gate", "--copy-samples", str(tmp_path))
        log = tmp_path / "edges.txt"
        gate.run("python", str(tmp_path / "relay" / "dry_run.py"), "--log", str(log), "deny")
        assert log.read_text().startswith("lock")

    @pytest.mark.parametrize("flags", [("--weights", "best.pth"), ("--device", "cuda")])
    def test_what_needs_torch_says_so(self, gate, flags):
        bundled = gate.packages / "mask_gate/assets/weights/mask-gate-lite.pth"
        shutil.copy(bundled, gate.empty / "best.pth")  # without its exported twin
        said = gate.run("mask-gate", "--camera", "demo", "--headless", "--fast", *flags, expect=4)
        assert "needs PyTorch: pip install 'mask-gate[cuda]'" in said
        assert "Traceback" not in said


class TestAGateWithExtras:
    def test_every_room_of_the_gate_can_be_loaded(self, gate_with_extras):
        """What it imports is declared, but for torch, which one engine needs."""
        gate_with_extras.run(
            "python",
            "-c",
            "import importlib, pkgutil, mask_gate.gate as gate\n"
            "for found in pkgutil.walk_packages(gate.__path__, 'mask_gate.gate.'):\n"
            "    if not found.name.endswith('torch_engine'):\n"
            "        importlib.import_module(found.name)\n",
        )

    def test_the_console_has_its_pages(self, gate_with_extras):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        (gate_with_extras.empty / "gate.yaml").write_text(
            f"console: {{enabled: true, port: {address.rpartition(':')[2]}}}\n"
            "outputs: {sound: false}\n"
        )
        with gate_with_extras.start(
            "mask-gate", "--config", "gate.yaml", "--camera", "demo", "--headless"
        ) as running:
            try:
                page = self.read(running, f"http://{address}/login")
                sheet = self.read(running, f"http://{address}/static/style.css")
            finally:
                running.terminate()
                said, _ = running.communicate(timeout=LIMIT_S)
        assert running.returncode == 0, said
        assert b"<html" in page
        assert sheet == (ROOT / "assets/console/style.css").read_bytes()

    def read(self, gate: subprocess.Popen[str], url: str) -> bytes:
        """What is served, as soon as the gate serves; nothing when it has ended."""
        while gate.poll() is None:
            try:
                with urllib.request.urlopen(url, timeout=10) as answer:
                    return bytes(answer.read())
            except urllib.error.HTTPError:
                raise
            except OSError:
                time.sleep(0.25)
        return b""


class TestTraining:
    def test_every_command_says_what_it_takes(self, trainer):
        """In one process, since each would load PyTorch anew."""
        code = "import sys\nfrom importlib.metadata import entry_points\n" + "".join(
            f"(command,) = entry_points(group='console_scripts', name={command!r})\n"
            "sys.argv = [command.name, '--help']\n"
            "try:\n    sys.exit(command.load()())\n"
            "except SystemExit as end:\n    assert not end.code, end.code\n"
            for command in PROJECT["scripts"]
        )
        said = trainer.run("python", "-c", code)
        for command in PROJECT["scripts"]:
            assert f"usage: {command}" in said

    def test_a_bare_name_finds_the_shipped_experiment(self, trainer):
        said = trainer.run("mask-gate-train", "--config", "focal", "--data", "nowhere", expect=4)
        assert "darknet53.conv.74" in said  # what it starts from
        assert "Traceback" not in said

    def test_without_weights_the_bundled_ones_are_measured(self, trainer):
        said = trainer.run("mask-gate-eval", "--data", "nowhere", expect=2)
        assert "nowhere" in said
        assert "Traceback" not in said
