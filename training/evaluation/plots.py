"""Pictures of training and evaluation: each a function of plain data and a path, no global state.

Colours are those of Okabe and Ito, told apart by colour-blind eyes too; those of classes mean
nothing else. Lines differ in style as well, for print. Sizes suit a README column: the smallest
letters stay readable 800 pixels wide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patheffects import Normal, withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from mask_gate.models.class_colours import class_hex
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.average_precision import PrecisionRecall
from mask_gate.training.evaluation.bootstrap import Estimate
from mask_gate.training.evaluation.bootstrap import Figure as EstimatedFigure
from mask_gate.training.evaluation.calibration import Reliability

BLACK, ORANGE, SKY, BLUE, PURPLE = "#000000", "#E69F00", "#56B4E9", "#0072B2", "#CC79A7"
INK, GREY, LIGHT = "#222222", "#6B6B6B", "#DDDDDD"
CLASS_STYLES = ("-", "--", "-.")
RUN_COLOURS = (BLUE, ORANGE, PURPLE, SKY, BLACK, GREY, "#7F5539")
RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 160
FEW_EPOCHS = 8
"""So many are points as well as a line, which one alone does not make."""


@dataclass(frozen=True, slots=True)
class AccuracyHistory:
    """Validation accuracy over a training; the lists are parallel, nan where unknown.

    Attributes:
        epochs: numbers of the evaluated epochs, rising.
        map50: mean AP at IoU 0.5.
        ap50: class name to its AP at IoU 0.5.
    """

    epochs: Sequence[int]
    map50: Sequence[float]
    ap50: Mapping[str, Sequence[float]]


@dataclass(frozen=True, slots=True)
class Run:
    """One of several trainings to compare.

    Attributes:
        name: what the legend calls it.
        history: its course.
        ap50: its final figure with intervals; None while there is none.
    """

    name: str
    history: AccuracyHistory
    ap50: EstimatedFigure | None = None


def draw_accuracy(history: AccuracyHistory, path: Path) -> None:
    """Draw mAP and every class's AP over the epochs, the best mAP marked."""
    figure, axes = _sheet("Validation AP at IoU 0.5", "epoch", "AP")
    mark = _mark(history.epochs)
    for name, values in history.ap50.items():
        axes.plot(history.epochs, values, marker=mark, **_of_class(name, 1.6), label=name)
    axes.plot(history.epochs, history.map50, marker=mark, color=BLACK, lw=2.4, label="mean (mAP)")
    best = _best(history.map50)
    if best is None:
        _say_empty(axes, "nothing evaluated yet")
    else:
        epoch, value = history.epochs[best], history.map50[best]
        axes.axvline(epoch, color=GREY, lw=0.8, ls=":")
        axes.plot([epoch], [value], "*", ms=15, color="white", mec=BLACK, mew=1.2, zorder=5)
        label = f"best: {value:.3f}, epoch {epoch}"
        axes.plot([], [], "*", ms=11, color="white", mec=BLACK, ls="none", label=label)
    axes.set_ylim(0, 1)
    _span(axes, history.epochs)
    _legend_below(axes)
    save(figure, path)


