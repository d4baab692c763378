"""How many images a second training learns from, and how many its loader alone could bring.

    python tests/benchmarks/training_throughput.py --config configs/tiny.yaml --json speed.json

Without --data it makes up images of the Kaggle set's usual size. The loader is fast enough when it
brings at least five times what training takes.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from mask_gate.models.files.strict_yaml import read_config
from mask_gate.models.networks.device import choose_device
from mask_gate.training.config import TrainConfig, config_path
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import Interrupted
from mask_gate.training.learning.allocator import keep_freed_memory
from mask_gate.training.learning.batches import BatchSource
from mask_gate.training.learning.start_weights import start_network
from mask_gate.training.learning.trainer import Trainer

MADE_UP_IMAGES = 64
SIZE_HW = (267, 400)
FACES = 5


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit code."""
    arguments = parser().parse_args(argv)
    tuned = arguments.allocator == "tuned" and keep_freed_memory(os.environ)
    size, batch = arguments.imgsz, arguments.batch
    overrides = [f"input_size={size}", f"batch_size={batch}", "multi_scale=null", "start=scratch"]
    config = read_config(TrainConfig, config_path(arguments.config), overrides)
    device = choose_device(arguments.device)
    source = BatchSource(samples(arguments.data, config.train_split), config)
    network, transferred, _ = start_network(config)
    trainer = Trainer(network, transferred, source, config, device)
    loader = loader_rate(source, arguments.seconds)
    training = training_rate(trainer, arguments.seconds)
    found = {
        "config": config.name,
        "architecture": config.architecture,
        "input_size": size,
        "batch_size": batch,
        "device": str(device),
        "threads": torch.get_num_threads(),
        "allocator": "tuned" if tuned else "default",
        "loader_images_per_s": round(loader, 2),
        "training_images_per_s": round(training, 2),
        "loader_over_training": round(loader / training, 2),
    }
    for name, value in found.items():
        print(f"{name:24} {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--config", default="tiny", metavar="YAML")
    made.add_argument("--data", type=Path, metavar="DIR", help="real images instead")
    made.add_argument("--device", default="auto")
    made.add_argument("--imgsz", type=int, default=416, metavar="PX")
    made.add_argument("--batch", type=int, default=16, metavar="IMAGES")
    text = "the C library's as it is, or told what mask-gate-train tells it"
    made.add_argument("--allocator", choices=("default", "tuned"), default="tuned", help=text)
    made.add_argument("--seconds", type=float, default=30.0, help="how long each rate is measured")
    made.add_argument("--json", type=Path, metavar="FILE")
    return made


def samples(data: Path | None, split: str) -> list[Sample]:
    """The images of a data set, or made up ones of even colours with some faces."""
    if data is not None:
        dataset = DatasetFolder.open(data)
        return [dataset.load(record) for record in dataset.split(split)]
    rng = np.random.default_rng(0)
    made = []
    for number in range(MADE_UP_IMAGES):
        corner = rng.uniform((0, 0), (SIZE_HW[1] - 64, SIZE_HW[0] - 64), (FACES, 2))
        boxes = np.hstack([corner, corner + rng.uniform(12, 64, (FACES, 2))]).astype(np.float32)
        image = np.full((*SIZE_HW, 3), rng.integers(256), np.uint8)
        made.append(Sample(image, boxes, rng.integers(0, 3, FACES), f"made{number}"))
    return made


def loader_rate(source: BatchSource, seconds: float) -> float:
    """Images a second of the loader with nobody else at work."""
    images, epoch, began = 0, 0, time.perf_counter()
    while True:
        for batch in source.epoch(epoch):
            images += len(batch.names)
            spent = time.perf_counter() - began
            if spent >= seconds:
                return images / spent
        epoch += 1


def training_rate(trainer: Trainer, seconds: float) -> float:
    """Images a second of training with its loader, after one update to warm up."""
    began, first = 0.0, 0
    warm = False

    def stop() -> bool:
        nonlocal began, first, warm
        if not warm:
            warm, began, first = True, time.perf_counter(), seen(trainer)
            return False
        return time.perf_counter() - began >= seconds

    learn(trainer, stop)
    return (seen(trainer) - first) / (time.perf_counter() - began)


def seen(trainer: Trainer) -> int:
    """Images learnt from so far."""
    progress, source = trainer.progress, trainer.source
    whole = sum(len(source.order(epoch)) for epoch in range(progress.epoch))
    in_epoch = progress.step * trainer.config.batch_size
    return whole + min(in_epoch, len(source.order(progress.epoch)))


def learn(trainer: Trainer, stop: Callable[[], bool]) -> None:
    """Train until `stop` says so, at an epoch's end too."""
    while True:
        try:
            trainer.finish_epoch(trainer.train_epoch(lambda: None, stop))
        except Interrupted:
            return
        if stop():
            return


if __name__ == "__main__":
    sys.exit(main())
