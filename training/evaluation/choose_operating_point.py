"""Operating: thresholds chosen on a dev set, and their errors on images they were not chosen on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.operating_point import (
    UNMEASURED_FACE_SCORE,
    UNMEASURED_MARGIN,
    UNMEASURED_SCORE,
    Calibration,
    ClassPoint,
    OperatingPoint,
)
from mask_gate.models.rate import Rate
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import UsageError
from mask_gate.training.evaluation.calibration import Reliability, calibrated, fit_calibration
from mask_gate.training.evaluation.face_matches import FaceMatches

FOLDS = 5
Rows = Sequence[NDArray[np.float32]]

_BELIEF = 0.5  # a calibrated score above it: more likely than not
_LOWEST_FACE_SCORE, _HIGHEST_FACE_SCORE = 0.02, 0.2
_LEAST_OBJECTNESS = 0.005  # what is below is neither a face nor worth its time


@dataclass(frozen=True, slots=True)
class Aims:
    """What thresholds are chosen by.

    Attributes:
        false_accepts: share of the faces of other classes that may be taken for a class, if that
            costs no more than `false_rejects` of its own faces that were named rightly.
        false_rejects: that share.
        missed: share of the faces found at all that may be below `face_score`, and of rightly
            named faces that the margin may cost.
        min_face: longer side, in parts of the input square, of the smallest face that counts.
    """

    false_accepts: float = 0.01
    false_rejects: float = 0.025
    missed: float = 0.025
    min_face: float = 0.05


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From which scores on a detector is believed (see `OperatingPoint`)."""

    min_scores: Mapping[MaskLabel, float]
    min_margin: float
    face_score: float

    @classmethod
    def of(cls, point: OperatingPoint | None) -> Thresholds:
        """Those of a model; of one that brings none, those that the gate takes then."""
        if point is None:
            scores = dict.fromkeys(MaskLabel, UNMEASURED_SCORE)
            return cls(scores, UNMEASURED_MARGIN, UNMEASURED_FACE_SCORE)
        scores = {x: point.classes[x.name.lower()].min_score for x in MaskLabel}
        return cls(scores, point.min_margin, point.face_score)

    def to_plain(self) -> dict[str, object]:
        """Plain values, for files."""
        return {
            "min_scores": {x.name.lower(): score for x, score in self.min_scores.items()},
            "min_margin": self.min_margin,
            "face_score": self.face_score,
        }


@dataclass(frozen=True, slots=True)
class Fit:
    """What came of it.

    Attributes:
        point: thresholds of all images; errors of each image by thresholds of the others.
        before: reliability of scores as trained.
        after: of each image's scores, calibrated on the others.
    """

    point: OperatingPoint
    before: Reliability
    after: Reliability


def fit_operating_point(
    samples: Sequence[Sample],
    predictions: Rows,
    input_size: int,
    aims: Aims,
    named: Mapping[str, str],
    seed: int = 0,
    shown: FaceMatches | None = None,
) -> Fit:
    """Calibrate, choose thresholds, and measure both by cross-fitting over images.

    Args:
        samples: labelled images that the detector was not trained on.
        predictions: what it says of each, uncalibrated.
        input_size: side of its square.
        aims: what thresholds are chosen by.
        named: `fitted_on` and `fitted_with` of the block.
        seed: of the folds.
        shown: faces of the samples shown in other ways, uncalibrated; `images` says of which
            sample. They count beside the samples for all but `face_score`.

    Raises:
        UsageError: too few faces, or scores that tell nothing.
    """
    if len(samples) < FOLDS:
        raise UsageError(f"an operating point takes at least {FOLDS} images, got {len(samples)}")

    predictions = [rows[rows[:, 4] >= _LEAST_OBJECTNESS] for rows in predictions]

    def near(rows: Rows) -> FaceMatches:
        seen = FaceMatches.of(samples, rows, input_size)
        return seen[seen.sizes >= aims.min_face]

    def fit(raw: FaceMatches) -> tuple[Calibration, FaceMatches, Thresholds]:
        calibration = _fit(raw)
        seen = near([calibrated(rows, calibration) for rows in predictions])
        chosen = seen[np.isin(seen.images, raw.images)]
        if shown is None:
            return calibration, seen, choose_thresholds(chosen, aims)
        others = shown.with_scores(_recalibrated(shown, calibration))
        thresholds = choose_thresholds(chosen, aims, others[np.isin(others.images, raw.images)])
        return calibration, seen.beside(others), thresholds

    raw = near(predictions)
    fold_of = np.random.default_rng(seed).permutation(np.arange(len(samples)) % FOLDS)
    judged, scores, after = [], _scores(raw, None), _scores(raw, None)
    for fold in range(FOLDS):
        held_out = fold_of[raw.images] == fold
        line, seen, thresholds = fit(raw[~held_out])
        judged.append((seen[fold_of[seen.images] == fold], thresholds))
        after[held_out] = _scores(raw, line)[held_out]
    calibration, _, thresholds = fit(raw)
    point = OperatingPoint(
        classes={x.name.lower(): _class_point(x, thresholds, judged) for x in MaskLabel},
        min_margin=thresholds.min_margin,
        face_score=thresholds.face_score,
        missed_faces=_rate(judged, lambda s, t: (s.is_face, s.scores < t.face_score)),
        ghosts=Rate(wrong=sum(_ghosts(seen, t) for seen, t in judged), of=len(samples)),
        min_face=aims.min_face,
        calibration=calibration,
        **named,
    )
    found, right = raw.was_seen, raw.label == raw.truth
    return Fit(
        point,
        Reliability.of(scores[found], right[found]),
        Reliability.of(after[found], right[found]),
    )


