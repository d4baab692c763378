"""Everything that differs on a machine with a CUDA card, checked and timed, as one table.

    python tests/cuda/check_cuda.py --data DATA [--json cuda.json]

Checked: the engine's answers equal those of float32 on the CPU within a bound, in any batch;
evaluation agrees within .002; a training that is stopped and resumed ends with the same weights to
the bit; the gate's demo opens twice. Timed: one picture and batches, training with and without
processes for its batches. Without a card it says so in one line and ends with 0; `--device cpu`
rehearses it. Exit code 1 when a check fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.gate.detector.torch_engine import TorchEngine
from mask_gate.models.files.checkpoint import load_checkpoint, save_checkpoint
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import Interrupted
from mask_gate.training.evaluation.inference import results_of
from mask_gate.training.evaluation.metrics import evaluate_strict
from mask_gate.training.learning.batches import BatchSource
from mask_gate.training.learning.start_weights import start_network
from mask_gate.training.learning.trainer import Trainer

MOST_DIFFERENCE = 0.02  # of a score; half precision holds three digits
MOST_MAP_DIFFERENCE = 0.002
PICTURES = 16
UNTIMED_STEPS = 20  # the first ones choose kernels for each input size
CPU = torch.device("cpu")


def main() -> int:
    """Check and time everything; 1 when a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each timing")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("skipped: PyTorch finds no CUDA card here")
        return 0
    device = torch.device(arguments.device)
    card = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{card}, torch {torch.__version__}, CUDA {torch.version.cuda}")
    data = DatasetFolder.open(arguments.data)
    valid = [data.load(record) for record in data.split("valid")]
    train = [data.load(record) for record in data.split("train")[:64]]
    rows = [
        *check_engine(device, valid, arguments.seconds),
        *check_evaluation(device, valid),
        *check_resume(device, train),
        *time_training(device, train, arguments.seconds),
        *check_demo(device),
    ]
    for name, value, right in rows:
        print(f"{name:48} {value:>14}  {'' if right is None else 'ok' if right else 'WRONG'}")
    if arguments.json:
        found = {name: value for name, value, _ in rows}
        arguments.json.write_text(json.dumps({"card": card, **found}, indent=1))
    return int(any(right is False for *_, right in rows))


Row = tuple[str, str, bool | None]


def check_engine(device: torch.device, samples: list[Sample], seconds: float) -> list[Row]:
    """Answers beside those of the CPU, alone and in batches, and how long each takes."""
    checkpoint = open_weights(BUNDLED_WEIGHTS)
    reference, engine = TorchEngine(checkpoint, CPU), TorchEngine(checkpoint, device)
    squares = np.stack(
        [Letterbox(s.size_hw, engine.input_size).image(s.image) for s in samples[:PICTURES]]
    )
    wanted = np.stack([reference(square) for square in squares])
    rows: list[Row] = []
    for count in (1, 3, PICTURES):
        got = np.concatenate(
            [engine.run_batch(squares[at : at + count]) for at in range(0, PICTURES, count)]
        )
        worst = float(np.abs(scores(got) - scores(wanted)).max())
        name = f"largest score difference, batches of {count}"
        rows.append((name, f"{worst:.4f}", worst < MOST_DIFFERENCE))
        took = 1000 * median_s(lambda count=count: engine.run_batch(squares[:count]), seconds)
        rows.append((f"batch of {count}", f"{took:.2f} ms", None))
    return rows


def scores(predictions: NDArray[np.float32]) -> NDArray[np.float32]:
    """[..., C] of predictions [..., 5 + C]: what suppression and the gate go by."""
    return predictions[..., 4:5] * predictions[..., 5:]


def check_evaluation(device: torch.device, samples: list[Sample]) -> list[Row]:
    """Strict mAP@0.5 on the card and on the CPU."""
    checkpoint = open_weights(BUNDLED_WEIGHTS)
    found = [
        float(
            evaluate_strict(
                results_of(checkpoint.network().to(where), samples, checkpoint.input_size, where)
            ).scores.map50
        )
        for where in (CPU, device)
    ]
    near = abs(found[0] - found[1]) <= MOST_MAP_DIFFERENCE
    return [("strict mAP@0.5, CPU and device", f"{found[0]:.4f} {found[1]:.4f}", near)]


