"""Commands end in one way: our errors as a sentence and an exit code, bugs with their traceback."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mask_gate.gate.commands.run_command import run_command
from mask_gate.gate.errors import CameraError, ConfigError, ModelError, OutputError


def raising(error):
    def body():
        raise error

    return body


def test_what_the_command_gives_is_the_exit_code(capsys):
    assert run_command("mask-gate", lambda: 1) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("kind", "code"), [(ConfigError, 2), (CameraError, 3), (ModelError, 4), (OutputError, 5)]
)
def test_an_error_of_ours_is_one_sentence(kind, code, capsys):
    assert run_command("mask-gate", raising(kind("no such thing; give another"))) == code
    assert capsys.readouterr().err == "mask-gate: no such thing; give another\n"


def test_ctrl_c_is_no_error(capsys):
    assert run_command("mask-gate", raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == ""


def test_a_flag_that_is_wrong_exits_2(capsys):
    parser = argparse.ArgumentParser(prog="mask-gate")
    assert run_command("mask-gate", lambda: parser.parse_args(["--none"]) and 0) == 2
    assert "usage: mask-gate" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [ValueError, OSError, RuntimeError])
def test_a_bug_keeps_its_traceback(kind):
    with pytest.raises(kind, match="ours"):
        run_command("mask-gate", raising(kind("ours")))


ROOT = Path(__file__).resolve().parents[3]
LOCK = ("mask_gate.gate.commands.gate", "--lock", "--config", "gate.yaml")
EVERY_COMMAND = [
    "mask_gate.gate.commands.gate",
    "mask_gate.gate.commands.bench",
    "mask_gate.gate.commands.audit",
    "mask_gate.training.commands.data",
]


def started(redirection, folder, module, *flags):
    """A command started by a shell that has done something to its descriptors."""
    return subprocess.run(
        ["sh", "-c", f'{redirection}; exec "$@"', "sh", sys.executable, "-P", "-m", module, *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
    )


@pytest.mark.process
class TestStandardStreams:
    @pytest.mark.parametrize(
        "redirection", ["exec 2>&-", "exec 0<&- 1>&- 2>&-", "exec 1>/dev/full 2>&1"]
    )
    def test_that_are_closed_or_full_keep_nobody_from_locking(self, tmp_path, redirection):
        (tmp_path / "gate.yaml").write_text("relays: [{kind: recording, path: door}]\n")
        assert started(redirection, tmp_path, *LOCK).returncode == 0
        assert "locked" in (tmp_path / "door").read_text()

    def test_nor_do_descriptors_of_which_there_are_too_few_for_a_guardian(self, tmp_path):
        (tmp_path / "gate.yaml").write_text("relays: [{kind: recording, path: door}]\n")
        done = started("ulimit -n 8", tmp_path, *LOCK)
        assert done.returncode == 5
        assert "no process can be started (Too many open files)" in done.stderr
        assert "locked" in (tmp_path / "door").read_text()

    @pytest.mark.parametrize("module", EVERY_COMMAND)
    def test_that_are_closed_are_no_fault_of_a_command(self, tmp_path, module):
        assert started("exec 0<&- 1>&- 2>&-", tmp_path, module, "--help").returncode == 0

    def test_that_are_full_are_told_in_one_sentence(self, tmp_path):
        done = started("exec 1>/dev/full", tmp_path, LOCK[0], "--version")
        assert done.returncode == 5
        assert done.stderr == "mask-gate: standard output: No space left on device\n"

    def test_whose_reader_went_away_are_no_fault(self):
        reader, writer = os.pipe()
        os.close(reader)
        command = [sys.executable, "-P", "-m", LOCK[0], "--version"]
        ended = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, cwd=ROOT)
        os.close(writer)
        assert (ended.returncode, ended.stderr) == (0, b"")
