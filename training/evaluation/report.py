"""The report of one evaluation: both protocols with intervals, counts, settings; JSON and text."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.bootstrap import (
    LEVEL,
    RESAMPLES,
    Estimate,
    Figure,
    estimate_differences,
    estimate_figures,
)
from mask_gate.training.evaluation.confusion import confusion_matrix
from mask_gate.training.evaluation.metrics import (
    MATCH_IOU,
    MAX_DETECTIONS_PER_IMAGE,
    SIZE_BIN_INPUT_PX,
    SIZE_BINS,
    ImageResult,
    StrictMatches,
)
from mask_gate.training.evaluation.report_protocol import (
    MAXIMA_MIN_OBJECTNESS,
    NOT_STANDARD,
    LenientMatches,
)

FORMAT = "mask-gate evaluation 1"
ROW_NAMES = {
    "ap50": "AP50",
    "ap50_95": "AP50:95",
    "under_16": "  under 16 px",
    "16_to_32": "  16 to 32 px",
    "over_32": "  over 32 px",
    "ap50_under_16": "  under 16 px",
    "ap50_16_to_32": "  16 to 32 px",
    "ap50_over_32": "  over 32 px",
    "ap50_101_point": "AP50",
    "ap50_95_101_point": "AP50:95",
    "lenient_ap50": "lenient AP50",
}
POINTS_101 = ("ap50_101_point", "ap50_95_101_point")


@dataclass(frozen=True, slots=True)
class ReportSection:
    """The figures by the report's own rules, which are not a standard metric."""

    figures: Mapping[str, Figure]
    min_objectness: float


@dataclass(frozen=True, slots=True)
class EvaluationReport:
    """Everything that was measured on one set of images.

    Attributes:
        images: how many there were.
        truths: [C] annotated faces per class.
        truths_by_size: size bin to its [C] faces per class.
        detections: [C] detections per class that the strict protocol looked at.
        strict: figure name to values and intervals.
        lenient: the same by the report's rules; None where it was not asked for.
        differences: `strict` minus the same of other weights; None where there were none.
        confusion: [C + 1][C + 1] counts at `min_score`, background last.
        min_score: the score threshold in use.
        resamples: how many the intervals come from.
        random_seed: what they were drawn with.
        settings: what the caller says about model, data and thresholds; plain values.
    """

    images: int
    truths: tuple[int, ...]
    truths_by_size: Mapping[str, tuple[int, ...]]
    detections: tuple[int, ...]
    strict: Mapping[str, Figure]
    lenient: ReportSection | None
    differences: Mapping[str, Figure] | None
    confusion: tuple[tuple[int, ...], ...]
    min_score: float
    resamples: int
    random_seed: int
    settings: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The whole report as plain values; a figure without any truth is null."""
        return {
            "format": FORMAT,
            "classes": list(CLASS_NAMES),
            "images": self.images,
            "settings": _plain(self.settings),
            "counts": {
                "truths": _by_class(self.truths),
                "truths_by_size": {k: _by_class(v) for k, v in self.truths_by_size.items()},
                "detections": _by_class(self.detections),
            },
            "intervals": {
                "level": LEVEL,
                "method": "bias-corrected bootstrap over images",
                "resamples": self.resamples,
                "random_seed": self.random_seed,
            },
            "strict": {
                "protocol": {
                    "matching": "per class, by score, IoU without an extra pixel",
                    "iou": MATCH_IOU,
                    "max_detections_per_image": MAX_DETECTIONS_PER_IMAGE,
                    "size_bins": f"square root of the box area at input {SIZE_BIN_INPUT_PX}",
                    "area": "all-point, unless the figure's name says 101_point (pycocotools)",
                },
                "figures": {k: _figure_json(v) for k, v in self.strict.items()},
            },
            "seed_protocol": self.lenient
            and {
                "note": NOT_STANDARD,
                "min_objectness": self.lenient.min_objectness,
                "figures": {k: _figure_json(v) for k, v in self.lenient.figures.items()},
            },
            "differences": self.differences
            and {k: _figure_json(v) for k, v in self.differences.items()},
            "confusion": {
                "min_score": self.min_score,
                "rows_truth_columns_detection": [*CLASS_NAMES, "background"],
                "matrix": [list(row) for row in self.confusion],
            },
        }

    def save(self, path: Path) -> None:
        """Write the report as strict JSON.

        Raises:
            OSError: the file cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")

    def table(self) -> str:
        """The report as text for a terminal, without a final newline."""
        strict, header = self.strict, ["", "all (mean)", *CLASS_NAMES]
        sections = [
            (
                f"Strict protocol on {self.images} images; each AP with its {LEVEL:.0%} interval",
                [header, *self._count_rows(), *_figure_rows(strict, points_101=False)],
            ),
            (
                "The same curves read at 101 points, as pycocotools does",
                [header, *_figure_rows(strict, points_101=True)],
            ),
        ]
        if self.lenient is not None:
            title = (
                "The report's protocol (not a standard metric), "
                f"objectness >= {self.lenient.min_objectness:g}"
            )
            sections.append(
                (title, [header, *_figure_rows(self.lenient.figures, points_101=False)])
            )
        if self.differences is not None:
            title = (
                f"Minus the other weights, by the same images; each with its {LEVEL:.0%} interval"
            )
            sections.append((title, [header, *_figure_rows(self.differences, points_101=False)]))
        title = f"Faces at score >= {self.min_score:g}, annotated as (row) and detected as (column)"
        sections.append((title, self._confusion_rows()))
        text = "\n\n".join(f"{title}\n{_grid(rows)}" for title, rows in sections)
        if 0 in self.truths or any(0 in counts for counts in self.truths_by_size.values()):
            text += "\n\n-  no such face among the images; left out of the mean"
        return text

    def _count_rows(self) -> list[list[str]]:
        by_size = {ROW_NAMES[name]: counts for name, counts in self.truths_by_size.items()}
        counts = {"faces": self.truths, **by_size, "detections": self.detections}
        return [[name, str(sum(row)), *map(str, row)] for name, row in counts.items()]

    def _confusion_rows(self) -> list[list[str]]:
        names = [*CLASS_NAMES, "nothing"]
        rows = [[name, *map(str, row)] for name, row in zip(names, self.confusion, strict=True)]
        rows[-1][-1] = ""
        return [["", *names], *rows]


