"""Commands end in one way: our errors as a sentence and an exit code, bugs with their traceback."""

import argparse

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
