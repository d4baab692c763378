"""Several processes: together they are one process with the same batch."""

import os
import subprocess
import sys

import pytest
import torch

from mask_gate.models.files.checkpoint import load_checkpoint
from mask_gate.training.commands.train import main
from mask_gate.training.learning.distributed import ALONE, ProcessGroup, process_group

# No norm that learns: its statistics would be those of each process's part.
CONFIG = """
name: shared
architecture: yolov3_lite
input_size: 64
batch_size: 3
epochs: 2
precision: float32
assign: {rule: centre}
augment: {flip: 0.5, brightness: 0.4, mosaic: 0.5}
optim: {name: sgd, lr: 0.01, ema_decay: 0.9}
freeze: [{modules: [class_branch]}]
"""


def test_one_process_alone_needs_nobody():
    with process_group() as group:
        assert group == ALONE
    values = torch.tensor([1.0, 2.0])
    assert ALONE.sum(values).tolist() == [1.0, 2.0]
    assert ALONE.any(True)
    assert not ALONE.any(False)
    assert ALONE.from_first([0.1]) == [0.1]
    network = torch.nn.Linear(2, 1)
    ALONE.sum_gradients(network)
    assert network.weight.grad is None


def test_each_process_of_a_machine_has_a_cuda_device_of_its_own(monkeypatch):
    second = ProcessGroup(3, 4, local_rank=1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert second.device_name("auto") == second.device_name("cuda") == "cuda:1"
    assert second.device_name("cpu") == "cpu"
    assert ALONE.device_name("auto") == "auto"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert second.device_name("auto") == "auto"


def torchrun(processes, arguments):
    """What people type, kept on this machine."""
    local = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            *local,
            "-m",
            "mask_gate.training.commands.train",
            *arguments,
        ],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.fixture
def command(draw, tmp_path):
    """Seven images in batches of three: parts of 2 and 1, and a last batch that leaves one out."""
    path = tmp_path / "shared.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    data = draw(tmp_path / "drawn", train=7)
    return ["--config", str(path), "--data", str(data), "--device", "cpu"]


@pytest.mark.slow
def test_two_processes_equal_one_with_the_same_batch(command, tmp_path):
    ended = torchrun(2, [*command, "--out", str(tmp_path / "two")])
    assert ended.returncode == 0, ended.stderr
    assert main([*command, "--out", str(tmp_path / "one")]) == 0
    assert ended.stdout.count("shared: finished") == 1  # the first process speaks for all

    one, two = (load_checkpoint(tmp_path / f"{n}/shared/last.pth") for n in ("one", "two"))
    for name, tensor in one.weights.items():
        torch.testing.assert_close(two.weights[name], tensor, atol=1e-5, rtol=0)
    for ours, theirs in zip(one.progress["history"], two.progress["history"], strict=True):
        for name in ("box", "objectness", "classes", "map50"):
            assert theirs[name] == pytest.approx(ours[name], abs=1e-4), name


@pytest.mark.soak
def test_two_processes_go_on_where_they_ended(command, tmp_path):
    out = ["--out", str(tmp_path)]
    assert torchrun(2, [*command, *out]).returncode == 0
    went_on = torchrun(2, [*command, *out, "--resume", "--epochs", "3"])
    assert went_on.returncode == 0, went_on.stderr
    assert len(load_checkpoint(tmp_path / "shared/last.pth").progress["history"]) == 3
