"""RunSummary: what a training left, how good it is, and what to do with it next."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from mask_gate.training.evaluation.bootstrap import LEVEL, Estimate
from mask_gate.training.learning.run_folder import RunFolder


@dataclass(frozen=True, slots=True)
class RunSummary:
    """How a run ended.

    Attributes:
        folder: where its files are.
        watched: the split that was looked at, and how many images it has; None: none was.
        map50: of `best.pth` on it; None where nothing was looked at.
        chosen_by_it: whether the epoch of `best.pth` was chosen by these images.
    """

    folder: RunFolder
    watched: tuple[str, int] | None
    map50: Estimate | None
    chosen_by_it: bool

    def text(self, data_flags: Sequence[str]) -> str:
        """For a terminal, without a final newline.

        Args:
            data_flags: of mask-gate-train, that say which data it was.
        """
        return "\n".join(
            [
                f"  files  {self.folder.path}: {', '.join(self._files())}",
                f"  mAP    {self._accuracy()}",
                *(f"  {head:<5}  {line}" for head, line in self._next(data_flags)),
            ]
        )

    def _files(self) -> list[str]:
        said = {"best.pth": "to use", "last.pth": "to go on from with --resume"}
        names = ("best.pth", "last.pth", "results.csv", "losses.png", "map.png")
        there = [name for name in names if (self.folder.path / name).exists()]
        return [f"{name} ({said[name]})" if name in said else name for name in there]

    def _accuracy(self) -> str:
        if self.watched is None or self.map50 is None:
            return "not measured, for watch_split is null; the first command below measures it"
        split, images = self.watched
        if not math.isfinite(self.map50.value):
            return f"not known: {split} shows no faces"
        value, low, high = self.map50.value, self.map50.low, self.map50.high
        told = f"{value:.3f} at IoU 0.5 ({low:.3f} to {high:.3f}, {LEVEL:.0%} interval)"
        told += f", best.pth on the {images} images of {split}"
        if self.chosen_by_it:
            told += "; its epoch was chosen by these images, which flatters it"
        return told

    def _next(self, data_flags: Sequence[str]) -> list[tuple[str, str]]:
        best, calibrated = str(self.folder.best), str(self.folder.path / "calibrated.pth")
        split = ["--split", self.watched[0]] if self.watched and self.watched[0] != "valid" else []
        data = [*data_flags, *split]
        plots = str(self.folder.path / "plots")
        commands = (
            ["mask-gate-eval", "--weights", best, *data, "--plots", plots],
            ["mask-gate-calibrate", "--weights", best, *data, "--out", calibrated],
            ["mask-gate-export", "--weights", calibrated],
        )
        return list(zip(("next", "", ""), map(shlex.join, commands), strict=True))
