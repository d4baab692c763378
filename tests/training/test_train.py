"""mask-gate-train as people run it: files it leaves, going on, and clear refusals."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest

from models.checkpoint import load_checkpoint
from training.train import main

CONFIG = """
name: small
architecture: yolov3_tiny
input_size: 64
batch_size: 4
epochs: 2
optim: {ema_decay: 0.9}
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture
def command(config, drawn_dataset, tmp_path):
    return ["--config", str(config), "--data", str(drawn_dataset), "--out", str(tmp_path / "runs")]


def rows_of(folder):
    with (folder / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_checkpoints_a_table_and_pictures(command, tmp_path, capsys):
    assert main(command) == 0
    folder = tmp_path / "runs/small"
    assert {p.name for p in folder.iterdir()} == {
        "best.pth", "last.pth", "results.csv", "map.png", "losses.png",
    }  # fmt: skip
    rows = rows_of(folder)
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"box", "objectness", "classes", "map50", "ap50_without_mask"} <= rows[0].keys()
    best = load_checkpoint(folder / "best.pth")
    assert best.progress is None
    assert best.training["config"]["name"] == "small"
    assert best.metrics["valid"]["map50"] == pytest.approx(max(float(r["map50"]) for r in rows))
    assert "valid: mAP@0.5" in capsys.readouterr().out


def test_a_finished_run_goes_on_with_more_epochs(command, tmp_path):
    assert main(command) == 0
    assert main([*command, "--resume", "--set", "epochs=3"]) == 0
    assert [row["epoch"] for row in rows_of(tmp_path / "runs/small")] == ["1", "2", "3"]


def test_an_earlier_run_is_never_overwritten(command, capsys):
    assert main(command) == 0
    assert main(command) == 2
    assert "holds a run already; add --resume" in capsys.readouterr().err


def test_several_configs_run_one_after_another(command, config, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("small", "other"), encoding="utf-8")
    assert main([command[0], command[1], str(other), *command[2:], "--set", "epochs=1"]) == 0
    assert len(rows_of(tmp_path / "runs/small")) == len(rows_of(tmp_path / "runs/other")) == 1


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        (["--set", "epochz=3"], 2, "did you mean epochs?"),
        (["--set", "start=none.weights"], 4, "none.weights: cannot be read"),
        (["--set", "start=none.pth"], 4, "none.pth: no such file"),
        (["--set", "watch_split=extra"], 2, "extra"),
        (["--data", "/nowhere"], 2, "/nowhere"),
        (["--device", "cuda:9"], 2, "CUDA devices are there"),
        (["--device", "gpu"], 2, "expected auto, cpu, cuda"),
        (["--set", "loss.class_weights=[1.0]"], 2, "expected 3 values"),
        (["--set", "freeze=[{modules: [trunk]}]"], 2, "names nothing in the network"),
        (["--config", "none.yaml"], 2, "none.yaml: cannot be read"),
    ],
)
def test_a_mistake_gets_one_sentence(command, capsys, change, code, complaint):
    assert main([*command, *change]) == code
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_written_is_an_output_error(command, tmp_path, capsys):
    (tmp_path / "runs").write_text("a file, not a folder")
    assert main(command) == 5
    assert "runs" in capsys.readouterr().err


@pytest.mark.slow
def test_ctrl_c_saves_exits_130_and_resumes(command, tmp_path):
    folder = tmp_path / "runs/small"
    process = subprocess.Popen(
        [sys.executable, "-m", "training.train", *command, "--set", "epochs=500"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 240
    while not (folder / "results.csv").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "go on with --resume" in said
    assert "Traceback" not in said
    epochs = len(load_checkpoint(folder / "last.pth").progress["history"])
    assert main([*command, "--resume", "--set", f"epochs={epochs + 1}"]) == 0
    assert len(rows_of(folder)) == epochs + 1
