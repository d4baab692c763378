"""mask-gate-train: read a config and the data, train, and keep the best and the last."""

from __future__ import annotations

import argparse
import csv
import io
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from tqdm import tqdm

from models.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from models.darknet_weights import DarknetWeightsError
from models.labels import CLASS_NAMES
from training.batches import Batch, BatchSource
from training.config import TrainConfig, config_path
from training.dataset_folder import DatasetFolder
from training.device import choose_device
from training.engine import LOSS_NAMES, Engine, Interrupted, TrainingError
from training.inference import results_of
from training.metrics import evaluate_strict
from training.plots import AccuracyHistory, draw_accuracy, draw_losses
from training.problems import DataError
from training.samples import Sample
from training.schedule import ScheduleError
from training.start import start_network
from training.strict_yaml import ConfigFileError, read_config

USAGE_ERROR, WEIGHTS_ERROR, OUTPUT_ERROR, INTERRUPTED = 2, 4, 5, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Train one run after another; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        for name in arguments.config:
            config = read_config(TrainConfig, config_path(name), arguments.set)
            Run(config, arguments).train()
    except (ConfigFileError, DataError, ScheduleError, ValueError) as error:
        weights = isinstance(error, CheckpointError | DarknetWeightsError)
        return _fail(error, WEIGHTS_ERROR if weights else USAGE_ERROR)
    except FileNotFoundError as error:
        return _fail(error, USAGE_ERROR)
    except TrainingError as error:
        return _fail(error, WEIGHTS_ERROR)
    except OSError as error:
        return _fail(error, OUTPUT_ERROR)
    except Interrupted:
        print("interrupted; go on with --resume", file=sys.stderr)
        return INTERRUPTED
    return 0


def _fail(error: Exception, code: int) -> int:
    print(f"mask-gate-train: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mask-gate-train", description=__doc__)
    parser.add_argument("--config", nargs="+", required=True, metavar="YAML")
    parser.add_argument("--data", default=os.environ.get("MASK_GATE_DATA", "data"), metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("runs"), metavar="DIR")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--resume", action="store_true", help="go on from DIR/NAME/last.pth")
    parser.add_argument(
        "--set", nargs="+", default=[], metavar="KEY=VALUE", help="override the config"
    )
    return parser