def config_of(**changes: object) -> TrainConfig:
    """A short training of the bundled network."""
    base = {
        "name": "cuda", "architecture": "yolov3_lite", "input_size": 416, "batch_size": 16,
        "epochs": 2, "assign": {"rule": "centre"}, "optim": {"ema_decay": 0.9},
    }  # fmt: skip
    return TrainConfig.model_validate(base | changes)


def trainer_of(
    device: torch.device, samples: list[Sample], config: TrainConfig, workers: int
) -> Trainer:
    """A trainer as `mask-gate-train` builds it."""
    network, moved, _ = start_network(config)
    source = BatchSource(
        samples, config, scales=network.scales, workers=workers, for_gpu=device.type == "cuda"
    )
    return Trainer(network, moved, source, config, device)


def run_epochs(trainer: Trainer, until: int) -> None:
    """Train to the end of an epoch."""
    while trainer.progress.epoch < until:
        trainer.finish_epoch(trainer.train_epoch(lambda: None, lambda: False))


def check_resume(device: torch.device, samples: list[Sample]) -> list[Row]:
    """Two epochs in one go, and with a stop between them."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    config = config_of()
    whole, first, second = (trainer_of(device, samples, config, 0) for _ in range(3))
    run_epochs(whole, 2)
    run_epochs(first, 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last.pth"
        save_checkpoint(path, first.checkpoint(True, {"metrics": {}, "training": {}}))
        second.resume(load_checkpoint(path))
    run_epochs(second, 2)
    torch.use_deterministic_algorithms(False)
    states = whole.network.state_dict(), second.network.state_dict()
    same = all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    return [("resumed training ends the same to the bit", "yes" if same else "no", same)]


def time_training(device: torch.device, samples: list[Sample], seconds: float) -> list[Row]:
    """Images a second, once kernels are chosen."""
    rows: list[Row] = []
    config = config_of(epochs=1, batch_size=32, epoch_images=1_000_000)
    for workers in (0, 2, 8, 14):
        trainer = trainer_of(device, samples, config, workers)
        timer = StepTimer(seconds)
        with contextlib.suppress(Interrupted):
            trainer.train_epoch(timer.step, timer.is_over)
        rate = timer.steps_a_second() * config.batch_size
        rows.append(
            (f"training with {workers} processes for batches", f"{rate:.0f} images/s", None)
        )
    return rows


class StepTimer:
    """Times the steps of a training after the first ones, which choose kernels.

    Args:
        seconds: how long to time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._times: list[float] = []

    def step(self) -> None:
        """A step is done."""
        self._times.append(time.monotonic())

    def is_over(self) -> bool:
        """Whether enough was seen."""
        timed = self._times[UNTIMED_STEPS:]
        return len(timed) > 1 and timed[-1] - timed[0] > self._seconds

    def steps_a_second(self) -> float:
        """Of those that count."""
        timed = self._times[UNTIMED_STEPS:]
        return (len(timed) - 1) / (timed[-1] - timed[0])


def check_demo(device: torch.device) -> list[Row]:
    """The gate's demo through the whole gate, as people run it."""
    gate = [sys.executable, "-P", "-m", "mask_gate.gate.commands.gate"]
    command = [*gate, "--camera", "demo", "--once", "--headless", "--mute", "--device", str(device)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    told = (ended.stdout + ended.stderr).strip().splitlines()
    last = told[-1] if told else "nothing said"
    right = ended.returncode == 0 and "2 openings, 4 denials" in last
    if not right:
        print(*told, sep="\n")
    latency = re.search(r"latency p50 (\d+ ms)", last)
    return [
        ("demo: 2 openings, 4 denials", "yes" if right else "no", right),
        ("demo: from picture to decision, median", latency[1] if latency else "?", None),
    ]


def median_s(call: Callable[[], object], seconds: float) -> float:
    """Median seconds of a call, after three that do not count."""
    for _ in range(3):
        call()
    times, began = [], time.monotonic()
    while time.monotonic() - began < seconds:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


if __name__ == "__main__":
    sys.exit(main())
