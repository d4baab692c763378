"""Images a second of our training beside ultralytics' and pytorchyolo's own loops, in turns.

    python -m venv PEERS && PEERS/bin/pip install torch ultralytics pytorchyolo
    python tests/benchmarks/training_peers.py --data DATA --peers PEERS/bin/python [--json FILE]

YOLOv3-tiny from random weights, three classes, the same images, 416 pixels, the same batch. Each
loop is a process of its own that waits between its turns, so that a busy machine slows all alike.
The peers run as they come, each with its own loader, augmentation, loss, optimizer and average;
ultralytics' yolov3-tiny ends in that project's newer head, pytorchyolo's is the Darknet network, as
is ours. These packages never enter the project's environment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SIDE = 416
OURS = ("ours float32", "ours bfloat16")
PEERS = ("ultralytics", "pytorchyolo")
ANCHORS = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"


class Turns:
    """What a loop calls after each batch: it waits for its next turn and tells how long one took.

    Between two turns the process stands still; its first turn warms up.
    """

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what the packages print is not an answer
        self._left = 1  # the first batch is nobody's
        self._began = time.perf_counter()

    def __call__(self) -> None:
        self._left -= 1
        if self._left:
            return
        print(time.perf_counter() - self._began, file=self._answers, flush=True)
        if not sys.stdin.readline():
            os._exit(0)
        self._left = self._batches
        self._began = time.perf_counter()


def run_ours(folder: Path, batch: int, precision: str, done: Callable[[], None]) -> None:
    import torch

    from training.batches import BatchSource
    from training.config import TrainConfig, config_path
    from training.dataset_folder import DatasetFolder
    from training.engine import Engine
    from training.memory import keep_freed_memory
    from training.start import start_network
    from training.strict_yaml import read_config

    keep_freed_memory(os.environ)
    wanted = [f"batch_size={batch}", f"precision={precision}", f"input_size={SIDE}"]
    wanted += ["multi_scale=null", "start=scratch", "epochs=100000"]
    config = read_config(TrainConfig, config_path("tiny"), wanted)
    data = DatasetFolder.open(Path((folder / "data.txt").read_text()))
    chosen = set((folder / "names.txt").read_text().split())
    samples = [data.load(r) for r in data.split("train") if r.stem in chosen]
    network, transferred, _ = start_network(config)
    engine = Engine(network, transferred, BatchSource(samples, config), config, torch.device("cpu"))
    while True:
        engine.finish_epoch(engine.train_epoch(done, lambda: False))


def run_ultralytics(folder: Path, batch: int, done: Callable[[], None]) -> None:
    from ultralytics import YOLO

    network = YOLO("yolov3-tiny.yaml")
    network.add_callback("on_train_batch_end", lambda trainer: done())
    network.train(
        data=str(folder / "data.yaml"),
        epochs=100000,
        imgsz=SIDE,
        batch=batch,
        device="cpu",
        workers=0,
        val=False,
        save=False,
        plots=False,
        pretrained=False,
        project=str(folder / "runs"),
    )


def run_pytorchyolo(folder: Path, batch: int, done: Callable[[], None]) -> None:
    """Its `train.run`, whose logger is called once a batch, after the step."""
    from pytorchyolo import train

    class Log:
        def __init__(self, *_: object) -> None: ...
        def scalar_summary(self, *_: object) -> None: ...
        def list_of_scalars_summary(self, pairs: list[object], step: int) -> None:
            if pairs[0][0].startswith("train/"):
                done()

    train.Logger = Log
    os.chdir(folder)
    none = ["--evaluation_interval", "100000", "--checkpoint_interval", "100000"]
    sys.argv = ["yolo-train", "-m", "tiny.cfg", "-d", "tiny.data", "-e", "100000", *none]
    sys.argv += ["--n_cpu", "0"]
    train.run()


def darknet_cfg(batch: int) -> str:
    """YOLOv3-tiny (Redmon and Farhadi, 2018) for three classes, in Darknet's format."""

    def conv(filters: int, size: int = 3, norm: bool = True) -> str:
        kind = ("batch_normalize=1", "leaky") if norm else ("", "linear")
        return (
            f"[convolutional]\n{kind[0]}\nfilters={filters}\nsize={size}\nstride=1\npad=1\n"
            f"activation={kind[1]}\n"
        )

    def pool(stride: int) -> str:
        return f"[maxpool]\nsize=2\nstride={stride}\n"

    def yolo(mask: str) -> str:
        return (
            f"[yolo]\nmask={mask}\nanchors={ANCHORS}\nclasses=3\nnum=6\njitter=.3\n"
            "ignore_thresh=.7\ntruth_thresh=1\nrandom=0\n"
        )

    head = (
        f"[net]\nbatch={batch}\nsubdivisions=1\nwidth={SIDE}\nheight={SIDE}\nchannels=3\n"
        "momentum=0.9\ndecay=0.0005\nangle=0\nsaturation=1.5\nexposure=1.5\nhue=.1\n"
        "learning_rate=0.0001\nburn_in=100\nmax_batches=500200\npolicy=steps\n"
        "steps=400000,450000\nscales=.1,.1\noptimizer=adam\n"
    )
    trunk = "".join(conv(f) + pool(2) for f in (16, 32, 64, 128, 256)) + conv(512) + pool(1)
    large = conv(1024) + conv(256, 1) + conv(512) + conv(24, 1, norm=False) + yolo("3,4,5")
    small = "[route]\nlayers=-4\n" + conv(128, 1) + "[upsample]\nstride=2\n[route]\nlayers=-1,8\n"
    return head + trunk + large + small + conv(256) + conv(24, 1, norm=False) + yolo("0,1,2")


