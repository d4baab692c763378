"""The worst mistakes of a detector, found and laid out as one picture to look at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.patheffects import Normal, withStroke
from numpy.typing import NDArray

from mask_gate.models.class_colours import class_hex
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.evaluation.confusion import pair_class_blind
from mask_gate.training.evaluation.metrics import ImageResult, face_sizes_px
from mask_gate.training.evaluation.plots import GREY, INK, save

DASHED = (0, (3, 2))
HALO = withStroke(linewidth=3.4, foreground=INK)  # keeps a frame visible on any picture
LONGEST_NAME = 24
"""Letters of an image's name that fit below a picture."""
CONTEXT = 2.2
"""Side of a crop in longer sides of the face: enough to see whose face it is."""
SMALLEST_CROP_PX = 48


class MistakeKind(StrEnum):
    """The three ways to be wrong about a face; the value is the heading of its row.

    What is detected and not annotated may be invented, or a face that nobody labelled.
    """

    WRONG_CLASS = "wrong class"
    MISSED = "missed face"
    UNANNOTATED = "not annotated"


@dataclass(frozen=True, slots=True)
class Mistake:
    """One face told wrongly, missed, or detected where none is annotated.

    Attributes:
        image: name of the image.
        truth_box_xyxy: the annotated face in image pixels; None if there is none.
        said_box_xyxy: the detection in image pixels; None if there is none.
        score: the detection's score; 0 for a missed face.
        severity: higher is worse; comparable within one kind only.
    """

    kind: MistakeKind
    image: str
    truth: MaskLabel | None
    said: MaskLabel | None
    truth_box_xyxy: tuple[float, ...] | None
    said_box_xyxy: tuple[float, ...] | None
    score: float
    severity: float


def find_mistakes(results: Sequence[ImageResult], min_score: float) -> list[Mistake]:
    """Every mistake among detections of at least `min_score`, the worst of each kind first.

    A wrong class or an unannotated face is worse the surer the detector was of it; a wrong
    `with_mask` is worse than any other, because it is the one that opens a door. A missed face is
    worse the larger it is.
    """
    mistakes = [mistake for result in results for mistake in _mistakes_of(result, min_score)]
    kinds = list(MistakeKind)
    return sorted(mistakes, key=lambda m: (kinds.index(m.kind), -m.severity, m.image))


