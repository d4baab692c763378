"""The choice of an engine: what was measured is remembered, and never trusted beyond a name."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file
from mask_gate.gate.detector.engine_trials import EngineTrials, TrialUnfinishedError
from mask_gate.gate.detector.engines import EngineOptions

WEIGHTS = Path("a.pth")
ONNX, OPENVINO, TORCH = EngineKind.ONNX, EngineKind.OPENVINO, EngineKind.TORCH
KINDS = (ONNX, OPENVINO, TORCH)


class Trial:
    """Tells times it was given, and counts how often it was asked."""

    def __init__(self, *unfinished, **times_ms):
        self.times_ms = times_ms
        self.unfinished = unfinished
        self.asked = 0

    def __call__(self, weights, kind, ending):
        self.asked += 1
        if kind in self.unfinished:
            raise TrialUnfinishedError("it took too long")
        return self.times_ms.get(kind.value)


def choose(path, trial, identity="sha256:a", kinds=KINDS):
    """What the gate that starts next takes, after all that can be measured was."""
    choice = EngineChoice(path)
    options = EngineOptions(identity, kinds)
    EngineTrials(WEIGHTS, options, choice, begin_after_s=0.0, trial=trial).wait()
    return choice.known(identity, kinds)


def test_the_default_is_taken_at_once_until_something_is_known(tmp_path):
    assert EngineChoice(tmp_path / "e.json").known("sha256:a", KINDS) is ONNX
    assert EngineChoice(None).known("sha256:a", KINDS) is ONNX


def test_the_fastest_is_taken_where_it_leads_clearly(tmp_path):
    rows = [
        ({"onnx": 20.0, "openvino": 10.0, "torch": 40.0}, OPENVINO),
        ({"onnx": 20.0, "openvino": 19.0, "torch": 40.0}, ONNX),  # not worth leaving the default
        ({"onnx": 20.0}, ONNX),
        ({"openvino": 90.0, "torch": 40.0}, TORCH),  # the default cannot run it
        ({}, ONNX),
    ]
    for number, (times_ms, chosen) in enumerate(rows):
        assert choose(tmp_path / f"{number}.json", Trial(**times_ms)) is chosen


def test_it_is_measured_at_two_starts(tmp_path):
    trial = Trial(onnx=20.0, openvino=10.0)
    for _ in range(4):
        assert choose(tmp_path / "deep/e.json", trial) is OPENVINO
    assert trial.asked == 2 * len(KINDS)


def test_the_lesser_time_counts_for_other_work_may_have_slowed_the_other(tmp_path):
    busy, quiet = Trial(onnx=20.0, openvino=70.0), Trial(onnx=21.0, openvino=10.0)
    assert choose(tmp_path / "a.json", busy) is ONNX
    assert choose(tmp_path / "a.json", quiet) is OPENVINO
    assert choose(tmp_path / "b.json", quiet) is OPENVINO
    assert choose(tmp_path / "b.json", busy) is OPENVINO
    assert EngineChoice(tmp_path / "b.json").times_ms("sha256:a", KINDS)[ONNX] == 20.0


def test_another_model_or_another_set_of_engines_is_measured_anew(tmp_path):
    trial = Trial(onnx=20.0, openvino=10.0)
    choose(tmp_path / "e.json", trial)
    choose(tmp_path / "e.json", trial, identity="sha256:b")
    choose(tmp_path / "e.json", trial, kinds=(ONNX, TORCH))
    assert trial.asked == 3 + 3 + 2


def test_other_versions_processors_or_thread_counts_are_measured_anew(tmp_path, monkeypatch):
    trial = Trial(onnx=20.0, openvino=10.0)
    choose(tmp_path / "e.json", trial)
    monkeypatch.setattr("mask_gate.gate.detector.engine_choice.version", lambda library: "99")
    choose(tmp_path / "e.json", trial)
    monkeypatch.setattr("mask_gate.gate.detector.engine_choice.cpu_name", lambda: "another")
    choose(tmp_path / "e.json", trial)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(77)))
    choose(tmp_path / "e.json", trial)
    assert trial.asked == 4 * len(KINDS)


def test_where_there_is_no_choice_nothing_is_measured(tmp_path):
    trial = Trial()
    assert choose(tmp_path / "e.json", trial, kinds=(TORCH,)) is TORCH
    assert trial.asked == 0


@pytest.mark.parametrize(
    "garbled",
    ["", "[]", "{", '{"KEY": 7}', '{"KEY": {"ms": 7}}', '{"KEY": {"ms": {"onnx": "rm"}}}'],
)
def test_a_garbled_file_is_measured_anew(tmp_path, garbled):
    path = tmp_path / "e.json"
    choose(path, Trial(onnx=20.0))
    (key,) = json.loads(path.read_text())
    path.write_text(garbled.replace("KEY", key))
    again = Trial(onnx=20.0)
    assert choose(path, again) is ONNX
    assert again.asked == len(KINDS)
    assert json.loads(path.read_text())[key]["ms"]["onnx"] == 20.0


def test_a_file_that_cannot_be_written_costs_only_time(tmp_path, caplog):
    (tmp_path / "folder").write_text("in the way")
    assert choose(tmp_path / "folder/e.json", Trial(openvino=1.0, onnx=9.0)) is ONNX
    assert "what was found cannot be kept" in caplog.text


def test_nothing_is_measured_where_nothing_can_be_kept():
    trial = Trial(openvino=1.0, onnx=9.0)
    assert choose(None, trial) is ONNX
    assert trial.asked == 0


def test_what_is_known_is_kept_and_what_is_not_is_measured_at_the_next_start(tmp_path):
    first = Trial(OPENVINO, onnx=20.0, torch=10.0)
    assert choose(tmp_path / "e.json", first) is TORCH
    second = Trial(openvino=5.0)
    assert choose(tmp_path / "e.json", second) is OPENVINO
    assert (first.asked, second.asked) == (3, 1)


def test_a_gate_that_ends_waits_for_no_trial(tmp_path):
    begun, given_up = threading.Event(), threading.Event()

    def trial(weights, kind, ending):
        begun.set()
        ending.wait()
        given_up.set()
        raise TrialUnfinishedError

    choice = EngineChoice(tmp_path / "e.json")
    trials = EngineTrials(WEIGHTS, EngineOptions("a", KINDS), choice, begin_after_s=0, trial=trial)
    begun.wait(60)
    trials.close()
    assert given_up.is_set()
    assert not (tmp_path / "e.json").exists()


def test_a_gate_that_has_just_begun_measures_nothing(tmp_path):
    trial = Trial(openvino=1.0, onnx=9.0)
    choice = EngineChoice(tmp_path / "e.json")
    EngineTrials(WEIGHTS, EngineOptions("a", KINDS), choice, trial=trial).close()
    assert trial.asked == 0


def test_services_have_a_folder_of_their_own(monkeypatch):
    monkeypatch.delenv("CACHE_DIRECTORY", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    assert choice_file() == Path("/home/me/.cache/mask-gate/engines.json")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/gate:/var/cache/other")
    assert choice_file() == Path("/var/cache/gate/mask-gate/engines.json")


def test_a_user_without_home_and_entry_has_none(repo_root):
    code = (
        "import os\n"
        "from mask_gate.gate.detector.engine_choice import choice_file\n"
        "os.setuid(54321)\n"
        "print(choice_file())"
    )
    if os.getuid() != 0:
        pytest.skip("only root can become a user that is nobody")
    environment = {"PATH": os.defpath, "PYTHONPATH": str(repo_root)}
    command = [sys.executable, "-P", "-c", code]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "None\n"
