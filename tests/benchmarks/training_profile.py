"""Where the time of training goes: each part's share of a step, as a table and a picture.

    python tests/benchmarks/training_profile.py --out docs/pictures/training-profile.png

YOLOv3-tiny at 416 pixels on made-up images, with the loader as it runs in mask-gate-train: its
share is what the loop waits for it. The clock is read around each part of
`training.learning.trainer`.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from matplotlib.figure import Figure
from training_throughput import samples

from mask_gate.models.files.strict_yaml import read_config
from mask_gate.training.config import TrainConfig, config_path
from mask_gate.training.errors import Interrupted
from mask_gate.training.evaluation.plots import GREY, INK, RUN_COLOURS, save
from mask_gate.training.learning.allocator import keep_freed_memory
from mask_gate.training.learning.batches import BatchSource
from mask_gate.training.learning.start_weights import start_network
from mask_gate.training.learning.trainer import Trainer

PARTS = ("loader", "forward", "loss", "backward", "optimizer", "average", "rest")


class Profile:
    """Seconds by part."""

    def __init__(self) -> None:
        self.spent_s = dict.fromkeys(PARTS, 0.0)
        self.steps = 0

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        began_s = time.perf_counter()
        yield
        self.spent_s[part] += time.perf_counter() - began_s

    def around(self, part: str, call):
        def timed(*arguments, **named):
            with self(part):
                return call(*arguments, **named)

        return timed

    def waiting(self, epoch):
        """What makes an epoch's batches, each wait for one counted as the loader's."""

        def timed(*arguments):
            batches = iter(epoch(*arguments))
            while True:
                with self("loader"):
                    batch = next(batches, None)
                if batch is None:
                    return
                yield batch

        return timed

    def milliseconds(self, whole_s: float) -> dict[str, float]:
        self.spent_s["rest"] = whole_s - sum(self.spent_s.values())
        return {part: 1000 * spent / self.steps for part, spent in self.spent_s.items()}


def profile(precision: str, batch: int, steps: int) -> dict[str, float]:
    """Milliseconds a step of each part."""
    wanted = [f"batch_size={batch}", f"precision={precision}", "input_size=416"]
    wanted += ["multi_scale=null", "start=scratch"]
    config = read_config(TrainConfig, config_path("tiny"), wanted)
    source = BatchSource(samples(None, config.train_split), config)
    network, transferred, _ = start_network(config)
    trainer = Trainer(network, transferred, source, config, torch.device("cpu"))
    watch, began_s = Profile(), 0.0
    source.epoch = watch.waiting(source.epoch)
    trainer.network.forward = watch.around("forward", trainer.network.forward)
    trainer.loss = watch.around("loss", trainer.loss)
    trainer.optimizer.step = watch.around("optimizer", trainer.optimizer.step)
    trainer.average.update = watch.around("average", trainer.average.update)
    plain, torch.Tensor.backward = (
        torch.Tensor.backward,
        watch.around("backward", torch.Tensor.backward),
    )

    def stop() -> bool:
        nonlocal began_s
        if not began_s:  # the first step warms up
            watch.spent_s, began_s = dict.fromkeys(PARTS, 0.0), time.perf_counter()
            return False
        watch.steps += 1
        return watch.steps == steps

    try:
        while True:
            trainer.finish_epoch(trainer.train_epoch(lambda: None, stop))
    except Interrupted:
        return watch.milliseconds(time.perf_counter() - began_s)
    finally:
        torch.Tensor.backward = plain


def draw(profiles: dict[str, dict[str, float]], batch: int, path: Path) -> None:
    """A bar for each precision, its parts side by side."""
    figure = Figure(figsize=(8.4, 2.6), layout="constrained")
    axes = figure.subplots()
    for place, parts in enumerate(profiles.values()):
        left, whole = 0.0, sum(parts.values())
        for part, colour in zip(PARTS, RUN_COLOURS, strict=True):
            axes.barh(place, parts[part], left=left, color=colour, height=0.6, edgecolor="white")
            if parts[part] > 0.06 * whole:
                text = f"{parts[part] / whole:.0%}"
                axes.text(left + parts[part] / 2, place, text, ha="center", va="center", color="w")
            left += parts[part]
        axes.text(left, place, f"  {1000 * batch / left:.1f} images/s", va="center", color=INK)
    for part, colour in zip(PARTS, RUN_COLOURS, strict=True):
        axes.barh(0, 0, color=colour, label=part)
    axes.set_yticks(range(len(profiles)), list(profiles), color=INK)
    axes.set_xlim(0, 1.2 * max(sum(parts.values()) for parts in profiles.values()))
    axes.set_xlabel(f"ms a step of {batch} images", color=INK)
    axes.set_title("Where the time of training goes", fontsize=12, loc="left", color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=9, colors=GREY, length=0)
    figure.legend(loc="outside lower center", ncols=len(PARTS), frameon=False, fontsize=9)
    save(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Profile training.")
    parser.add_argument("--out", type=Path, required=True, metavar="PNG")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    keep_freed_memory(os.environ)
    profiles = {p: profile(p, options.batch, options.steps) for p in ("bfloat16", "float32")}
    for name, parts in profiles.items():
        whole = sum(parts.values())
        print(name, {part: f"{ms:.1f} ms, {ms / whole:.1%}" for part, ms in parts.items()})
    draw(profiles, options.batch, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
