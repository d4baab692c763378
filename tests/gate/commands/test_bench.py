"""The benchmark: every stage is timed, the whole gate is run, and what is told is also written."""

import json

import pytest

from mask_gate.gate.commands.bench import main
from mask_gate.gate.commands.bench_stages import MODEL, ON_THE_WAY, outside_the_model

STAGES = {*ON_THE_WAY, "capture", "overlay", "encode"}


def test_what_is_outside_the_model_is_a_share_of_its_time():
    stages = {name: {"median": 1.0} for name in STAGES}
    stages[MODEL] = {"median": 50.0}
    assert outside_the_model(stages) == pytest.approx((len(ON_THE_WAY) - 1) / 50)


@pytest.mark.slow
def test_one_engine_and_the_whole_gate_are_measured(tmp_path, monkeypatch, small_detector):
    out = tmp_path / "bench.json"
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    flags = ["--weights", str(small_detector), "--runs", "1", "--seconds", "1"]
    assert main([*flags, "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["engines_ms"]
    assert all(found["frames"] > 0 for found in report["latency"])
    assert report["start"]


@pytest.mark.soak
def test_everything_is_measured(tmp_path, capsys, monkeypatch):
    out = tmp_path / "bench.json"
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path))
    assert main(["--runs", "2", "--seconds", "2", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert {"onnx", "torch"} <= set(report["engines_ms"])
    for size in ("640x480", "1920x1080"):
        assert set(report["stages_ms"][size]) >= STAGES
    assert [found["fps"] for found in report["latency"]] == [15.0, 30.0]
    assert all(found["frames"] > 0 for found in report["latency"])
    start = report["start"]["onnx"]
    assert start["first_decision_s"] > 0
    assert {"gate", "gate.detector.worker"} <= set(start["memory_mb"])
    told = capsys.readouterr().out
    assert "float32 product, GFLOP/s" in told
    assert "outside the model" in told


def test_mistakes_get_one_sentence(tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none.pth")]) == 4
    assert "no such file" in capsys.readouterr().err
