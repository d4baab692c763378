"""Comparison: several runs side by side in one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.plots import Run

NOTHING = "-"


def comparison_table(runs: Sequence[Run]) -> str:
    """AP at IoU 0.5 of each run at its best and its last epoch, and the intervals of `best.pth`."""
    rows = [["run", "", "epoch", "mAP", *CLASS_NAMES]]
    for run in runs:
        rows += _rows(run)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _rows(run: Run) -> list[list[str]]:
    course = np.array(run.history.map50, np.float64)
    if not np.isfinite(course).any():
        return [[run.name, "not evaluated", *[NOTHING] * (2 + len(CLASS_NAMES))]]
    rows = [
        [run.name, "best", *_figures(run, int(np.nanargmax(course)))],
        ["", "last", *_figures(run, len(course) - 1)],
    ]
    if run.ap50 is not None:
        estimates = (run.ap50.mean, *run.ap50.per_class)
        between = [f"{estimate.low:.3f}-{estimate.high:.3f}" for estimate in estimates]
        rows.append(["", "best.pth, 95 %", NOTHING, *between])
    return rows


def _figures(run: Run, at: int) -> list[str]:
    history = run.history
    values = [history.map50[at], *(history.ap50[name][at] for name in CLASS_NAMES)]
    return [str(history.epochs[at]), *(f"{value:.3f}" for value in values)]