def write_folder(folder: Path, data_path: Path, images: int, batch: int) -> None:
    """The same images for all: in our own data set by name, and as files with YOLO labels."""
    import cv2

    from training.dataset_folder import DatasetFolder

    data = DatasetFolder.open(data_path)
    for name in ("images", "labels"):
        (folder / name).mkdir()
    names = []
    for record in data.split("train")[:images]:
        sample = data.load(record)
        names.append(record.stem)
        height, width = sample.size_hw
        cv2.imwrite(str(folder / f"images/{names[-1]}.png"), sample.image)
        boxes = sample.boxes_xyxy / [width, height, width, height]
        rows = zip(sample.labels, boxes, strict=True)
        lines = [
            f"{label} {(a + c) / 2:.6f} {(b + d) / 2:.6f} {c - a:.6f} {d - b:.6f}"
            for label, (a, b, c, d) in rows
        ]
        (folder / f"labels/{names[-1]}.txt").write_text("\n".join(lines) + "\n")
    (folder / "data.txt").write_text(str(data_path.resolve()))
    (folder / "names.txt").write_text("\n".join(names))
    (folder / "data.yaml").write_text(
        f"path: {folder}\ntrain: images\nval: images\nnames: [with, without, badly]\n"
    )
    (folder / "list.txt").write_text("".join(f"{folder}/images/{name}.png\n" for name in names))
    (folder / "tiny.names").write_text("with\nwithout\nbadly\n")
    (folder / "tiny.data").write_text(
        "classes=3\ntrain=list.txt\nvalid=list.txt\nnames=tiny.names\n"
    )
    (folder / "tiny.cfg").write_text(darknet_cfg(batch))


class Loop:
    """One of the trainings, as its own process."""

    def __init__(self, name: str, python: str, folder: Path, options: argparse.Namespace) -> None:
        command = [python, __file__, "--loop", name, "--folder", str(folder)]
        command += ["--batch", str(options.batch), "--batches", str(options.batches)]
        environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
        if name in OURS:
            environment["PYTHONPATH"] = str(ROOT)
        self.name = name
        self.words = (folder / f"{name.replace(' ', '-')}.log").open("w+")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env=environment,
            text=True,
        )

    def turn(self) -> float:
        """Seconds of one turn."""
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> float:
        line = self.process.stdout.readline()
        if not line:
            self.words.seek(0)
            raise SystemExit(f"{self.name} ended:\n{self.words.read()[-2000:]}")
        return float(line)


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare training loops.")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--peers", help="the Python that has ultralytics and pytorchyolo")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--batches", type=int, default=2, help="of one turn")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--loop", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.loop:
        done = Turns(options.batches)
        if options.loop in OURS:
            run_ours(options.folder, options.batch, options.loop.split()[1], done)
        elif options.loop == "ultralytics":
            run_ultralytics(options.folder, options.batch, done)
        else:
            run_pytorchyolo(options.folder, options.batch, done)
        return 0
    with tempfile.TemporaryDirectory() as name:
        report = measure(Path(name), options)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(folder: Path, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    write_folder(folder, options.data, options.images, options.batch)
    loops = []
    for name in (*OURS, *PEERS):
        python = sys.executable if name in OURS else options.peers
        loops.append(Loop(name, python, folder, options))
        loops[-1].answer()  # it has begun, and stands still before the next starts
    rates: dict[str, list[float]] = {loop.name: [] for loop in loops}
    for turn in range(options.rounds + 1):
        for loop in loops:
            spent_s = loop.turn()
            if turn:  # the first one warms up
                rates[loop.name].append(options.batch * options.batches / spent_s)
    for loop in loops:
        loop.process.kill()
        loop.process.wait()
    report = {}
    for name, found in rates.items():
        ratios = [ours / other for ours, other in zip(rates[OURS[0]], found, strict=True)]
        report[name] = {
            "images_per_s": round(statistics.median(found), 2),
            "least": round(min(found), 2),
            "most": round(max(found), 2),
            "ours_over_it": round(statistics.median(ratios), 2),
            "ratio_least": round(min(ratios), 2),
            "ratio_most": round(max(ratios), 2),
        }
        print(f"{name:16} {report[name]}", flush=True)
    return report


if __name__ == "__main__":
    sys.exit(main())
