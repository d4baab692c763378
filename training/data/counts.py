"""Class counts of a data set: images and boxes per class and split, as a table and a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mask_gate.models.class_colours import class_hex
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.class_names import ClassMap
from mask_gate.training.data.dataset import OUR_NAMES, DatasetFolder
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.data.splits import class_counts

ALL = "all"


@dataclass(frozen=True, slots=True)
class Counts:
    """What one split, or the whole set, holds.

    Attributes:
        name: of the split, or "all".
        images: how many.
        boxes: of each class.
        images_with: how many images have at least one face of each class.
    """

    name: str
    images: int
    boxes: tuple[int, ...]
    images_with: tuple[int, ...]


def count(name: str, images: Sequence[AnnotatedImage]) -> Counts:
    """Count some images."""
    faces = class_counts(images)
    boxes, images_with = faces.sum(axis=0), (faces > 0).sum(axis=0)
    return Counts(name, len(images), tuple(boxes.tolist()), tuple(images_with.tolist()))


def count_splits(dataset: DatasetFolder) -> tuple[Counts, ...]:
    """Every split of the data set, then the whole set."""
    splits = [count(name, dataset.split(name)) for name in dataset.stems_of_split]
    return (*splits, count(ALL, dataset.images))


def sum_counts(name: str, parts: Sequence[Counts]) -> Counts:
    """The sum of counts of separate images."""
    boxes = zip(*(part.boxes for part in parts), strict=True)
    images_with = zip(*(part.images_with for part in parts), strict=True)
    images = sum(part.images for part in parts)
    return Counts(name, images, tuple(map(sum, boxes)), tuple(map(sum, images_with)))


def counts_table(rows: Sequence[Counts], classes: ClassMap = OUR_NAMES) -> str:
    """Boxes of each class, and below them the images that have at least one such face.

    Args:
        rows: of the table.
        classes: what the data set's own names mean; they stand beside ours.
    """
    header = ["", "images", *map(classes.heading, CLASS_NAMES), "all boxes"]
    table = [header]
    table += [[r.name, str(r.images), *map(str, r.boxes), str(sum(r.boxes))] for r in rows]
    table += [["images with at least one face of the class"]]
    table += [[r.name, "", *map(str, r.images_with)] for r in rows]
    widths = [max(len(line[i]) for line in table if i < len(line) > 1) for i in range(len(header))]
    return "\n".join(line[0] if len(line) == 1 else _line(line, widths).rstrip() for line in table)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        f"{cell:<{width}}" if i == 0 else f"{cell:>{width}}"
        for i, (cell, width) in enumerate(zip(cells, widths, strict=False))
    )
    return "  ".join([first, *others])


def counts_picture(rows: Sequence[Counts]) -> bytes:
    """The counts as a PNG: boxes and images of each class, a bar for each split."""
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    splits = [row for row in rows if row.name != ALL] or list(rows)
    _bars(left, [(row.name, row.boxes) for row in splits])
    left.set_title("faces", loc="left")
    _bars(right, [(row.name, row.images_with) for row in splits])
    right.set_title("images with at least one such face", loc="left")
    total = next(row for row in rows if row.name == ALL)
    figure.suptitle(f"{total.images} images, {sum(total.boxes)} faces", x=0.01, ha="left")
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def _bars(axes: Axes, groups: Sequence[tuple[str, Sequence[int]]]) -> None:
    """Bars of each class side by side, one a split: the first strong, the others paler."""
    width = 0.8 / len(groups)
    for index, (name, values) in enumerate(groups):
        alpha = 1.0 if index == 0 else 0.45 / index
        colours = [(class_hex(label), alpha) for label in range(len(values))]
        places = [c + (index - (len(groups) - 1) / 2) * width for c in range(len(values))]
        bars = axes.bar(places, values, width, color=colours, edgecolor="0.3", linewidth=0.6)
        axes.bar_label(bars, [f"{value}\n{name}" for value in values], fontsize=8, padding=2)
    axes.set_xticks(range(len(CLASS_NAMES)), CLASS_NAMES)
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", length=0, labelsize=9)
