"""RunFolder: the files of one training run, each whole or absent, and the room they need."""

from __future__ import annotations

import csv
import gc
import io
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.errors import OutputError
from mask_gate.training.evaluation.plots import AccuracyHistory, draw_accuracy, draw_losses
from mask_gate.training.learning.trainer import LOSS_NAMES

History = Sequence[Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where one run writes: `last.pth`, `best.pth`, `results.csv`, `map.png` and `losses.png`.

    Attributes:
        path: of the folder; made by `prepare`.
    """

    path: Path

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.path / "last.pth"

    @property
    def best(self) -> Path:
        """The checkpoint to use."""
        return self.path / "best.pth"

    @property
    def is_used(self) -> bool:
        """Whether it holds a run, at whatever epoch."""
        return self.last.exists()

    def check_room(self, checkpoint_bytes: int) -> None:
        """See that the folder can be made and written, and has room; nothing is made.

        Args:
            checkpoint_bytes: size of `last.pth`; the old one stays until the new one is whole.

        Raises:
            OutputError: not writable, or less free than two checkpoints take.
        """
        there = next(path for path in (self.path, *self.path.absolute().parents) if path.exists())
        if not there.is_dir():
            raise OutputError(f"{self.path}: {there} is not a folder; give another --out")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OutputError(f"{self.path}: cannot be written to; give another --out")
        free = shutil.disk_usage(there).free
        needed = 2 * checkpoint_bytes
        if free < needed:
            raise OutputError(
                f"{self.path}: expected {needed:,} bytes free, room for two checkpoints, got "
                f"{free:,}; make room or give another --out"
            )

    def prepare(self) -> None:
        """Make the folder, and clear away what a killed run left half written.

        Raises:
            OutputError: that cannot be done.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for leftover in self.path.glob(".*.pth.*"):
                leftover.unlink()
        except OSError as error:
            raise OutputError(f"{self.path}: {error.strerror}; give another --out") from error

    def report(self, history: History) -> None:
        """Write the table and draw the pictures of the epochs so far."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(history[-1]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(history)
        temporary = self.path / ".results.csv"
        temporary.write_text(text.getvalue(), encoding="utf-8")
        temporary.replace(self.path / "results.csv")
        epochs = [int(row["epoch"]) for row in history]
        losses = {name: [row[name] for row in history] for name in LOSS_NAMES}
        draw_losses(epochs, losses, self.path / "losses.png")
        accuracy = accuracy_of(history)
        if accuracy is not None:
            draw_accuracy(accuracy, self.path / "map.png")
        # Pictures hold themselves in cycles, which would pile up over many epochs.
        gc.collect()


def accuracy_of(history: History) -> AccuracyHistory | None:
    """The evaluated epochs of a run; None where nothing was evaluated."""
    rows = [row for row in history if "map50" in row]
    if not rows:
        return None
    per_class = {name: [row[f"ap50_{name}"] for row in rows] for name in CLASS_NAMES}
    epochs = [int(row["epoch"]) for row in rows]
    return AccuracyHistory(epochs, [row["map50"] for row in rows], per_class)
