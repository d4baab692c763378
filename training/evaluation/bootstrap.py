"""Bootstrap intervals: how far a figure would move had other images of the same kind been met.

Whole images are drawn again with replacement, for the faces of one image are not independent.
Matching is done once; a resample only says how often each image counts. A resample without any
truth of a class has no figure for it: that class's interval and the mean leave it out.

Intervals are bias-corrected percentiles. AP is too kind to small sets (its envelope keeps every
lucky peak), and a resample holds fewer different faces than the set it is drawn from: plain
percentiles sit too high and miss the truth more often, most of all for small size bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

import numpy as np

from mask_gate.training.evaluation.average_precision import Floats, mean_over_classes

RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; all three nan where there was nothing to measure."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure per class, in the order of `MaskLabel`, and their mean."""

    mean: Estimate
    per_class: tuple[Estimate, ...]


class NamedScores(Protocol):
    """What a protocol makes of matched images."""

    def by_name(self) -> dict[str, Floats]:
        """Each figure's values [C, R] under its name in files and tables."""
        ...


class Matches(Protocol):
    """Images whose detections are matched already: strict or by the report's rules."""

    @property
    def names(self) -> tuple[str, ...]:
        """[I] the images, in the order of the weights' first axis."""
        ...

    def scores(self, image_weights: Floats) -> NamedScores:
        """All figures with image i met `image_weights[i, r]` times, [I, R]."""
        ...


def resample_weights(images: int, resamples: int, rng: np.random.Generator) -> Floats:
    """How often each image is drawn: [images, resamples]; every column sums to `images`."""
    if images == 0:
        return np.zeros((0, resamples))
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=resamples)
    return drawn.T.astype(np.float64)


def estimate_figures(
    matches: Matches, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """Every figure of one evaluation with its interval at `LEVEL`."""
    return _figures(_sampled(matches, _once_and_again(matches, rng, resamples)))


def estimate_differences(
    ours: Matches, theirs: Matches, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Figure]:
    """Every figure of `ours` minus that of `theirs`, both met with the very same images.

    This is the test for "is A better than B": hard images are hard for both, so the interval of
    the difference is narrower than the two intervals suggest. It says nothing about the luck of
    the training seed.

    Raises:
        ValueError: the two were not evaluated on the same images, or by different protocols.
    """
    if ours.names != theirs.names:
        raise ValueError("expected both evaluations on the same images; evaluate both on one list")
    weights = _once_and_again(ours, rng, resamples)
    first, second = _sampled(ours, weights), _sampled(theirs, weights)
    if first.keys() != second.keys():
        raise ValueError("expected both evaluations by the same protocol, got different figures")
    return _figures({name: first[name] - second[name] for name in first})


def _once_and_again(matches: Matches, rng: np.random.Generator, resamples: int) -> Floats:
    """[I, 1 + resamples] weights; the first column, all ones, is the evaluation itself."""
    images = len(matches.names)
    return np.hstack([np.ones((images, 1)), resample_weights(images, resamples, rng)])


def _sampled(matches: Matches, weights: Floats) -> dict[str, Floats]:
    """Each figure [1 + C, R]: the mean over classes first, so it has an interval of its own."""
    per_class = matches.scores(weights).by_name()
    return {name: np.vstack([mean_over_classes(ap), ap]) for name, ap in per_class.items()}


def _figures(sampled: Mapping[str, Floats]) -> dict[str, Figure]:
    """Rows [1 + C, 1 + resamples] to values and intervals."""
    estimates = {name: [_estimate(row) for row in rows] for name, rows in sampled.items()}
    return {name: Figure(found[0], tuple(found[1:])) for name, found in estimates.items()}


def _estimate(row: Floats) -> Estimate:
    """[1 + resamples], the plain figure first, to an estimate (Efron's BC percentiles)."""
    value, known = float(row[0]), row[1:][np.isfinite(row[1:])]
    if not np.isfinite(value) or not len(known):
        return Estimate(value, np.nan, np.nan)
    normal, tail = NormalDist(), (1 - LEVEL) / 2
    below = (np.mean(known < value) + np.mean(known <= value)) / 2
    seldom = 0.5 / len(known)  # rarer than this a set of resamples cannot tell
    shift = 2 * normal.inv_cdf(float(np.clip(below, seldom, 1 - seldom)))
    corrected = [normal.cdf(shift + normal.inv_cdf(share)) for share in (tail, 1 - tail)]
    low, high = np.quantile(known, corrected)
    return Estimate(value, float(low), float(high))
