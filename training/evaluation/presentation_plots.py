"""Pictures of a presentation run: how each way fared, and what the ways look like."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mask_gate.models.class_colours import class_hex
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.plots import BLUE, GREY, INK, LIGHT, PURPLE, SKY, save

_COLUMNS = {
    "believed_proper": "believed\nproper",
    "named_rightly": "named\nrightly",
    "unseen": "not\nseen",
}
_TILE_PX = 128
_TILES_A_ROW = 7


def draw_shown(summary: Mapping[str, object], path: Path) -> None:
    """Shares of faces as a matrix, a way each row; what is good is blue, what is bad is purple.

    Args:
        summary: of `summarise_shown`.
        path: picture to write.
    """
    ways, totals = summary["ways"], summary["totals"]
    assert isinstance(ways, Mapping)
    assert isinstance(totals, Mapping)
    rows = {**ways, **totals}
    figure = Figure(figsize=(8.4, 1.4 + 0.24 * len(rows)), layout="constrained")
    panels = figure.subplots(1, len(MaskLabel), sharey=True)
    good = LinearSegmentedColormap.from_list("good", ["#FFFFFF", SKY, BLUE])
    bad = LinearSegmentedColormap.from_list("bad", ["#FFFFFF", PURPLE])
    for axes, label in zip(panels, MaskLabel, strict=True):
        name = CLASS_NAMES[label]
        counts = [row[name] for row in rows.values()]
        for place, key in enumerate(_COLUMNS):
            is_good = key == "named_rightly" or (
                key == "believed_proper" and label is MaskLabel.WITH_MASK
            )
            shares = np.array([[c[key] / c["shown"] if c["shown"] else np.nan] for c in counts])
            axes.imshow(
                shares,
                cmap=good if is_good else bad,
                vmin=0,
                vmax=1 if is_good else 0.5,
                aspect="auto",
                extent=(place - 0.5, place + 0.5, len(rows) - 0.5, -0.5),
            )
            for row, share in enumerate(shares[:, 0]):
                text = "–" if np.isnan(share) else f"{100 * share:.0f}"
                ink = "white" if share > (0.55 if is_good else 0.4) else INK
                axes.text(place, row, text, ha="center", va="center", fontsize=8, color=ink)
        shown = counts[0]["shown"]
        axes.set_title(f"{name} ({shown})", fontsize=10, loc="left", color=INK)
        axes.set_xlim(-0.5, len(_COLUMNS) - 0.5)
        bar = Line2D([0, 1], [1, 1], transform=axes.transAxes, color=class_hex(label), lw=5)
        bar.set(clip_on=False, solid_capstyle="butt", zorder=3)
        axes.add_artist(bar)
        axes.set_xticks(range(len(_COLUMNS)), list(_COLUMNS.values()), fontsize=8)
        axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
        axes.axhline(len(ways) - 0.5, color=GREY, lw=0.8)
        axes.tick_params(length=0)
        axes.spines[:].set_color(LIGHT)
    figure.suptitle(
        "Faces shown in every way, in per cent", fontsize=12, color=INK, x=0.01, ha="left"
    )
    save(figure, path)


def draw_ways(shown: Mapping[str, Sample], path: Path) -> None:
    """A sheet of one face in every way, each under its name.

    Args:
        shown: name of the way to the picture.
        path: picture to write.
    """
    rows = -(-len(shown) // _TILES_A_ROW)
    figure = Figure(figsize=(8.4, 1.42 * rows), layout="constrained")
    for axes in (grid := figure.subplots(rows, _TILES_A_ROW, squeeze=False).ravel()):
        axes.axis("off")
    for axes, (name, sample) in zip(grid, shown.items(), strict=False):
        axes.imshow(_tile(sample.image))
        axes.set_title(name, fontsize=7, color=INK)
    save(figure, path)


def _tile(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    small = cv2.resize(image, (_TILE_PX, _TILE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small[..., ::-1], np.uint8)
