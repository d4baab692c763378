"""TensorBoardLog: every figure of every epoch as TensorBoard reads it, where it is installed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from mask_gate.training.learning.trainer import LOSS_NAMES

# What a row holds besides figures.
NOT_FIGURES = ("epoch", "seconds")


class TensorBoardLog:
    """The log of one run.

    Args:
        folder: to write to, made if need be.
        first_epoch: counted from 1; what an earlier log says of it and later ones is forgotten.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter  # only there with the extra

        self._writer = SummaryWriter(str(folder), purge_step=first_epoch)

    def write(self, row: Mapping[str, float]) -> None:
        """Add one epoch, a row of the history; figures that are not known are left out."""
        for name, value in row.items():
            if name not in NOT_FIGURES and math.isfinite(value):
                group = "loss" if name in LOSS_NAMES else "accuracy"
                self._writer.add_scalar(f"{group}/{name}", value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()
