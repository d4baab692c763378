"""Run: one configuration from its start weights to its last epoch, kept in its own folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mask_gate.models.files.checkpoint import load_checkpoint, save_checkpoint
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.preflight import LoadedSplits
from mask_gate.training.data.samples import Sample
from mask_gate.training.data.wider_data import load_wider_data
from mask_gate.training.errors import Interrupted
from mask_gate.training.evaluation.bootstrap import Figure, estimate_figures
from mask_gate.training.evaluation.inference import results_of
from mask_gate.training.evaluation.metrics import ImageResult, StrictMatches, evaluate_strict
from mask_gate.training.evaluation.plots import AccuracyHistory
from mask_gate.training.evaluation.plots import Run as ComparedRun
from mask_gate.training.learning.batches import BatchSource
from mask_gate.training.learning.distributed import ProcessGroup
from mask_gate.training.learning.progress import StepLine, StopRequest
from mask_gate.training.learning.run_check import check_goes_on
from mask_gate.training.learning.run_folder import RunFolder, accuracy_of
from mask_gate.training.learning.run_summary import RunSummary
from mask_gate.training.learning.start_weights import start_network
from mask_gate.training.learning.tensorboard_log import TensorBoardLog
from mask_gate.training.learning.trainer import Trainer

MOST_WORKERS = 14
FIGURES = ("map50", "map50_95", *(f"ap50_{name}" for name in CLASS_NAMES))


@dataclass(frozen=True, slots=True)
class RunContext:
    """What is the same for every run of a command.

    Attributes:
        out: folder that holds a folder for each run.
        device: to train on.
        group: the processes that train together.
        resume: go on where an earlier run stopped.
        tensorboard: write its logs too.
        say: hears what people should know, a line at a time.
    """

    out: Path
    device: torch.device
    group: ProcessGroup
    resume: bool
    tensorboard: bool
    say: Callable[[str], None]


class Run:
    """One training run, which `check_run` has found able to start.

    Args:
        config: of the run; its name is that of its folder.
        splits: its data.
        context: what it shares with other runs.

    Raises:
        DataError: a split is not there, or an image of it cannot be read.
        OutputError: the folder cannot be made.
    """

    def __init__(self, config: TrainConfig, splits: LoadedSplits, context: RunContext) -> None:
        self.config, self.context, self.fingerprint = config, context, splits.fingerprint
        self.folder = RunFolder(context.out / config.name)
        goes_on = context.resume and self.folder.is_used
        if config.threads:
            torch.set_num_threads(config.threads)
        group = context.group
        samples, times = _learnt_from(splits, config, context.say)
        self.watched: list[Sample] = []
        self._ap50: Figure | None = None
        if config.watch_split and group.is_first:
            self.watched = splits.load(config.watch_split)
        network, transferred, said = start_network(config)
        on_gpu = context.device.type == "cuda"
        workers = worker_count(config, context.device, os.cpu_count() or 1)
        source = BatchSource(
            samples,
            config,
            group.rank,
            group.size,
            times,
            scales=network.scales if workers else (),  # alone, the loss makes targets
            workers=workers,
            for_gpu=on_gpu,
        )
        self.trainer = Trainer(network, transferred, source, config, context.device, group)
        if goes_on:
            checkpoint = load_checkpoint(self.folder.last)
            check_goes_on(checkpoint, config, self.folder)
            self.trainer.resume(checkpoint)
            said = f"resumed at epoch {self.trainer.progress.epoch + 1}"
        layers = str(self.trainer.layers).removeprefix("torch.")
        context.say(f"{config.name}: {config.architecture} in {layers}, {said}")
        if group.is_first:
            self.folder.prepare()

    def train(self) -> None:
        """Train to the last epoch; writes checkpoints, the table and the pictures on the way.

        Raises:
            Interrupted: asked to stop; `last.pth` holds the state after the last step.
            TrainingError: the loss is not finite; the checkpoints are those before.
        """
        over = self._why_over()
        if over:
            self.context.say(f"{self.config.name}: already finished: {over}")
            return
        log = self._open_log()
        try:
            self._train_on(log)
        finally:
            if log is not None:
                log.close()
        over = self._why_over()
        self.context.say(f"{self.config.name}: finished: {over}")

    def _train_on(self, log: TensorBoardLog | None) -> None:
        with StopRequest() as asked:

            def stop() -> bool:
                return self.context.group.any(asked())

            try:
                while not self._why_over():
                    self._epoch(stop, log)
                    if stop() and not self._why_over():
                        raise Interrupted
            except Interrupted:
                self._save(self.folder.last, resumable=True)
                raise

    def _why_over(self) -> str | None:
        """Why there is nothing left to do, and how to go on all the same; None while there is."""
        done, patience = self.trainer.progress.epoch, self.config.patience
        if done >= self.config.epochs:
            return f"{done} of {self.config.epochs} epochs are done; --resume --epochs N adds more"
        best = self._best_epoch()
        if patience and best is not None and done - best >= patience:
            return (
                f"mAP on {self.config.watch_split} was not better than at epoch {best} through "
                f"epoch {done}; --resume --set patience=N waits longer than {patience}"
            )
        return None

    def _best_epoch(self) -> int | None:
        """The first epoch with the best mAP, counted from 1; nan is never best."""
        known = [row for row in self.trainer.progress.history if row.get("map50", np.nan) >= 0]
        best = max(known, key=lambda row: row["map50"], default=None)
        return None if best is None else int(best["epoch"])

    def _open_log(self) -> TensorBoardLog | None:
        if not (self.context.tensorboard and self.context.group.is_first):
            return None
        return TensorBoardLog(self.folder.path / "tensorboard", self.trainer.progress.epoch + 1)

    def _epoch(self, stop: Callable[[], bool], log: TensorBoardLog | None) -> None:
        began = time.monotonic()
        row: dict[str, float] = {"epoch": self.trainer.progress.epoch + 1}
        with StepLine(self.trainer, self.context.group.is_first) as line:
            row |= self.trainer.train_epoch(line, stop)
        row["seconds"] = round(time.monotonic() - began, 1)
        row |= self._watch()
        self.trainer.finish_epoch(row)
        if not self.context.group.is_first:
            return
        self._save(self.folder.last, resumable=True)
        if self._is_kept(row):
            self._save(self.folder.best, resumable=False)
        self.folder.report(self.trainer.progress.history)
        if log is not None:
            log.write(row)

    def _watch(self) -> dict[str, float]:
        """Strict figures of the watched split, with the weights that get saved."""
        if not self.config.watch_split:
            return {}
        values = [float("nan")] * len(FIGURES)
        if self.context.group.is_first:
            scores = evaluate_strict(self._results(self.trainer.evaluated_network())).scores
            values = [float(scores.map50), float(scores.map50_95), *map(float, scores.ap50)]
        figures = dict(zip(FIGURES, self.context.group.from_first(values), strict=True))
        told = " / ".join(f"{figures[f'ap50_{name}']:.3f}" for name in CLASS_NAMES)
        self.context.say(f"  {self.config.watch_split}: mAP@0.5 {figures['map50']:.3f} ({told})")
        return figures

    def _results(self, network: DetectionNetwork) -> list[ImageResult]:
        return results_of(
            network,
            self.watched,
            self.config.input_size,
            self.context.device,
            self.config.score_threshold,
        )

    def _is_kept(self, row: dict[str, float]) -> bool:
        if self.config.keep == "last" or "map50" not in row:
            return True
        return row["map50"] >= max(r["map50"] for r in self.trainer.progress.history)

    def _save(self, path: Path, resumable: bool) -> None:
        if not self.context.group.is_first:
            return
        history = self.trainer.progress.history
        about: dict[str, dict[str, Any]] = {
            "metrics": {self.config.watch_split or "loss": history[-1]} if history else {},
            "training": {
                "config": self.config.model_dump(mode="json"),
                "data": self.fingerprint,
                "torch": str(torch.__version__),
            },
        }
        save_checkpoint(path, self.trainer.checkpoint(resumable, about))

    def compared(self) -> ComparedRun:
        """What a comparison shows: the course, and what `best.pth` does, with intervals."""
        history = accuracy_of(self.trainer.progress.history)
        if history is None or not self.watched:
            return ComparedRun(self.config.name, AccuracyHistory([], [], {}))
        return ComparedRun(self.config.name, history, self._final())

    def summary(self) -> RunSummary:
        """What there is now, and what `best.pth` does, with its interval."""
        watched = (self.config.watch_split, len(self.watched)) if self.config.watch_split else None
        map50 = self._final().mean if self.watched else None
        return RunSummary(self.folder, watched, map50, self.config.keep == "best")

    def _final(self) -> Figure:
        """AP at IoU 0.5 of `best.pth` on the watched split; measured once."""
        if self._ap50 is None:
            network = load_checkpoint(self.folder.best).network().to(self.context.device)
            matches = StrictMatches.of(self._results(network))
            rng = np.random.default_rng(self.config.seed)
            self._ap50 = estimate_figures(matches, rng)["ap50"]
        return self._ap50


def worker_count(config: TrainConfig, device: torch.device, cores: int) -> int:
    """How many processes make batches: a GPU would wait for one, a CPU has no core to spare."""
    if config.workers != "auto":
        return config.workers
    return max(1, min(MOST_WORKERS, cores - 2)) if device.type == "cuda" else 0


def _learnt_from(
    splits: LoadedSplits, config: TrainConfig, say: Callable[[str], None]
) -> tuple[list[Sample], NDArray[np.float64]]:
    """The samples that a run trains on, and how often each is shown in an epoch."""
    samples = splits.load(config.train_split)
    if config.only_images_with is not None:
        label = CLASS_NAMES.index(config.only_images_with)
        samples = [sample for sample in samples if label in sample.labels]
    # A class that the data set never shows may be among the faces that it calls otherwise.
    never_shown = ~splits.dataset.classes_shown()
    samples = [sample.without_knowing(never_shown) for sample in samples]
    times = np.full(len(samples), config.weight)
    if not config.data:
        return _without_knowing_unshown(samples), times
    held_out = [
        sample
        for name in splits.dataset.stems_of_split
        if name != config.train_split
        for sample in splits.load(name)
    ]
    root = splits.dataset.files.root
    wider, wider_times = load_wider_data(config.data, root, held_out, say)
    both = _without_knowing_unshown([*samples, *wider])
    return both, np.concatenate((times, wider_times))


def _without_knowing_unshown(samples: Sequence[Sample]) -> list[Sample]:
    """The samples, their labels saying nothing of a class that none of them shows."""
    labels = np.concatenate([np.zeros(0, np.int64), *(sample.labels for sample in samples)])
    is_shown = np.bincount(labels, minlength=len(CLASS_NAMES)) > 0
    return [sample.without_knowing(~is_shown) for sample in samples]