def draw_losses(epochs: Sequence[int], parts: Mapping[str, Sequence[float]], path: Path) -> None:
    """Each part of the loss over the epochs, one small panel a part: their scales differ widely.

    Args:
        epochs: rising numbers of the epochs.
        parts: name to one value an epoch; nan leaves a gap.
        path: picture to write.
    """
    columns = max(1, min(3, len(parts)))
    rows = max(1, -(-len(parts) // columns))
    figure = Figure(figsize=(8.4, 0.4 + 2.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.suptitle("Training loss", fontsize=12, color=INK, x=0.01, ha="left")
    for axes, (name, values) in zip(grid, parts.items(), strict=False):
        _plain(axes, x_label="epoch")
        axes.plot(epochs, values, marker=_mark(epochs), color=RUN_COLOURS[0], lw=1.8)
        axes.set_title(name, fontsize=10, loc="left", color=INK)
        highest = max((value for value in values if np.isfinite(value)), default=0.0)
        axes.set_ylim(0, 1.1 * highest or 1.0)
        _span(axes, epochs)
    for axes in grid[len(parts) :]:
        axes.axis("off")
    if not parts:
        _say_empty(grid[0], "no losses yet")
    save(figure, path)


def draw_precision_recall(
    curves: Mapping[str, PrecisionRecall], path: Path, min_score: float | None = None
) -> None:
    """Precision over recall per class at IoU 0.5.

    Args:
        curves: class name to its curve.
        path: picture to write.
        min_score: score threshold in use, marked on each curve where it cuts it off.
    """
    figure, axes = _sheet("Precision and recall at IoU 0.5", "recall", "precision", (6.2, 5.2))
    for name, curve in curves.items():
        look = _of_class(name, 2.0)
        label = f"{name}: no faces" if np.isnan(curve.ap) else f"{name}: AP {curve.ap:.3f}"
        axes.plot(curve.recall, curve.precision, **look, label=label)
        kept = 0 if min_score is None else int(np.sum(curve.scores >= min_score))
        if kept:
            point = curve.recall[kept - 1], curve.precision[kept - 1]
            dot = {"color": look["color"], "mec": BLACK, "mew": 0.8, "zorder": 5}
            axes.plot(*point, "o", ms=8, **dot, clip_on=False)
    if min_score is not None:
        label = f"at score {min_score:g}"
        axes.plot([], [], "o", ms=8, color="white", mec=BLACK, mew=0.8, ls="none", label=label)
    axes.set_xlim(0, 1.005)
    axes.set_ylim(0, 1.02)
    if curves:
        _legend_below(axes, columns=2)
    else:
        _say_empty(axes, "no classes")
    save(figure, path)


def draw_confusion(matrix: NDArray[np.integer], path: Path) -> None:
    """Counts of truth (rows) against detection (columns), background last, shaded by row share.

    Args:
        matrix: [C + 1, C + 1] as `confusion_matrix` counts.
        path: picture to write.
    """
    figure = Figure(figsize=(6.8, 5.0), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shades = LinearSegmentedColormap.from_list("shades", ["#FFFFFF", SKY, BLUE])
    axes.imshow(share, cmap=shades, vmin=0, vmax=1, aspect="auto")
    names = [_two_lines(name) for name in CLASS_NAMES]
    places = range(len(matrix))
    axes.set_xticks(places, [*names, "not\nseen"], fontsize=9)
    axes.set_yticks(places, [*names, "not\nannotated"], fontsize=9)
    axes.set_xlabel("detected as", color=INK)
    axes.set_ylabel("annotated as", color=INK)
    axes.set_title("Faces by class, and their share of the row", fontsize=12, loc="left", color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for row, column in np.ndindex(matrix.shape):
        if row == column == len(matrix) - 1:
            text, colour = "–", GREY
        else:
            text = f"{matrix[row, column]}\n{share[row, column]:.0%}"
            colour = "white" if share[row, column] > 0.55 else INK
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=11)
    for label in range(len(CLASS_NAMES)):
        _edge(axes, label, (-0.5, label - 0.5), (0.0, 1.0))
        _edge(axes, label, (label - 0.5, len(matrix) - 0.5), (1.0, 0.0))
    axes.set_xticks(np.arange(len(matrix) - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(len(matrix) - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=LIGHT, lw=1)
    axes.tick_params(which="minor", length=0)
    save(figure, path)


def draw_reliability(curves: Mapping[str, Reliability], path: Path) -> None:
    """How often detections of a score are right, against that score; the diagonal is ideal.

    Args:
        curves: such as `as trained` and `calibrated`.
        path: picture to write.
    """
    figure, axes = _sheet("What scores are worth", "score", "share that is right", (6.2, 5.2))
    axes.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls=":")
    for index, (name, curve) in enumerate(curves.items()):
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        style = CLASS_STYLES[index % len(CLASS_STYLES)]
        label = f"{name}: error {curve.error:.3f}"
        axes.plot(curve.score, curve.share, color=colour, ls=style, lw=1.6, label=label)
        areas = 8 + 120 * np.sqrt(curve.count / max(1, curve.count.max(initial=1)))
        axes.scatter(curve.score, curve.share, areas, color=colour, ec=BLACK, lw=0.7, zorder=5)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.02)
    if curves:
        _legend_below(axes)
    else:
        _say_empty(axes, "no scores")
    save(figure, path)


def draw_comparison(runs: Sequence[Run], path: Path) -> None:
    """Several trainings side by side: mAP over epochs, and the final AP of each with intervals."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    course, final = figure.subplots(1, 2, width_ratios=(1, 1.15))
    _plain(course, "mAP over the epochs", "epoch", "mAP at IoU 0.5")
    _plain(final, "At the chosen epoch, with 95 % interval", "", "AP at IoU 0.5")
    groups = ["mean (mAP)", *CLASS_NAMES]
    step = 0.75 / max(1, len(runs))
    for index, run in enumerate(runs):
        colour = RUN_COLOURS[index % len(RUN_COLOURS)]
        marker = RUN_MARKERS[index % len(RUN_MARKERS)]
        mark = _mark(run.history.epochs)
        course.plot(run.history.epochs, run.history.map50, marker=mark, color=colour, lw=1.6)
        best = _best(run.history.map50)
        if best is not None:
            point = run.history.epochs[best], run.history.map50[best]
            course.plot(*point, marker, ms=7, color=colour, mec=BLACK, mew=0.7, zorder=5)
        places = np.arange(len(groups)) + (index - (len(runs) - 1) / 2) * step
        estimates = [] if run.ap50 is None else [run.ap50.mean, *run.ap50.per_class]
        _whiskers(final, places, estimates, colour, marker)
        course.plot([], [], color=colour, marker=marker, mec=BLACK, mew=0.7, lw=1.6, label=run.name)
    for axes in (course, final):
        axes.set_ylim(0, 1)
    _span(course, [epoch for run in runs for epoch in run.history.epochs])
    final.set_xticks(range(len(groups)), [_two_lines(name) for name in groups], fontsize=9)
    final.grid(visible=False, axis="x")
    final.set_xlim(-0.5, len(groups) - 0.5)
    for border in np.arange(len(groups) - 1) + 0.5:
        final.axvline(border, color=LIGHT, lw=0.8)
    if runs:
        figure.legend(loc="outside lower left", ncols=3, frameon=False, fontsize=9)
    else:
        _say_empty(course, "no runs")
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write the picture, making its folder; the suffix chooses the format.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=DPI, facecolor="white")


def _sheet(
    title: str, x_label: str, y_label: str, size_in: tuple[float, float] = (7.4, 4.4)
) -> tuple[Figure, Axes]:
    """A figure with one plain pair of axes."""
    figure = Figure(figsize=size_in, layout="constrained")
    axes = figure.subplots()
    _plain(axes, title, x_label, y_label)
    return figure, axes


def _plain(axes: Axes, title: str = "", x_label: str = "", y_label: str = "") -> None:
    """No box, a faint grid, whole numbers where epochs are counted."""
    axes.set_title(title, fontsize=12, loc="left", color=INK)
    axes.set_xlabel(x_label, color=INK)
    axes.set_ylabel(y_label, color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=LIGHT, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, colors=INK)
    if x_label == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))


def _whiskers(
    axes: Axes,
    places: NDArray[np.floating],
    estimates: Sequence[Estimate],
    colour: str,
    marker: str,
) -> None:
    """A mark with its interval at each place; an estimate that is nan leaves a gap."""
    for place, estimate in zip(places, estimates, strict=False):
        if np.isfinite(estimate.value):
            axes.vlines(place, estimate.low, estimate.high, color=colour, lw=1.8)
            axes.plot([place], [estimate.value], marker, ms=6, color=colour, mec=BLACK, mew=0.7)


def _legend_below(axes: Axes, columns: int = 3) -> None:
    """The legend under the axes, where it can hide no line."""
    axes.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.14),
        ncols=columns,
        frameon=False,
        fontsize=9,
        handlelength=3,
    )


def _two_lines(class_name: str) -> str:
    """A class name broken at its last underscore, to fit under a column."""
    return "\n".join(class_name.rsplit("_", 1))


def _of_class(name: str, width: float) -> dict[str, Any]:
    """How the line of a class looks: its colour, edged so that yellow stands out from paper."""
    label = CLASS_NAMES.index(name)
    edge = [withStroke(linewidth=width + 1.2, foreground=INK), Normal()]
    return {
        "color": class_hex(label),
        "ls": CLASS_STYLES[label],
        "lw": width,
        "path_effects": edge,
    }


def _edge(
    axes: Axes, label: int, from_xy: tuple[float, float], along_xy: tuple[float, float]
) -> None:
    """A bar in the colour of a class along the edge of the axes, one unit long."""
    (x, y), (dx, dy) = from_xy, along_xy
    axes.plot(
        [x, x + dx], [y, y + dy], color=class_hex(label), lw=9, solid_capstyle="butt", zorder=3
    )


def _mark(epochs: Sequence[int]) -> str:
    """The mark of each epoch: few are points as well as a line."""
    return "o" if len(epochs) <= FEW_EPOCHS else ""


def _span(axes: Axes, epochs: Sequence[int]) -> None:
    """The epochs with some room beside them; one alone is in the middle, between no others."""
    if epochs:
        room = max(0.5, 0.03 * (max(epochs) - min(epochs)))
        axes.set_xlim(min(epochs) - room, max(epochs) + room)


def _best(values: Sequence[float]) -> int | None:
    """Position of the largest value, the first of equals; None if there is no number."""
    numbers = np.asarray(values, np.float64)
    return int(np.nanargmax(numbers)) if np.isfinite(numbers).any() else None


def _say_empty(axes: Axes, text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
