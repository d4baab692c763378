"""Errors of ours end a command with one sentence and their code; bugs keep their traceback."""

import sys

import pytest

from mask_gate.models.errors import ModelFileError
from mask_gate.models.files.checkpoint import CheckpointError
from mask_gate.models.files.darknet_weights import DarknetWeightsError
from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.strict_yaml import ConfigFileError
from mask_gate.models.networks.device import DeviceError
from mask_gate.models.operating_point import OperatingPointError
from mask_gate.training.errors import (
    DataError,
    Interrupted,
    OutputError,
    Problem,
    TrainingError,
    UsageError,
    problem_lines,
    require,
    run_command,
)


def raising(error):
    def body():
        raise error

    return body


def test_a_command_ends_with_0_or_the_code_its_body_returns():
    assert run_command("mask-gate-x", lambda: None) == 0
    assert run_command("mask-gate-x", lambda: 2) == 2


def test_each_error_of_ours_becomes_one_sentence_and_its_code(capsys):
    for kind, code in (
        (UsageError, 2),
        (ConfigFileError, 2),
        (DeviceError, 2),
        (ModelFileError, 4),
        (CheckpointError, 4),
        (DarknetWeightsError, 4),
        (ExportedFileError, 4),
        (OperatingPointError, 4),
        (TrainingError, 4),
        (OutputError, 5),
    ):
        assert run_command("mask-gate-x", raising(kind("give another"))) == code, kind
        assert capsys.readouterr().err == "mask-gate-x: give another\n"
    assert run_command("mask-gate-x", raising(DataError(Problem("a.xml", "bad", "mend")))) == 2
    assert capsys.readouterr().err == "mask-gate-x: a.xml: bad; mend\n"


def test_what_the_machine_refuses_is_an_output_error(capsys):
    assert run_command("mask-gate-x", raising(OSError(28, "No space left on device", "a"))) == 5
    assert "No space left on device" in capsys.readouterr().err


@pytest.mark.parametrize("stop", [Interrupted, KeyboardInterrupt])
def test_a_request_to_stop_ends_with_130_and_says_how_to_go_on(stop, capsys):
    assert run_command("mask-gate-x", raising(stop()), "interrupted; go on with --resume") == 130
    assert capsys.readouterr().err == "mask-gate-x: interrupted; go on with --resume\n"


@pytest.mark.parametrize(
    "bug",
    [ValueError("shapes"), KeyError("x"), RuntimeError("x"), ModuleNotFoundError("x", name="x")],
    ids=repr,
)
def test_a_bug_keeps_its_traceback(bug):
    with pytest.raises(type(bug)):
        run_command("mask-gate-x", raising(bug))


def test_a_missing_package_is_named_with_the_extra_that_brings_it(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert run_command("mask-gate-export", lambda: require("openvino")) == 2
    assert capsys.readouterr().err == (
        "mask-gate-export needs OpenVINO: pip install 'mask-gate[openvino]'\n"
    )


def test_a_problem_names_place_fault_and_mend():
    assert str(Problem("a.xml", "no <size>", "add it", 7)) == "a.xml:7: no <size>; add it"
    assert str(Problem("a.png", "empty file", "get it again")) == "a.png: empty file; get it again"


def test_a_problem_stays_on_one_line_whatever_the_file_is_called():
    text = str(Problem("a\nb\x1b[31m\udcff", "what", "mend"))
    assert text == r"a\nb\x1b[31m\udcff: what; mend"


def test_the_first_fifty_are_shown_and_the_rest_counted():
    problems = [Problem(f"{number}.xml", "x", "y") for number in range(53)]
    lines = problem_lines(problems).splitlines()
    assert len(lines) == 51
    assert lines[49].startswith("49.xml")
    assert lines[50] == "... and 3 more problems"
    assert DataError(problems).problems == tuple(problems)
    assert len(problem_lines(problems[:50]).splitlines()) == 50
