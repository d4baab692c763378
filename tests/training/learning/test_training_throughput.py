"""The training benchmark runs as it is documented and writes down what it says."""

import json
import os
import platform
import subprocess
import sys

import pytest

from mask_gate.training.learning.allocator import USERS_OWN


@pytest.mark.parametrize("allocator", ["default", "tuned"])
def test_the_benchmark_measures_loader_and_training(repo_root, drawn_dataset, tmp_path, allocator):
    script = repo_root / "tests/benchmarks/training_throughput.py"
    config = tmp_path / "a.yaml"
    config.write_text("name: a\narchitecture: yolov3_lite\nassign: {rule: centre}\n")
    shown = [*("--config", config), *("--data", drawn_dataset), *("--json", tmp_path / "a.json")]
    short = ["--imgsz", "64", "--batch", "4", "--seconds", "0.2", "--device", "cpu"]
    short += ["--allocator", allocator]
    ours = {name: value for name, value in os.environ.items() if name not in USERS_OWN}
    ended = subprocess.run(
        [sys.executable, script, *shown, *short],
        env={**ours, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads((tmp_path / "a.json").read_text())
    assert (found["input_size"], found["batch_size"], found["device"]) == (64, 4, "cpu")
    if platform.libc_ver()[0] == "glibc":
        assert found["allocator"] == allocator
    loader, training = found["loader_images_per_s"], found["training_images_per_s"]
    assert min(loader, training) > 0
    assert found["loader_over_training"] == pytest.approx(loader / training, rel=0.05)
    assert f"{training}" in ended.stdout
