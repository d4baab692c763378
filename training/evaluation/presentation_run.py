"""The presentation run: labelled faces shown in every way, and what a detector says of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.evaluation.beliefs import (
    MATCH_IOU,
    at_most_believed,
    believed_line,
    cells,
    count_beliefs,
)
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.face_matches import FaceMatches
from mask_gate.training.evaluation.inference import predictions_of
from mask_gate.training.evaluation.presentations import WAYS, Presentation, present

MIN_FACE_PX = 40.0
"""A smaller face, enlarged, shows no mask any more."""

MOST_BELIEVED = {MaskLabel.WITHOUT_MASK: 0.005, MaskLabel.MASK_WEARED_INCORRECT: 0.05}
"""What a good gate believes of others at most; so detectors are compared that score unlike."""

_MOST_OF_PICTURE = 0.5  # a face that fills more of it has no surroundings to be shown with

Face = tuple[AnnotatedImage, int]
"""An image, and which of its faces."""

Shown = Mapping[str, FaceMatches]
"""Name of a way to what was found of each face shown in it, a row each."""


def choose_faces(images: Sequence[AnnotatedImage], limit: int | None, seed: int) -> list[Face]:
    """Up to `limit` faces of each class, drawn by chance among those large enough to be shown."""
    found: dict[MaskLabel, list[Face]] = {label: [] for label in MaskLabel}
    for image in images:
        sides = image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]
        room = _MOST_OF_PICTURE * image.size_wh[0] * image.size_wh[1]
        fit = (sides.max(1, initial=0) >= MIN_FACE_PX) & (sides.prod(1) <= room)
        for face in np.flatnonzero(fit):
            found[MaskLabel(image.labels[face])].append((image, int(face)))
    rng = np.random.default_rng(seed)
    return [faces[at] for faces in found.values() for at in rng.permutation(len(faces))[:limit]]


def show_faces(
    faces: Iterable[Face],
    load: Callable[[AnnotatedImage], Sample],
    network: DetectionNetwork,
    input_size: int,
    device: torch.device,
    seed: int = 0,
    ways: Sequence[Presentation] = WAYS,
) -> Shown:
    """Show every face in every way.

    A detection is of the face when their boxes overlap with an IoU of `beliefs.MATCH_IOU` or
    more; of several, the one with the highest score counts. Faces beside it do not matter.

    Args:
        faces: what to show.
        load: decodes an image.
        network: the detector.
        input_size: side of the pictures shown, and of its input.
        device: where the network is.
        seed: for grain.
        ways: in which they are shown.
    """

    def draw(at: int, face: Face) -> list[Sample]:
        sample = load(face[0])
        return [
            present(sample, face[1], way, input_size, np.random.default_rng([seed, at, number]))
            for number, way in enumerate(ways)
        ]

    rows: list[list[FaceMatches]] = [[] for _ in ways]
    with ThreadPoolExecutor(1) as pool:
        drawn: list[Future[list[Sample]]] = []
        for at, face in enumerate(faces):
            drawn.append(pool.submit(draw, at, face))
            if at:  # the next face is drawn while the network looks at this one
                _look(drawn.pop(0).result(), rows, network, input_size, device)
        for last in drawn:
            _look(last.result(), rows, network, input_size, device)
    return {way.name: FaceMatches.joined(found) for way, found in zip(ways, rows, strict=True)}


def _look(
    samples: Sequence[Sample],
    rows: Sequence[list[FaceMatches]],
    network: DetectionNetwork,
    input_size: int,
    device: torch.device,
) -> None:
    """Have one face, shown in every way, looked at; a row to each list."""
    images = [sample.image for sample in samples]
    predictions = predictions_of(network, images, input_size, device)
    for sample, found, into in zip(samples, predictions, rows, strict=True):
        seen = FaceMatches.of([sample], [found], input_size, MATCH_IOU)
        into.append(seen[seen.is_face])


def summarise_shown(shown: Shown, thresholds: Thresholds) -> dict[str, object]:
    """Counts at the operating point, by way and over all of them.

    Returns:
        `ways`: name to class to counts (see `count_beliefs`); `totals`: the same over all ways,
        and over the core ones; `at_most` of both, where `MOST_BELIEVED` holds; `thresholds`.
    """
    core = [way.name for way in WAYS if way.is_core and way.name in shown]
    groups = {"all ways": list(shown), "core ways": core}
    totals = {
        name: FaceMatches.joined([shown[way] for way in ways]) for name, ways in groups.items()
    }
    return {
        "thresholds": thresholds.to_plain(),
        "ways": {name: count_beliefs(found, thresholds) for name, found in shown.items()},
        "totals": {name: count_beliefs(found, thresholds) for name, found in totals.items()},
        "at_most": {
            name: at_most_believed(found, thresholds, MOST_BELIEVED)
            for name, found in totals.items()
        },
    }


def shown_table(summary: Mapping[str, object]) -> str:
    """The summary for people; `-` where no face of a class was shown."""
    ways, totals, at_most = summary["ways"], summary["totals"], summary["at_most"]
    assert isinstance(ways, Mapping)
    assert isinstance(totals, Mapping)
    assert isinstance(at_most, Mapping)
    lines = [
        "faces in per cent: believed proper / named rightly / not seen",
        f"{'':16}" + "".join(f"{name:>24}" for name in CLASS_NAMES),
    ]
    for way, counts in ways.items():
        lines.append(f"{way:16}" + "".join(f"{cells(counts[name]):>24}" for name in CLASS_NAMES))
    for group, counts in totals.items():
        lines.append(f"{group:16}" + "".join(f"{cells(counts[name]):>24}" for name in CLASS_NAMES))
        number = "".join(f"{'of ' + str(counts[name]['shown']):>24}" for name in CLASS_NAMES)
        lines.append(f"{'':16}{number}")
    bounds = " and ".join(f"{share:.1%} {x.name.lower()}" for x, share in MOST_BELIEVED.items())
    lines.append(f"believed proper, where at most {bounds} may be:")
    lines += [f"{group:16}{believed_line(shares)}" for group, shares in at_most.items()]
    return "\n".join(lines)