def draw_mistakes(
    mistakes: Sequence[Mistake],
    load_image: Callable[[str], NDArray[np.uint8]],
    path: Path,
    columns: int = 5,
) -> None:
    """A row per kind with its first `columns` mistakes; the heading tells how many there are.

    Args:
        mistakes: as `find_mistakes` gives them.
        load_image: image name to [H, W, 3] uint8 RGB.
        path: picture to write; its suffix chooses the format.
        columns: most pictures in a row.
    """
    rows = [[m for m in mistakes if m.kind is kind] for kind in MistakeKind]
    heights = [2.15 if found else 0.3 for found in rows]
    figure = Figure(figsize=(8.4, 0.3 + sum(heights)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for kind, found, axes in zip(MistakeKind, rows, grid, strict=True):
        for cell in axes:
            cell.set(xticks=[], yticks=[], frame_on=False)
        for cell, mistake in zip(axes, found, strict=False):
            _draw(cell, mistake, load_image(mistake.image))
        _head(axes[0], f"{kind}: {len(found) or 'none'}", upright=bool(found))
    lines = [
        Line2D([], [], color=INK, lw=2, label="annotated"),
        Line2D([], [], color=INK, lw=2, ls=DASHED, label="detected, with its score"),
        *(
            Patch(facecolor=class_hex(label), edgecolor=INK, lw=0.6, label=name)
            for label, name in enumerate(CLASS_NAMES)
        ),
    ]
    figure.legend(handles=lines, loc="outside lower right", ncols=5, frameon=False, fontsize=9)
    save(figure, path)


def _mistakes_of(result: ImageResult, min_score: float) -> list[Mistake]:
    """One image's mistakes, in no particular order."""
    found = result.detections
    pairs = pair_class_blind(result, min_score)
    kept = np.flatnonzero(found.scores >= min_score)
    paired_truths, paired_found = {truth for truth, _ in pairs}, {said for _, said in pairs}
    wrong = [
        _mistake(MistakeKind.WRONG_CLASS, result, truth, said)
        for truth, said in pairs
        if result.truth_labels[truth] != found.labels[said]
    ]
    missed = [
        _mistake(MistakeKind.MISSED, result, truth, None)
        for truth in range(len(result.truth_labels))
        if truth not in paired_truths
    ]
    invented = [
        _mistake(MistakeKind.UNANNOTATED, result, None, int(said))
        for said in kept
        if said not in paired_found
    ]
    return wrong + missed + invented


def _mistake(
    kind: MistakeKind, result: ImageResult, truth: int | None, said: int | None
) -> Mistake:
    """The mistake made of one truth, one detection, or both."""
    label = None if said is None else MaskLabel(int(result.detections.labels[said]))
    score = 0.0 if said is None else float(result.detections.scores[said])
    severity = score + (label is MaskLabel.WITH_MASK)
    if truth is not None and said is None:
        severity = float(face_sizes_px(result.truth_boxes_xyxy, result.size_hw)[truth])
    return Mistake(
        kind=kind,
        image=result.name,
        truth=None if truth is None else MaskLabel(int(result.truth_labels[truth])),
        said=label,
        truth_box_xyxy=None if truth is None else tuple(result.truth_boxes_xyxy[truth].tolist()),
        said_box_xyxy=None if said is None else tuple(result.detections.boxes_xyxy[said].tolist()),
        score=score,
        severity=severity,
    )


def _draw(axes: Axes, mistake: Mistake, image: NDArray[np.uint8]) -> None:
    """One mistake: the face in its surroundings, both boxes, what it is and what was said."""
    left, top, right, bottom = _crop(mistake, (image.shape[0], image.shape[1]))
    axes.imshow(
        image[top:bottom, left:right],
        extent=(left, right, bottom, top),
        interpolation="lanczos",
    )
    for box, label, style in (
        (mistake.truth_box_xyxy, mistake.truth, "-"),
        (mistake.said_box_xyxy, mistake.said, DASHED),
    ):
        if box is not None and label is not None:
            x1, y1, x2, y2 = box
            frame = Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ls=style, lw=1.6)
            frame.set_edgecolor(class_hex(label))
            frame.set_path_effects([HALO, Normal()])
            axes.add_patch(frame)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    was = "not annotated" if mistake.truth is None else f"is {CLASS_NAMES[mistake.truth]}"
    said = (
        "not seen" if mistake.said is None else f"{CLASS_NAMES[mistake.said]} {mistake.score:.2f}"
    )
    axes.set_title(f"{was}\n{said}", fontsize=7, color=INK, loc="left", pad=3)
    name = mistake.image
    if len(name) > LONGEST_NAME:  # the beginning is often shared
        name = f"…{name[1 - LONGEST_NAME :]}"
    axes.set_xlabel(name, fontsize=7, color=GREY, loc="left", labelpad=2)


def _head(axes: Axes, text: str, upright: bool) -> None:
    """The heading of a row, upright at its left; all there is of a row without pictures."""
    said = axes.text(
        -0.06 if upright else 0.0,
        0.5,
        text,
        transform=axes.transAxes,
        rotation=90 if upright else 0,
        ha="right" if upright else "left",
        va="center",
        fontsize=10,
        fontweight="bold",
        color=INK,
    )
    said.set_in_layout(upright)  # a long one makes no column wider


def _crop(mistake: Mistake, size_hw: tuple[int, int]) -> tuple[int, int, int, int]:
    """A square window (left, top, right, bottom) around both boxes, pushed inside the image."""
    boxes = np.array([b for b in (mistake.truth_box_xyxy, mistake.said_box_xyxy) if b is not None])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = max(SMALLEST_CROP_PX, CONTEXT * float((high - low).max()))
    side = round(min(side, *size_hw))
    height, width = size_hw
    left, top = np.round((low + high) / 2 - side / 2).astype(int)
    left, top = int(np.clip(left, 0, width - side)), int(np.clip(top, 0, height - side))
    return left, top, left + side, top + side
