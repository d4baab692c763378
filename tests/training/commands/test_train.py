"""mask-gate-train as people run it: files it leaves, going on, and clear refusals."""

import csv
import importlib.util
import math
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mask_gate.models.files.checkpoint import load_checkpoint
from mask_gate.training.commands import calibrate, evaluate, export
from mask_gate.training.commands.train import main
from mask_gate.training.data import check, dataset
from mask_gate.training.learning import run as training_run

CONFIG = """
name: small
architecture: yolov3_lite  # the smallest network, quick to save
assign: {rule: centre}
input_size: 64
batch_size: 4
epochs: 2
precision: float32
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


def check_last_words(said, folder, data):
    """The files, the figure with its interval, and three commands that their parsers read."""
    files, figure, *commands = said.splitlines()[-5:]
    assert files == (
        f"  files  {folder}: best.pth (to use), last.pth (to go on from with --resume), "
        "results.csv, losses.png, map.png"
    )
    assert re.fullmatch(
        r"  mAP    0\.\d{3} at IoU 0\.5 \(0\.\d{3} to 0\.\d{3}, 95% interval\), best\.pth on the "
        r"4 images of valid; its epoch was chosen by these images, which flatters it",
        figure,
    )
    assert [line.removeprefix("  next ").strip() for line in commands] == [
        f"mask-gate-eval --weights {folder}/best.pth --data {data} --plots {folder}/plots",
        f"mask-gate-calibrate --weights {folder}/best.pth --data {data} --out "
        f"{folder}/calibrated.pth",
        f"mask-gate-export --weights {folder}/calibrated.pth",
    ]
    parsers = {"eval": evaluate, "calibrate": calibrate, "export": export}
    for line in commands:
        name, *flags = shlex.split(line.removeprefix("  next "))
        parsers[name.removeprefix("mask-gate-")].parser().parse_args(flags)


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
    said = capsys.readouterr().out
    assert "valid: mAP@0.5" in said
    check_last_words(said, folder, command[3])


def test_two_classes_with_names_of_their_own_train(command, config, drawn_dataset, capsys):
    """One name is told in the config, the other on the command line."""
    for file in (drawn_dataset / "annotations").iterdir():
        text = file.read_text().replace("mask_weared_incorrect", "with_mask")
        file.write_text(text.replace(">with_mask<", ">mask<").replace(">without_mask<", ">none<"))
    config.write_text(f"{CONFIG}map: {{mask: with_mask}}\n")
    assert main([*command, "--epochs", "1"]) == 2
    assert "unknown class 'none'" in capsys.readouterr().err
    assert main([*command, "--epochs", "1", "--map", "none=without_mask"]) == 0
    said = capsys.readouterr().out
    assert "no image shows mask_weared_incorrect: it is left out of the loss" in said
    best = load_checkpoint(Path(command[-1]) / "small" / "best.pth")
    assert best.training["config"]["map"] == {"mask": "with_mask", "none": "without_mask"}


def test_a_finished_run_goes_on_with_more_epochs(command, tmp_path):
    assert main(command) == 0
    assert main([*command, "--resume", "--epochs", "3"]) == 0
    assert [row["epoch"] for row in rows_of(tmp_path / "runs/small")] == ["1", "2", "3"]


def test_runs_of_one_name_are_numbered_and_none_is_overwritten(command, tmp_path, capsys):
    once = [*command, "--epochs", "1"]
    assert main(once) == 0
    first = (tmp_path / "runs/small/last.pth").read_bytes()
    capsys.readouterr()
    assert main(once) == 0
    said = capsys.readouterr().out
    assert f"runs/small holds a run already: this one is {tmp_path}/runs/small-2; --resume" in said
    assert main([*once, "--resume", "--epochs", "2", "--set", "name=small-2"]) == 0
    assert len(rows_of(tmp_path / "runs/small-2")) == 2
    assert (tmp_path / "runs/small/last.pth").read_bytes() == first


def test_a_run_that_looks_at_no_split_has_curves_and_says_what_it_does_not_know(
    command, tmp_path, capsys
):
    assert main([*command, "--epochs", "1", "--set", "watch_split=null"]) == 0
    assert "mAP    not measured, for watch_split is null" in capsys.readouterr().out
    assert {p.name for p in (tmp_path / "runs/small").iterdir()} == {
        "best.pth", "last.pth", "results.csv", "losses.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        ["--set", "start=none.weights"],
        ["--set", "watch_split=extra"],
        ["--set", "freeze=[{modules: [neck]}]"],
        ["--out", "/dev/null"],
    ],
)
def test_what_refuses_does_so_before_a_picture_is_read(command, capsys, monkeypatch, change):
    def read(*_):
        raise AssertionError("no picture is needed to say so")

    monkeypatch.setattr(dataset, "decode_image", read)
    monkeypatch.setattr(check, "decode_image", read)
    assert main([*command, *change]) in (2, 4, 5)
    assert capsys.readouterr().err


def test_a_finished_run_says_so_and_touches_nothing(command, tmp_path, capsys):
    short = [*command, "--epochs", "1"]
    assert main(short) == 0
    before = (tmp_path / "runs/small/last.pth").read_bytes()
    capsys.readouterr()
    assert main([*short, "--resume"]) == 0
    said = "small: already finished: 1 of 1 epochs are done; --resume --epochs N adds more"
    assert said in capsys.readouterr().out
    assert (tmp_path / "runs/small/last.pth").read_bytes() == before


def test_another_run_is_not_gone_on_with(command, capsys):
    short = [*command, "--epochs", "1"]
    assert main(short) == 0
    for change, key in (
        (["optim.name=sgd"], "optim.name adamw, the config now says sgd"),
        (["architecture=yolov3_tiny"], "architecture yolov3_lite, the config now says yolov3_tiny"),
    ):
        assert main([*short, "--resume", "--set", *change]) == 2
        assert f"was trained with {key}; change it back" in capsys.readouterr().err


def test_several_configs_end_in_one_comparison(command, config, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("small", "other"), encoding="utf-8")
    several = [command[0], command[1], str(other), *command[2:], "--epochs", "1"]
    assert main(several) == 0
    runs = tmp_path / "runs"
    assert len(rows_of(runs / "small")) == len(rows_of(runs / "other")) == 1
    table = capsys.readouterr().out.splitlines()[-7:]
    assert [line.split()[0] for line in table] == [
        "run", "small", "last", "best.pth,", "other", "last", "best.pth,",
    ]  # fmt: skip
    figure = f"{float(rows_of(runs / 'small')[0]['map50']):.3f}"
    assert table[1].split()[:4] == ["small", "best", "1", figure]
    (runs / "comparison.png").unlink()
    assert main([*several, "--resume"]) == 0
    assert (runs / "comparison.png").exists()


@pytest.fixture
def scripted_map(monkeypatch):
    """`scripted_map([0.2, 0.5])`: what the evaluations will say, one after another."""

    def script(values):
        left = iter(values)

        def evaluate(_results):
            value = next(left)
            return SimpleNamespace(
                scores=SimpleNamespace(map50=value, map50_95=value, ap50=[value] * 3)
            )

        monkeypatch.setattr(training_run, "evaluate_strict", evaluate)

    return script


def test_a_run_stops_when_its_patience_is_over(command, tmp_path, capsys, scripted_map):
    """Equal is not better and nan is not a figure; going on knows the past from the history."""
    scripted_map([0.5, 0.5, math.nan, 0.6, 0.1])
    patient = [*command, "--epochs", "5"]
    assert main([*patient, "--set", "patience=2"]) == 0
    assert "was not better than at epoch 1 through epoch 3;" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "runs/small")) == 3
    assert main([*patient, "--resume", "--set", "patience=2"]) == 0
    assert "already finished: mAP on valid was not better" in capsys.readouterr().out
    assert main([*patient, "--resume", "--set", "patience=3"]) == 0
    assert "finished: 5 of 5 epochs" in capsys.readouterr().out
    assert len(rows_of(tmp_path / "runs/small")) == 5


def test_without_patience_a_run_goes_to_its_end(command, tmp_path, scripted_map):
    scripted_map([0.5, 0.4, 0.3])
    assert main([*command, "--epochs", "3"]) == 0
    assert len(rows_of(tmp_path / "runs/small")) == 3


def test_a_faulty_data_set_stops_the_run_before_its_first_epoch(command, tmp_path, capsys):
    (tmp_path / "drawn/images/face0.png").write_bytes(b"no image")
    assert main(command) == 2
    said = capsys.readouterr().err
    assert "face0.png" in said
    assert "Traceback" not in said
    assert not (tmp_path / "runs").exists()


def test_a_bad_image_is_skipped_on_request_and_told(
    command, draw_hundred, tmp_path, capsys, config
):
    """What is left trains; beyond one percent nothing does, and no folder is made."""
    data = draw_hundred(tmp_path / "hundred", 90)
    (data / "images/face3.png").write_bytes(b"no image")
    config.write_text(CONFIG.replace("batch_size: 4", "batch_size: 45"), encoding="utf-8")
    skipping = [*command, "--data", str(data), "--epochs", "1", "--skip-bad"]
    assert main(skipping) == 0
    said = capsys.readouterr().out
    assert "skipped face3: " in said
    assert "face3.png: this is no image" in said
    assert "skipped 1 of 100 images (train 1)" in said
    assert "99 images, split by the lists" in said
    (data / "images/face4.png").write_bytes(b"no image")
    shutil.rmtree(tmp_path / "runs")
    assert main(skipping) == 2
    assert "2 of 100 images are bad" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_only_images_that_show_a_class_are_learnt_from(command, draw, tmp_path):
    """The report's balanced subset."""
    data = draw(tmp_path / "some", train=6, valid=4)
    for name in ("face0", "face1"):
        path = data / f"annotations/{name}.xml"
        path.write_text(path.read_text().replace("mask_weared_incorrect", "with_mask"))
    rare = [*command, "--data", str(data), "--set", "epochs=1", "batch_size=1"]
    assert main([*rare, "only_images_with=mask_weared_incorrect"]) == 0
    assert load_checkpoint(tmp_path / "runs/small/last.pth").progress["updates"] == 4


