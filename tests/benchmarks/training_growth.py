"""How the time of training grows: with images, batch, size of the input, threads and processes.

    python tests/benchmarks/training_growth.py [--precision bfloat16] [--rounds 5] [--json FILE]

YOLOv3-tiny on made-up images, with the loader and settings of mask-gate-train; each point is a
process of its own (or two, by torchrun, over gloo), in turns; after two batches to warm up, the
time from there to the last image, by the clock and by processors, which other work on the machine
skews less; with `--threads 1` hardly. Figures are medians (least to most), ratios those to the
plain point in the same round: 96 images, batches of 8, 416 px, two threads.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from training_throughput import samples

from mask_gate.gate.detector.processor import cpu_name
from mask_gate.models.files.strict_yaml import read_config
from mask_gate.training.config import TrainConfig, config_path
from mask_gate.training.learning.allocator import keep_freed_memory
from mask_gate.training.learning.batches import BatchSource
from mask_gate.training.learning.distributed import process_group
from mask_gate.training.learning.start_weights import start_network
from mask_gate.training.learning.trainer import Trainer

WARM_UP = 2


@dataclass(frozen=True)
class Point:
    """What is measured: `images` after the warm-up, by `processes` of `threads` each."""

    images: int = 96
    batch: int = 8
    side: int = 416
    threads: int = 2
    processes: int = 1
    precision: str = "float32"


def points(plain: Point) -> dict[str, Point]:
    """What differs from the plain one, which stands first."""
    found = {
        "plain": plain,
        f"{plain.images // 2} images": replace(plain, images=plain.images // 2),
        f"{plain.images * 2} images": replace(plain, images=plain.images * 2),
    }
    found |= {f"batch {n}": replace(plain, batch=n) for n in (2, 4, 16)}
    found |= {f"{side} px": replace(plain, side=side) for side in (320, 512, 608)}
    if plain.threads > 1:
        alone = replace(plain, threads=1)
        found["1 thread"] = alone
        found[f"{plain.threads} processes"] = replace(alone, processes=plain.threads)
    return found


def costs(point: Point) -> list[float] | None:
    """Seconds and processor seconds of learning; None in all processes but the first."""
    keep_freed_memory(os.environ)
    torch.set_num_threads(point.threads)
    whole = point.images + WARM_UP * point.batch
    wanted = [f"input_size={point.side}", "multi_scale=null", f"batch_size={point.batch}"]
    wanted += [f"precision={point.precision}", "start=scratch", f"epoch_images={whole}"]
    config = read_config(TrainConfig, config_path("tiny"), wanted)
    with process_group() as group:
        source = BatchSource(samples(None, config.train_split), config, group.rank, group.size)
        network, transferred, _ = start_network(config)
        trainer = Trainer(network, transferred, source, config, torch.device("cpu"), group)
        began = np.zeros(2)

        def never() -> bool:  # asked after every update
            nonlocal began
            if trainer.progress.step == WARM_UP:
                began = clocks()
            return False

        trainer.train_epoch(lambda: None, never)
        took_s, cpu_s = clocks() - began
        cpu_s = float(group.sum(torch.tensor(cpu_s)))
        return [took_s, cpu_s] if group.is_first else None


def clocks() -> np.ndarray:
    """The time, and that which all threads of this process spent on processors."""
    return np.array([time.perf_counter(), time.process_time()])


def measured(point: Point) -> list[float]:
    """`costs`, measured in processes of their own."""
    command = [sys.executable]
    if point.processes > 1:
        command += ["-m", "torch.distributed.run", f"--nproc-per-node={point.processes}"]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "costs.json"
        command += [__file__, "--point", json.dumps(asdict(point)), "--json", str(out)]
        environment = os.environ | {"OMP_NUM_THREADS": str(point.threads)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return json.loads(out.read_text())


def spread(values: np.ndarray) -> list[float]:
    """Median, least and most."""
    return [round(float(value), 3) for value in (np.median(values), values.min(), values.max())]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--point", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        found = costs(Point(**json.loads(options.point)))
        if found is not None:
            options.json.write_text(json.dumps(found))
        return 0
    plain = Point(options.images, threads=options.threads, precision=options.precision)
    wanted = points(plain)
    taken: dict[str, list[list[float]]] = {name: [] for name in wanted}
    report = {"cpu": cpu_name(), "plain": asdict(plain), "load": os.getloadavg()[0]}
    for _ in range(options.rounds):
        for name, point in wanted.items():
            taken[name].append(measured(point))
    first = np.array(taken["plain"]) / plain.images
    report["points"] = {}
    print(f"{plain}\n{'':16}{'ms an image':>26}{'ratio':>22}{'of processor time':>22}")
    for name, point in wanted.items():
        each = np.array(taken[name]) / point.images
        ms, ratio = spread(1000 * each[:, 0]), [spread(x) for x in (each / first).T]
        told = f"{ms[0]:.1f} ({ms[1]:.1f} to {ms[2]:.1f})"
        ratios = "".join(
            f"{f'{m:.2f} ({least:.2f} to {most:.2f})':>22}" for m, least, most in ratio
        )
        print(f"{name:16}{told:>26}{ratios}")
        report["points"][name] = asdict(point) | {
            "ms_an_image": ms,
            "ratio": ratio[0],
            "processor_time_ratio": ratio[1],
            "rounds": taken[name],
        }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
