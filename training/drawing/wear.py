"""Wear: the ways to wear a mask, and where its surface lies on the head in each of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mask_gate.models.labels import MaskLabel
from mask_gate.training.drawing.head import (
    LIPS,
    LOWER_LIP,
    NOSE_BASE,
    NOSE_TIP,
    UPPER_LIP,
    Head,
    Vector,
)
from mask_gate.training.drawing.textures import Random

COLUMNS, ROWS = 25, 17


@dataclass(frozen=True, slots=True)
class Fit:
    """Where the four edges of a mask lie; heights in the head's frame.

    Attributes:
        top: upper edge on the middle of the face.
        bottom: lower edge there.
        side_top: upper edge where it ends at the sides.
        side_bottom: lower edge there.
        outward: how far out the sides reach, 0 to 1 (the outline of the face).
        overhang: how far they stand off the face.
        lowest: the jaw's shape is read no lower than here; below it the mask hangs straight.
        lift: how far the cloth stands off the middle line.
        top_curve: how late the upper edge leaves the middle's height on its way to the sides.
        bottom_curve: the same of the lower edge.
        left_cut: where the cloth begins, -1 (all of it) to 0 (it ends at the middle line).
        hides_nose: whether cloth may lie over the nose.
        hides_face: whether cloth may lie over the face at all.
        tilt: how much lower the right side sits than the left one, halved.
    """

    top: float
    bottom: float
    side_top: float
    side_bottom: float
    outward: float
    overhang: float = 0.02
    lowest: float = 0.92
    lift: float = 0.03
    top_curve: float = 1.3
    bottom_curve: float = 2.0
    left_cut: float = -1.0
    hides_nose: bool = True
    hides_face: bool = True
    tilt: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """A mask in space.

    Attributes:
        grid: [rows, columns, 3] in the head's frame, from the upper edge down, left to right.
        texture_from: the first column's place on the texture, 0 to 1; the last one's is 1.
        fit: how it is worn.
    """

    grid: Vector
    texture_from: float
    fit: Fit


@dataclass(frozen=True, slots=True)
class Way:
    """One way to wear a mask.

    Attributes:
        label: what a detector should say.
        fit: where the mask lies on a head, by chance within the way.
        least_shown: cloth that must be seen, in areas of the face's box, for the label to be true.
        share: how often it is drawn, against the other variants.
        creased: how much the cloth is crumpled, from and to.
    """

    label: MaskLabel
    fit: Callable[[Head, Random], Fit]
    least_shown: float
    share: float
    creased: tuple[float, float] = field(default=(0.04, 0.20))


def surface(head: Head, fit: Fit, rng: Random) -> Surface:
    """Span the cloth between the middle line of the face and its sides."""
    heights, depths = head.middle(fit.top, fit.bottom, ROWS)
    skew, shift, taper = rng.normal(0, 0.02), rng.normal(0, 0.015), rng.uniform(0.08, 0.35)
    narrow = rng.uniform(0, 0.05) if fit.hides_face and fit.bottom < 1.2 else 0.0
    wave = rng.uniform(0, 6.28), rng.uniform(2, 5), rng.uniform(0, 0.012)
    lean = rng.normal(0, 0.12) if fit.left_cut > -1 else 0.0
    grid = np.zeros((ROWS, COLUMNS, 3))
    for row, down in enumerate(np.linspace(0, 1, ROWS)):
        depth = depths[row] + fit.lift * (0.4 + math.sin(math.pi * down))
        ends = {}
        for side in (-1, 1):
            y = fit.side_top + (fit.side_bottom - fit.side_top) * down + side * fit.tilt
            end = head.cheek(y + skew * (side > 0), fit.outward, side, fit.lowest)
            end[0] *= _neck_width(y, fit, taper * down)
            end[2] -= max(0.0, y - 0.95) * 0.3
            end[0] += side * (fit.overhang - narrow * math.sin(math.pi * down))
            ends[side] = end
        begin = min(fit.left_cut + lean * (down - 0.5), 0.3) if fit.left_cut > -1 else -1.0
        across = np.linspace(begin, 1, COLUMNS)
        away = np.abs(across)
        end_xyz = np.where((across < 0)[:, None], ends[-1], ends[1])
        curve = fit.top_curve + (fit.bottom_curve - fit.top_curve) * down
        waves = wave[2] * np.sin(wave[0] + wave[1] * across) * (1 - away) * (1 - down)
        grid[row, :, 0] = shift * (1 - away) + end_xyz[:, 0] * np.sin(away * math.pi / 2)
        grid[row, :, 1] = heights[row] + (end_xyz[:, 1] - heights[row]) * away**curve + waves
        grid[row, :, 2] = end_xyz[:, 2] + (depth - end_xyz[:, 2]) * np.cos(away * math.pi / 2)
    return Surface(grid, (fit.left_cut + 1) / 2, fit)


def _neck_width(y: float, fit: Fit, taper: float) -> float:
    if not fit.hides_face:
        return 1 - taper
    return 1 - min(0.3, max(0.0, y - 0.95) * 0.7)


def _tilt(rng: Random) -> float:
    return float(rng.normal(0, 0.022 if rng.random() < 0.8 else 0.06))


def _proper(head: Head, rng: Random) -> Fit:
    u = rng.uniform
    return Fit(
        u(0.10, 0.30), u(1.02, 1.13), u(0.27, 0.43), u(0.74, 0.93), u(0.25, 0.95),
        overhang=u(0, 0.035), lift=u(0.01, 0.05), top_curve=u(1.05, 1.6),
        bottom_curve=u(1.7, 2.4), tilt=_tilt(rng),
    )  # fmt: skip


def _under_nose(head: Head, rng: Random) -> Fit:
    u = rng.uniform
    top = min(head.height_of(NOSE_BASE) + u(0.012, 0.10), head.height_of(UPPER_LIP))
    return _small_sometimes(
        rng, Fit(
            top, u(1.0, 1.17), u(0.36, 0.66), u(0.80, 1.0), u(0.25, 0.95),
            overhang=u(0, 0.035), lift=u(0.01, 0.05), top_curve=u(0.9, 2.4),
            bottom_curve=u(1.7, 2.4), hides_nose=False, tilt=_tilt(rng),
        )
    )  # fmt: skip


def _nose_tip(head: Head, rng: Random) -> Fit:
    """The edge lies on the nostrils and the tip looks over it."""
    u = rng.uniform
    tip, base = head.height_of(NOSE_TIP), head.height_of(NOSE_BASE)
    return _small_sometimes(
        rng, Fit(
            tip + u(0.35, 1.0) * (base - tip), u(1.0, 1.15), u(0.33, 0.55), u(0.78, 0.97),
            u(0.25, 0.95), overhang=u(0, 0.035), lift=u(0.01, 0.05), top_curve=u(0.9, 1.8),
            bottom_curve=u(1.7, 2.4), hides_nose=False, tilt=_tilt(rng),
        )
    )  # fmt: skip


def _small_sometimes(rng: Random, fit: Fit) -> Fit:
    """Now and then a mask too small to reach below the chin."""
    if rng.random() >= 0.18:
        return fit
    bottom = float(rng.uniform(0.90, 1.0))
    values = {name: getattr(fit, name) for name in Fit.__dataclass_fields__}
    side_bottom = max(min(fit.side_bottom, bottom - 0.05), fit.side_top + 0.12)
    return Fit(**values | {"bottom": bottom, "side_bottom": side_bottom})


def _chin(head: Head, rng: Random) -> Fit:
    u = rng.uniform
    top = min(head.height_of(LOWER_LIP) + u(0.015, 0.10), 0.97)
    side_top = u(0.58, 0.90)
    bottom = u(1.06, 1.30)
    return Fit(
        top, bottom, side_top, max(min(u(0.90, 1.12), bottom - 0.02), side_top + 0.12),
        u(0.45, 1.0), overhang=u(0, 0.035), lowest=u(0.78, 0.90), lift=u(0.02, 0.08),
        top_curve=u(1.0, 2.4), bottom_curve=u(1.7, 2.4), tilt=_tilt(rng),
    )  # fmt: skip


def _neck(head: Head, rng: Random) -> Fit:
    u = rng.uniform
    top = u(0.93, 1.04)
    bottom = top + u(0.22, 0.45)
    return Fit(
        top, bottom, u(0.72, 0.95), min(u(1.0, 1.22), bottom - 0.02), u(0.6, 1.0),
        overhang=u(-0.04, 0.02), lowest=u(0.66, 0.80), lift=u(0, 0.06), top_curve=u(1.2, 2.2),
        bottom_curve=u(1.7, 2.4), hides_face=rng.random() >= 0.65, tilt=_tilt(rng),
    )  # fmt: skip


def _over_eyes(head: Head, rng: Random) -> Fit:
    """Pushed up until the eyes are covered: the mouth free, or the nose as well."""
    u = rng.uniform
    bottom = u(head.height_of(NOSE_TIP) - 0.12, head.height_of(UPPER_LIP))
    return Fit(
        u(-0.36, -0.14), bottom, u(-0.26, -0.08), bottom - u(0.05, 0.22), u(0.55, 1.0),
        overhang=u(0, 0.03), lift=u(0.01, 0.05), top_curve=u(1.2, 2.4),
        bottom_curve=u(1.0, 2.2), tilt=_tilt(rng),
    )  # fmt: skip


def _mouth_free(head: Head, rng: Random) -> Fit:
    """Pulled up from below: the nose covered, the lips and the chin free."""
    u = rng.uniform
    bottom = u(head.height_of(NOSE_BASE) + 0.01, head.height_of(LIPS))
    top = u(0.02, 0.24)
    side_top = u(0.10, 0.36)
    return Fit(
        top, bottom, side_top, max(bottom - u(0.0, 0.2), side_top + 0.12), u(0.25, 0.95),
        overhang=u(0, 0.035), lift=u(0.01, 0.06), top_curve=u(1.0, 1.8),
        bottom_curve=u(1.0, 2.4), tilt=_tilt(rng),
    )  # fmt: skip


def _slipped(head: Head, rng: Random) -> Fit:
    """Hanging on one ear and turned to its side: half of nose and mouth are free."""
    u = rng.uniform
    return Fit(
        u(0.12, 0.42), u(0.95, 1.15), u(0.27, 0.5), u(0.80, 1.0), u(0.35, 1.0),
        overhang=u(0, 0.05), lift=u(0.02, 0.08), top_curve=u(1.05, 1.8),
        bottom_curve=u(1.5, 2.4), left_cut=u(-0.15, 0.15), tilt=u(-0.02, 0.08),
    )  # fmt: skip


_WRONG = MaskLabel.MASK_WEARED_INCORRECT
WAYS: dict[str, Way] = {
    "proper": Way(MaskLabel.WITH_MASK, _proper, 0.22, 0.20),
    "under_nose": Way(_WRONG, _under_nose, 0.16, 0.16),
    "nose_tip": Way(_WRONG, _nose_tip, 0.16, 0.08),
    "chin": Way(_WRONG, _chin, 0.05, 0.10, (0.12, 0.34)),
    "neck": Way(_WRONG, _neck, 0.085, 0.04, (0.12, 0.34)),
    "over_eyes": Way(_WRONG, _over_eyes, 0.12, 0.07),
    "mouth_free": Way(_WRONG, _mouth_free, 0.08, 0.09),
    "slipped": Way(_WRONG, _slipped, 0.12, 0.05),
}
