"""One trainer, started as its users start it, with the moment at which each batch was learnt.

    PYTHON tests/benchmarks/trainer_stamps.py JOB.json

For tests/benchmarks/training_peers.py, which runs it in a process of its own each time, by the
Python environment that has the trainer. Nothing of a trainer is changed: torch's own hook after a
step of any optimizer (ours, pytorchyolo), or the trainer's callback after a batch (ultralytics,
which steps less often), reads the clock. Moments since the start go to the job's `out`, with the
processor time spent until the batches it marks.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.utils.flop_counter import FlopCounterMode

stamps_s: list[float] = []
spent_cpu_s: dict[int, float] = {}
MARKS: list[int] = []


def stamp(*_) -> None:
    stamps_s.append(time.perf_counter())
    if len(stamps_s) in MARKS:
        spent_cpu_s[len(stamps_s)] = cpu_s()


def cpu_s() -> float:
    """Processor time of this process and all it started, which Linux counts by group."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[2]) == os.getpgid(0):
            ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def gflop(network, size: int) -> float:
    """Of the convolutions for one picture; a multiplication and its addition count as two."""
    network.eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, size, size))
    return counter.get_total_flops() / 1e9


def parameters(network) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def ours(job) -> dict:
    from mask_gate.models.networks.zoo import build
    from mask_gate.training.commands.train import main

    register_optimizer_step_post_hook(stamp)
    assert main(job["arguments"]) == 0
    network = build("yolov3_tiny")
    return {"parameters": parameters(network), "gflop": gflop(network, job["size"])}


def pytorchyolo(job) -> dict:
    from pytorchyolo.models import load_model
    from pytorchyolo.train import run

    os.chdir(job["folder"])
    sys.argv = ["yolo-train", *job["arguments"]]
    register_optimizer_step_post_hook(stamp)
    run()
    network = load_model(job["cfg"])
    return {"parameters": parameters(network), "gflop": gflop(network, job["size"])}


class Enough(Exception):  # noqa: N818 - it ends a run, it is no error
    """Every batch has been seen; what follows would not be timed."""


def ultralytics(job) -> dict:
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Trainer(DetectionTrainer):
        def get_model(self, *arguments, **named):
            return guest(job) if "config" in job else super().get_model(*arguments, **named)

    def enough(trainer) -> None:
        if trainer.epoch + 1 == trainer.epochs:
            raise Enough

    trainer = Trainer(overrides={"model": "yolov3-tiny.yaml", **job["arguments"]})
    if "threads" in job:
        trainer.add_callback("on_train_start", lambda _: torch.set_num_threads(job["threads"]))
    trainer.add_callback("on_train_batch_end", stamp)
    trainer.add_callback("on_train_epoch_end", enough)
    with contextlib.suppress(Enough):
        trainer.train()
    network = getattr(trainer.model, "network", trainer.model)
    return {"parameters": parameters(network), "gflop": gflop(network, job["size"])}


def guest(job):
    """Our network and loss as a model that ultralytics' trainer takes."""
    from mask_gate.training.config import TrainConfig
    from mask_gate.training.learning.losses import DetectionLoss
    from mask_gate.training.learning.start_weights import start_network
    from mask_gate.training.learning.targets import Truth

    config = TrainConfig.model_validate(job["config"])

    class Guest(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network, _, _ = start_network(config)
            scales = self.network.scales
            self.stride = torch.tensor([float(scale.stride) for scale in scales])
            self.criterion = DetectionLoss(scales, 3, config.loss, config.assign)

        def set_head_attr(self, **_) -> None:
            """For heads of their own."""

        def forward(self, batch):
            images = batch["img"]
            middles, sizes = (batch["bboxes"] * images.shape[-1]).split(2, dim=1)
            boxes_xyxy = torch.cat((middles - sizes / 2, middles + sizes / 2), dim=1)
            labels = batch["cls"].long().flatten()
            truth = Truth(batch["batch_idx"].long(), boxes_xyxy, labels)
            parts = self.criterion([raw.float() for raw in self.network(images)], truth)
            return parts.total, {"box": parts.box.detach()}

    return Guest()


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    MARKS.extend(job["marks"])
    began_s = time.perf_counter()
    found = {"ours": ours, "pytorchyolo": pytorchyolo, "ultralytics": ultralytics}[job["kind"]](job)
    found |= {
        "stamps_s": [round(moment - began_s, 4) for moment in stamps_s],
        "cpu_s": list(spent_cpu_s.values()),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    Path(job["out"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