def build_report(
    results: Sequence[ImageResult],
    *,
    min_score: float,
    gate_results: Sequence[ImageResult] | None = None,
    report_results: Sequence[ImageResult] | None = None,
    report_min_objectness: float = MAXIMA_MIN_OBJECTNESS,
    other_results: Sequence[ImageResult] | None = None,
    resamples: int = RESAMPLES,
    random_seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> EvaluationReport:
    """Measure everything about one set of images.

    Args:
        results: for the strict protocol, with detections down to a very low score.
        min_score: score threshold for the confusion matrix.
        gate_results: the same images for the confusion matrix, where `results` may hold one box
            under several classes: a second label of a face would count as an invented face.
        report_results: the same images with boxes from `merge_nms`, and their objectness.
        report_min_objectness: boxes below it are not looked at by the report's protocol.
        other_results: the same images by other weights, to be compared with.
        resamples: bootstrap resamples.
        random_seed: for the resamples; both protocols meet the same ones.
        settings: kept in the report as they are: model, data, thresholds.

    Raises:
        ValueError: an image comes twice, a report's result has no objectness, or the images differ.
    """
    matches = StrictMatches.of(results)
    section = None
    if report_results is not None:
        lenient = LenientMatches.of(report_results, report_min_objectness)
        if lenient.names != matches.names:
            raise ValueError("expected report_results to hold the same images as results")
        figures = estimate_figures(lenient, np.random.default_rng(random_seed), resamples)
        section = ReportSection(figures, report_min_objectness)
    differences = None
    if other_results is not None:
        others, rng = StrictMatches.of(other_results), np.random.default_rng(random_seed)
        differences = estimate_differences(matches, others, rng, resamples)
    confusion = confusion_matrix(results if gate_results is None else gate_results, min_score)
    return EvaluationReport(
        images=len(matches.names),
        truths=tuple(matches.truths.tolist()),
        truths_by_size={
            name: tuple(counts.tolist())
            for name, counts in zip(SIZE_BINS, matches.truths_by_size, strict=True)
        },
        detections=tuple(matches.detections.tolist()),
        strict=estimate_figures(matches, np.random.default_rng(random_seed), resamples),
        lenient=section,
        differences=differences,
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        min_score=min_score,
        resamples=resamples,
        random_seed=random_seed,
        settings=dict(settings or {}),
    )


def _figure_rows(figures: Mapping[str, Figure], points_101: bool) -> list[list[str]]:
    """A row for each figure that is, or is not, read at 101 points."""
    return [
        [ROW_NAMES[name], *(_cell(e) for e in (figure.mean, *figure.per_class))]
        for name, figure in figures.items()
        if (name in POINTS_101) == points_101
    ]


def _cell(estimate: Estimate) -> str:
    """`.757 .70-.81`: the figure, then its interval."""
    if not math.isfinite(estimate.value):
        return "-"
    value, low, high = f"{estimate.value:.3f}", f"{estimate.low:.2f}", f"{estimate.high:.2f}"
    between = " to " if estimate.low < 0 else "-"
    return f"{_bare(value)} {_bare(low)}{between}{_bare(high)}"


def _bare(number: str) -> str:
    """`0.757` and `-0.757` without the 0."""
    return number.replace("0.", ".", 1) if number.lstrip("-").startswith("0.") else number


def _grid(rows: Sequence[Sequence[str]]) -> str:
    """Rows of equal length as columns two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


def _by_class(counts: Sequence[int]) -> dict[str, int]:
    return dict(zip(CLASS_NAMES, counts, strict=True))


def _figure_json(figure: Figure) -> dict[str, Any]:
    estimates = {"mean": figure.mean, **dict(zip(CLASS_NAMES, figure.per_class, strict=True))}
    return {
        name: _plain({"value": e.value, "low": e.low, "high": e.high})
        for name, e in estimates.items()
    }


def _plain(value: Any) -> Any:  # noqa: ANN401
    """The value without what strict JSON cannot hold: nan and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, str | int | None) else str(value)