def test_the_lists_may_lie_elsewhere(command, tmp_path, capsys):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("face0\nface1\nface2\n")
    (lists / "valid.txt").write_text("face3\n")
    assert main([*command, "--lists", str(lists), "--epochs", "1"]) == 0
    assert f"split by the lists in {lists}" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "runs/small/last.pth").progress["updates"] == 1


def test_a_disk_without_room_is_an_output_error_with_the_bytes(command, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5))
    assert main([*command]) == 5
    assert "bytes free, room for two checkpoints, got 5" in capsys.readouterr().err


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None,
    reason="needs the tensorboard extra: pip install 'mask-gate[tensorboard]'",
)
def test_tensorboard_logs_are_written_on_request(command, tmp_path):
    assert main([*command, "--tensorboard", "--epochs", "1"]) == 0
    assert list((tmp_path / "runs/small/tensorboard").glob("events.*"))


def test_tensorboard_that_is_not_there_is_refused_before_training(command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert main([*command, "--tensorboard"]) == 2
    said = capsys.readouterr().err
    assert said == "mask-gate-train needs TensorBoard: pip install 'mask-gate[tensorboard]'\n"


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        (["--set", "epochz=3"], 2, "did you mean epochs?"),
        (["--epochs", "0"], 2, "epochs: input should be greater than 0, got 0"),
        (["--set", "batch_size=0"], 2, "batch_size"),
        (["--set", "start=none.weights"], 4, "none.weights: cannot be read"),
        (["--set", "start=none.pth"], 4, "none.pth: cannot be read: No such file"),
        (["--set", "watch_split=extra"], 2, "extra"),
        (["--data", "/nowhere"], 2, "/nowhere"),
        (["--device", "cuda:9"], 2, "CUDA devices are there"),
        (["--device", "gpu"], 2, "expected auto, cpu, cuda"),
        (["--set", "loss.class_weights=[1.0]"], 2, "expected 3 values"),
        (["--set", "freeze=[{modules: [neck]}]"], 2, "names nothing in the network"),
        (["--config", "none.yaml"], 2, "none.yaml: no such file"),
    ],
)
def test_a_mistake_gets_one_sentence(command, capsys, change, code, complaint):
    assert main([*command, *change]) == code
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


