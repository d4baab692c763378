"""Lint, format and types of the whole repository, where the dev tools are installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent
needs_tools = pytest.mark.skipif(
    shutil.which("ruff", path=BIN) is None or shutil.which("mypy", path=BIN) is None,
    reason="needs the dev extra: pip install -e '.[dev]'",
)


def run(repo_root: Path, *command: str) -> None:
    ended = subprocess.run([BIN / command[0], *command[1:]], cwd=repo_root, capture_output=True)
    assert ended.returncode == 0, ended.stdout.decode() + ended.stderr.decode()


@needs_tools
def test_lint_finds_nothing(repo_root):
    run(repo_root, "ruff", "check", "--no-cache", ".")


@needs_tools
def test_every_file_is_formatted(repo_root):
    run(repo_root, "ruff", "format", "--no-cache", "--check", ".")


@needs_tools
@pytest.mark.slow
def test_every_type_holds(repo_root):
    run(repo_root, "mypy")


def test_whatever_starts_processes_is_in_the_lane_that_runs_it(repo_root):
    """The lane of the marker `process` looks below tests/gate alone."""
    elsewhere = [
        path
        for path in (repo_root / "tests").rglob("test_*.py")
        if "mark.process" in path.read_text(encoding="utf-8")
        and not path.is_relative_to(repo_root / "tests" / "gate")
        and path.name != "test_code_style.py"
    ]
    assert not elsewhere