class Run:
    """One training run and its folder.

    Args:
        config: of the run.
        arguments: of the command line.
    """

    def __init__(self, config: TrainConfig, arguments: argparse.Namespace) -> None:
        self.config = config
        self.folder = Path(arguments.out) / config.name
        self.device = choose_device(arguments.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        if (self.folder / "last.pth").exists() and not arguments.resume:
            raise ConfigFileError(
                f"{self.folder} holds a run already; add --resume to go on, or give another --out"
            )
        data = DatasetFolder.open(arguments.data)
        self.fingerprint = data.fingerprint()
        print(f"{config.name}: {len(data.images)} images, {data.split_note}")
        source = BatchSource(_load(data, config.train_split), config)
        self.watched = _load(data, config.watch_split) if config.watch_split else []
        network, transferred, said = start_network(config)
        print(f"{config.architecture}: {said}")
        self.engine = Engine(network, transferred, source, config, self.device)
        if arguments.resume and (self.folder / "last.pth").exists():
            self.engine.resume(load_checkpoint(self.folder / "last.pth"))
            print(f"resumed at epoch {self.engine.progress.epoch + 1}")

    def train(self) -> None:
        """Train to the last epoch; writes checkpoints, the table and the picture on the way."""
        stop = StopRequest()
        with stop:
            try:
                while self.engine.progress.epoch < self.config.epochs:
                    self._epoch(stop)
                    if stop() and self.engine.progress.epoch < self.config.epochs:
                        raise Interrupted
            except Interrupted:
                self._save("last.pth", resumable=True)
                raise

    def _epoch(self, stop: Callable[[], bool]) -> None:
        epoch = self.engine.progress.epoch
        began = time.monotonic()
        with StepLine(self.engine, self.config.epochs) as line:
            row: dict[str, float] = {"epoch": epoch + 1, **self.engine.train_epoch(line, stop)}
        row["seconds"] = round(time.monotonic() - began, 1)
        row |= self._watch()
        self.engine.finish_epoch(row)
        self._save("last.pth", resumable=True)
        if self._is_kept(row):
            self._save("best.pth", resumable=False)
        self._report()

    def _watch(self) -> dict[str, float]:
        """Strict figures of the watched split, with the weights that get saved."""
        if not self.watched:
            return {}
        results = results_of(
            self.engine.evaluated_network(),
            self.watched,
            self.config.input_size,
            self.device,
            self.config.score_threshold,
        )
        scores = evaluate_strict(results).scores
        figures = {"map50": float(scores.map50), "map50_95": float(scores.map50_95)}
        for name, ap50 in zip(CLASS_NAMES, scores.ap50, strict=True):
            figures[f"ap50_{name}"] = float(ap50)
        told = " / ".join(f"{figures[f'ap50_{name}']:.3f}" for name in CLASS_NAMES)
        print(f"  {self.config.watch_split}: mAP@0.5 {figures['map50']:.3f} ({told})", flush=True)
        return figures

    def _is_kept(self, row: dict[str, float]) -> bool:
        if self.config.keep == "last" or "map50" not in row:
            return True
        return row["map50"] >= max(r["map50"] for r in self.engine.progress.history)

    def _save(self, name: str, resumable: bool) -> None:
        history = self.engine.progress.history
        about: dict[str, dict[str, Any]] = {
            "metrics": {self.config.watch_split or "loss": history[-1]} if history else {},
            "training": {
                "config": self.config.model_dump(mode="json"),
                "data": self.fingerprint,
                "torch": str(torch.__version__),
            },
        }
        save_checkpoint(self.folder / name, self.engine.checkpoint(resumable, about))

    def _report(self) -> None:
        history = self.engine.progress.history
        text = io.StringIO()
        writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        temporary = self.folder / ".results.csv"
        temporary.write_text(text.getvalue(), encoding="utf-8")
        temporary.replace(self.folder / "results.csv")
        draw_run(history, self.folder)


def draw_run(history: Sequence[Mapping[str, float]], folder: Path) -> None:
    """Draw `map.png` and `losses.png` of the epochs so far."""
    epochs = [int(row["epoch"]) for row in history]
    losses = {name: [row[name] for row in history] for name in LOSS_NAMES}
    draw_losses(epochs, losses, folder / "losses.png")
    if "map50" in history[-1]:
        per_class = {name: [row[f"ap50_{name}"] for row in history] for name in CLASS_NAMES}
        accuracy = AccuracyHistory(epochs, [row["map50"] for row in history], per_class)
        draw_accuracy(accuracy, folder / "map.png")


def _load(data: DatasetFolder, split: str) -> list[Sample]:
    records = data.split(split)
    shown = tqdm(records, f"reading {split}", unit="image", leave=False, disable=None)
    return [data.load(record) for record in shown]


class StepLine:
    """The progress line of one epoch: loss parts, images per second, time left."""

    def __init__(self, engine: Engine, epochs: int) -> None:
        progress = engine.progress
        self._engine = engine
        images = len(engine.source.order(progress.epoch))
        done = min(images, progress.step * engine.config.batch_size)
        title = f"epoch {progress.epoch + 1}/{epochs}"
        quiet = not sys.stderr.isatty()
        self._line = tqdm(
            total=images, initial=done, desc=title, unit="image", mininterval=30 if quiet else 0.5
        )

    def __enter__(self) -> StepLine:
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def __call__(self, batch: Batch, parts: Sequence[float]) -> None:
        """Move on by one batch."""
        progress = self._engine.progress
        means = (total / progress.step for total in progress.sums)
        told = {name: f"{mean:.3f}" for name, mean in zip(LOSS_NAMES, means, strict=True)}
        self._line.set_postfix(told, refresh=False)
        self._line.update(len(batch.names))


class StopRequest:
    """Ctrl-C or SIGTERM once asks for a stop after the step; Ctrl-C twice stops at once."""

    def __init__(self) -> None:
        self._asked = False
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether a stop was asked for."""
        return self._asked

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: FrameType | None) -> None:
        if self._asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = True
        print("stopping after this step", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
