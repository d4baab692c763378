"""The installed commands: without a package they need they say so, and how to get it."""

import subprocess
import sys
import tomllib

import pytest

# A machine on which the package is not installed.
WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None
from mask_gate.training.commands import start
sys.argv = [sys.argv[2], "--help"]
sys.exit(getattr(start, {"mask-gate-eval": "evaluate"}.get(sys.argv[0], sys.argv[0][10:]))())
"""


def run_without(package, prog):
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, package, prog], capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("package", "name", "prog"),
    [
        ("torch", "PyTorch", "mask-gate-train"),
        ("torch", "PyTorch", "mask-gate-eval"),
        ("torch", "PyTorch", "mask-gate-calibrate"),
        ("torch", "PyTorch", "mask-gate-export"),
        ("matplotlib", "Matplotlib", "mask-gate-eval"),
        ("lxml", "lxml", "mask-gate-data"),
        ("PIL", "Pillow", "mask-gate-data"),
    ],
)
def test_a_missing_package_is_one_sentence(package, name, prog):
    done = run_without(package, prog)
    assert done.returncode == 2
    assert done.stderr == f"{prog} needs {name}: pip install 'mask-gate[train]'\n"


def test_data_sets_are_looked_at_without_pytorch():
    done = run_without("torch", "mask-gate-data")
    assert done.returncode == 0
    assert "usage: mask-gate-data" in done.stdout


def test_every_training_command_of_the_package_is_one_of_these(repo_root):
    scripts = tomllib.loads((repo_root / "pyproject.toml").read_text())["project"]["scripts"]
    named = {name: scripts[f"mask-gate-{name}"].rpartition(".")[2] for name in (
        "train", "data", "eval", "calibrate", "export",
    )}  # fmt: skip
    assert named == {
        "train": "start:train",
        "data": "start:data",
        "eval": "start:evaluate",
        "calibrate": "start:calibrate",
        "export": "start:export",
    }
