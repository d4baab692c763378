"""Out of domain: pictures from elsewhere, judged by the size of faces and by what was confused.

How tightly boxes are drawn differs from one data set to the next. So faces and detections are
paired from an IoU of .3 on here, and what is counted is which class a face was taken for. The
strict figure, which asks for .5, is told beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.evaluation.beliefs import (
    MATCH_IOU,
    believed_line,
    cells,
    count_beliefs,
    equal_loss,
)
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.face_matches import FaceMatches
from mask_gate.training.evaluation.inference import BATCH_SIZE, predictions_of, result_of
from mask_gate.training.evaluation.metrics import ImageResult, StrictReport, evaluate_strict

NEAR_FACE = 0.05
"""Longer side, in parts of the picture's, of the smallest face that matters to a gate."""

SIZES: Mapping[str, tuple[float, float]] = {
    "under 5 %": (0.0, NEAR_FACE),
    "5 to 12 %": (NEAR_FACE, 0.125),
    "12 to 25 %": (0.125, 0.25),
    "25 to 50 %": (0.25, 0.5),
    "over 50 %": (0.5, np.inf),
    "5 % or more": (NEAR_FACE, np.inf),
}
"""Bins of the longer side of a face, in parts of the longer side of its picture."""

BELIEVED_SHARE = 0.96
"""Share of the proper faces that must be believed, in the comparison at equal loss."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """What was found in pictures from elsewhere.

    Attributes:
        faces: every labelled face with what was said of it; nothing else.
        strict: the strict protocol on the same pictures.
    """

    faces: FaceMatches
    strict: StrictReport


def look_elsewhere(
    images: Sequence[AnnotatedImage],
    load: Callable[[AnnotatedImage], Sample],
    network: DetectionNetwork,
    input_size: int,
    device: torch.device,
    progress: Callable[[Iterable[int]], Iterable[int]] = lambda steps: steps,
) -> Elsewhere:
    """Have a detector look at labelled pictures; a few of them are in memory at a time.

    Args:
        images: any number.
        load: decodes one of them.
        network: the detector.
        input_size: side of the letterboxed square.
        device: where the network is.
        progress: wraps the steps.
    """
    found: list[FaceMatches] = []
    results: list[ImageResult] = []
    for at in progress(range(0, len(images), BATCH_SIZE)):
        samples = [load(image) for image in images[at : at + BATCH_SIZE]]
        rows = list(predictions_of(network, [s.image for s in samples], input_size, device))
        seen = FaceMatches.of(samples, rows, input_size, MATCH_IOU)
        found.append(seen[seen.is_face])
        results += [result_of(s, r, input_size) for s, r in zip(samples, rows, strict=True)]
    return Elsewhere(FaceMatches.joined(found), evaluate_strict(results))


def summarise_elsewhere(elsewhere: Elsewhere, thresholds: Thresholds) -> dict[str, object]:
    """Counts by size, confusion of the near faces, and the strict figures.

    Returns:
        `sizes`: name to class to counts (see `count_beliefs`) and the `median_score` of all its
        faces; `confusion`: of the faces of `NEAR_FACE` or more, true class to what it was taken
        for or `unseen`; `equal_loss` of the same; `ap50` by class and its mean, `map50`.
    """
    faces = elsewhere.faces
    sizes: dict[str, object] = {}
    for name, (low, high) in SIZES.items():
        inside = faces[(faces.sizes >= low) & (faces.sizes < high)]
        score = float(np.median(inside.scores)) if len(inside.scores) else None
        sizes[name] = {**count_beliefs(inside, thresholds), "median_score": score}
    near = faces[faces.sizes >= NEAR_FACE]
    said = np.where(near.scores >= thresholds.face_score, near.label, len(CLASS_NAMES))
    taken_for = [*CLASS_NAMES, "unseen"]
    confusion = {
        CLASS_NAMES[label]: {
            name: int(((near.truth == label) & (said == other)).sum())
            for other, name in enumerate(taken_for)
        }
        for label in MaskLabel
    }
    ap50 = dict(zip(CLASS_NAMES, elsewhere.strict.scores.ap50.tolist(), strict=True))
    return {
        "images": elsewhere.strict.images,
        "thresholds": thresholds.to_plain(),
        "sizes": sizes,
        "confusion": confusion,
        "equal_loss": equal_loss(near, thresholds, BELIEVED_SHARE),
        "ap50": ap50,
        "map50": elsewhere.strict.map50,
    }


def elsewhere_table(summary: Mapping[str, object]) -> str:
    """The summary for people."""
    sizes, confusion, equal = summary["sizes"], summary["confusion"], summary["equal_loss"]
    ap50 = summary["ap50"]
    assert isinstance(sizes, Mapping)
    assert isinstance(confusion, Mapping)
    assert isinstance(equal, Mapping)
    assert isinstance(ap50, Mapping)
    lines = [
        f"{summary['images']} images; by the longer side of a face in parts of the picture's:",
        "faces of it, in per cent: believed proper / named rightly / not seen",
        f"{'':13}" + "".join(f"{name:>31}" for name in CLASS_NAMES) + f"{'score':>8}",
    ]
    for name, row in sizes.items():
        cells = "".join(f"{_cells(row[label]):>31}" for label in CLASS_NAMES)
        score = "-" if row["median_score"] is None else f"{row['median_score']:.2f}"
        lines.append(f"{name:13}{cells}{score:>8}")
    lines += ["", f"faces of {NEAR_FACE:.0%} or more, as annotated (row) and as taken for"]
    names = list(next(iter(confusion.values())))
    lines.append(f"{'':24}" + "".join(f"{name:>23}" for name in names))
    for label, counts in confusion.items():
        lines.append(f"{label:24}" + "".join(f"{counts[name]:>23}" for name in names))
    told = f"of these believed proper, where {BELIEVED_SHARE:.0%} of the proper ones are"
    lines += ["", f"{told}: {believed_line(equal)}"]
    each = ", ".join(f"{name} {ap50[name]:.3f}" for name in CLASS_NAMES)
    lines.append(f"strict mAP@0.5 {summary['map50']:.3f} ({each})")
    return "\n".join(lines)


def _cells(counts: Mapping[str, int]) -> str:
    return f"{counts['shown']:>6}  {cells(counts)}"