def choose_thresholds(
    seen: FaceMatches, aims: Aims, shown: FaceMatches | None = None
) -> Thresholds:
    """Thresholds that meet `aims` on these faces; where both cannot be met, rejects win.

    `shown` are further presentations of faces, which count for all but the face score: how often
    something is missed or seen where nothing is, only whole pictures tell.

    Whatever the errors allow, a class is believed from `_BELIEF` on, if its own faces reach that.
    """
    scores = np.sort(seen.scores[seen.is_face])
    if not len(scores):
        raise UsageError(f"no face of {aims.min_face:g} of the picture's longer side or more")
    # A face that is not found at all is not found by a lower score either, which only adds ghosts.
    scores = scores[scores >= _LOWEST_FACE_SCORE]
    face_score = scores[int(aims.missed * len(scores))] if len(scores) else _LOWEST_FACE_SCORE
    face_score = _down(min(float(face_score), _HIGHEST_FACE_SCORE))
    if shown is not None:
        seen = seen.beside(shown)
    min_scores, margins = {}, []
    for label in MaskLabel:
        said = seen.label == label
        own = said & (seen.truth == label)
        of_others = int((seen.is_face & (seen.truth != label)).sum())
        taken = np.sort(seen.scores[said & seen.is_face & ~own])[::-1]
        allowed = int(aims.false_accepts * of_others)
        safe = float(taken[allowed]) + 0.001 if len(taken) > allowed else 0.0
        score = max(safe, _BELIEF)
        if own.any():
            mine = np.sort(seen.scores[own])
            score = min(score, float(mine[int(aims.false_rejects * len(mine))]))
        min_scores[label] = max(_down(score), face_score)
        margins.append(seen.margins[own & (seen.scores >= min_scores[label])])
    leads = np.sort(np.concatenate(margins))
    lead = float(leads[int(aims.missed * len(leads))]) if len(leads) else 0.0
    return Thresholds(min_scores, min(_down(lead), UNMEASURED_MARGIN), face_score)


def _fit(raw: FaceMatches) -> Calibration:
    faces = raw[raw.is_face & raw.was_seen]
    found = raw[raw.was_seen]
    return fit_calibration(
        found.objectness, found.sides_px, found.is_face, faces.class_scores, faces.truth
    )


def _class_point(
    label: MaskLabel, thresholds: Thresholds, judged: Sequence[tuple[FaceMatches, Thresholds]]
) -> ClassPoint:
    def believed(seen: FaceMatches, by: Thresholds) -> NDArray[np.bool_]:
        sure = (seen.scores >= by.min_scores[label]) & (seen.margins >= by.min_margin)
        return np.asarray(sure & (seen.label == label))

    return ClassPoint(
        min_score=thresholds.min_scores[label],
        false_accepts=_rate(judged, lambda s, t: (s.is_face & (s.truth != label), believed(s, t))),
        false_rejects=_rate(judged, lambda s, t: (s.truth == label, ~believed(s, t))),
    )


def _rate(
    judged: Sequence[tuple[FaceMatches, Thresholds]],
    ask: Callable[[FaceMatches, Thresholds], tuple[NDArray[np.bool_], NDArray[np.bool_]]],
) -> Rate:
    """How often what is asked is wrong, over all folds."""
    counts = [ask(seen, thresholds) for seen, thresholds in judged]
    wrong = sum(int((of & bad).sum()) for of, bad in counts)
    return Rate(wrong=wrong, of=sum(int(of.sum()) for of, _ in counts))


def _ghosts(seen: FaceMatches, thresholds: Thresholds) -> int:
    """Images with a face where none is."""
    ghosts = ~seen.is_face & (seen.scores >= thresholds.face_score)
    return len(np.unique(seen.images[ghosts]))


def _scores(seen: FaceMatches, calibration: Calibration | None) -> NDArray[np.float64]:
    """[N] objectness times the best class, as trained or calibrated."""
    return seen.with_scores(_recalibrated(seen, calibration)).scores


def _recalibrated(seen: FaceMatches, calibration: Calibration | None) -> NDArray[np.float64]:
    """[N, 1 + C] objectness and classes, as trained or calibrated."""
    rows = np.zeros((len(seen.truth), 5 + seen.class_scores.shape[1]), np.float32)
    rows[:, 2:4] = seen.sides_px[:, None]
    rows[:, 4], rows[:, 5:] = seen.objectness, seen.class_scores
    if calibration is not None:
        rows = calibrated(rows, calibration)
    return rows[:, 4:].astype(np.float64)


def _down(score: float) -> float:
    """Three digits, and never above the score itself."""
    return float(np.floor(score * 1000) / 1000)


def describe(fit: Fit) -> str:
    """The operating point for people."""
    point = fit.point
    lines = [f"{'':24}{'from score':>10}   false accepts, false rejects (95 %)"]
    for name in CLASS_NAMES:
        one = point.classes[name]
        told = f"{one.false_accepts}, {one.false_rejects}"
        lines.append(f"{name:24}{one.min_score:>10.3f}   {told}")
    lines += [
        f"{'a face at all':24}{point.face_score:>10.3f}   missed {point.missed_faces}",
        f"{'':24}{'':>10}   images with one where none is {point.ghosts}",
        f"{'margin':24}{point.min_margin:>10.3f}",
        f"faces of {point.min_face:g} of the picture's longer side or more; thresholds are of all "
        f"images,",
        f"errors of each image by thresholds chosen on the others ({FOLDS} folds)",
        f"score and what is right: calibration error {fit.before.error:.3f} before, "
        f"{fit.after.error:.3f} after;",
        f"negative log likelihood {fit.before.loss:.3f} before, {fit.after.loss:.3f} after",
    ]
    return "\n".join(lines)