def test_a_bug_inside_a_training_keeps_its_traceback(command, monkeypatch):
    def bug(*_):
        raise ValueError("shapes do not fit")

    monkeypatch.setattr(training_run, "start_network", bug)
    with pytest.raises(ValueError, match="shapes do not fit"):
        main(command)


def test_a_folder_that_cannot_be_written_is_an_output_error(command, tmp_path, capsys):
    (tmp_path / "runs").write_text("a file, not a folder")
    assert main(command) == 5
    assert "runs" in capsys.readouterr().err


def start(arguments):
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "mask_gate.training.commands.train", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_same(one, other):
    """Nested state is equal to the bit, but for the seconds that epochs took."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds"}:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


KILLS = int(os.environ.get("MASK_GATE_KILLS", "1"))
"""In the middle of a run; `MASK_GATE_KILLS=20` is a long look."""


@pytest.mark.slow
def test_a_run_killed_at_any_moment_and_resumed_equals_an_uninterrupted_one(command, tmp_path):
    """SIGKILL within an epoch, an evaluation or a write: in the end the same to the bit."""
    epochs = 5
    chance = ["augment={flip: 0.5, brightness: 0.4, mosaic: 0.5}", "accumulate=2", "batch_size=2"]
    whole = [*command, "--epochs", str(epochs), "--set", *chance, "threads=1"]
    assert main([*whole[:5], str(tmp_path / "calm"), *whole[6:]]) == 0

    folder, kills = tmp_path / "runs/small", 0
    while kills < KILLS:
        process = start([*whole, "--resume"])
        began = folder.stat().st_mtime if folder.exists() else 0
        deadline = time.monotonic() + 120
        while not (folder / "last.pth").exists() or folder.stat().st_mtime <= began:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(random.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        kills += 1
    done = load_checkpoint(folder / "last.pth").progress["epoch"]
    assert done < epochs, "too quick a machine for this test: nothing was left to resume"
    assert main([*whole, "--resume"]) == 0
    assert not list(folder.glob(".*.pth.*"))

    calm, killed = (load_checkpoint(p / "last.pth") for p in (tmp_path / "calm/small", folder))
    assert_same(calm.weights, killed.weights)
    assert_same(calm.progress, killed.progress)
    best = load_checkpoint(tmp_path / "calm/small/best.pth").weights
    assert_same(best, load_checkpoint(folder / "best.pth").weights)


@pytest.mark.slow
def test_ctrl_c_saves_exits_130_and_resumes(command, tmp_path):
    folder = tmp_path / "runs/small"
    process = start([*command, "--epochs", "500"])
    deadline = time.monotonic() + 240
    while not (folder / "results.csv").exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "go on with --resume\n" in said
    assert "Traceback" not in said
    epochs = len(load_checkpoint(folder / "last.pth").progress["history"])
    assert main([*command, "--resume", "--set", f"epochs={epochs + 1}"]) == 0
    assert len(rows_of(folder)) == epochs + 1
