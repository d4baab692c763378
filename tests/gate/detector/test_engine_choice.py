"""The choice of an engine: measured once, remembered, and never trusted beyond a name."""

import json
from pathlib import Path

import pytest

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice, choice_file

WEIGHTS = Path("a.pth")
ONNX, OPENVINO, TORCH = EngineKind.ONNX, EngineKind.OPENVINO, EngineKind.TORCH
KINDS = (ONNX, OPENVINO, TORCH)


class Trial:
    """Tells times it was given, and counts how often it was asked."""

    def __init__(self, **times_ms):
        self.times_ms = times_ms
        self.asked = 0

    def __call__(self, weights, kind):
        self.asked += 1
        return self.times_ms.get(kind.value)


def choose(path, trial, identity="sha256:a", kinds=KINDS):
    return EngineChoice(path, trial)(WEIGHTS, identity, kinds)


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


def test_it_is_measured_once(tmp_path):
    trial = Trial(onnx=20.0, openvino=10.0)
    assert choose(tmp_path / "deep/e.json", trial) is OPENVINO
    assert choose(tmp_path / "deep/e.json", trial) is OPENVINO
    assert trial.asked == len(KINDS)


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


@pytest.mark.parametrize("garbled", ["", "[]", "{", '{"KEY": 7}', '{"KEY": {"engine": "rm"}}'])
def test_a_garbled_file_is_measured_anew(tmp_path, garbled):
    path = tmp_path / "e.json"
    choose(path, Trial(onnx=20.0))
    (key,) = json.loads(path.read_text())
    path.write_text(garbled.replace("KEY", key))
    again = Trial(onnx=20.0)
    assert choose(path, again) is ONNX
    assert again.asked == len(KINDS)
    assert json.loads(path.read_text())[key]["engine"] == "onnx"


def test_a_file_that_cannot_be_written_costs_only_time(tmp_path, caplog):
    (tmp_path / "folder").write_text("in the way")
    assert choose(tmp_path / "folder/e.json", Trial(openvino=1.0, onnx=9.0)) is OPENVINO
    assert "measured anew at each start" in caplog.text


def test_services_have_a_folder_of_their_own(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    assert choice_file() == Path("/home/me/.cache/mask-gate/engines.json")
    monkeypatch.setenv("CACHE_DIRECTORY", "/var/cache/gate")
    assert choice_file() == Path("/var/cache/gate/mask-gate/engines.json")
