"""Skipping: a few bad images of a data set left out where someone asked for it, each one told."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.errors import Problem

MAX_SKIPPED_SHARE = 0.01


def leave_out(
    dataset: DatasetFolder, problems: Sequence[Problem], split: str | None = None
) -> tuple[DatasetFolder, list[Problem], Mapping[str, Problem]]:
    """Leave out every image that a problem is the fault of, if they are few enough.

    Args:
        dataset: what could be read.
        problems: everything found wrong with it.
        split: one that must not lose more than its share either, because it is measured on.

    Returns:
        The data set without those images, the problems that remain, and the stem of each image
        left out with its first problem. Where more than `MAX_SKIPPED_SHARE` are bad, nothing is
        left out and one problem more says so.
    """
    bad: dict[str, Problem] = {}
    for problem in problems:
        if problem.stem is not None:
            bad.setdefault(problem.stem, problem)
    reduced = dataset.without(bad)
    refusal = too_many(len(bad), len(reduced.images) + len(bad), str(dataset.files.root))
    if refusal is None and split is not None:
        lost = len(reduced.left_out.get(split, ()))
        total = lost + len(reduced.stems_of_split[split])
        refusal = too_many(lost, total, f"{dataset.files.root}, split {split}")
    if refusal is not None:
        return dataset, [refusal, *problems], {}
    return reduced, [problem for problem in problems if problem.stem is None], bad


def too_many(bad: int, total: int, where: str) -> Problem | None:
    """The problem of more bad images than may be skipped; None where they are few enough."""
    if bad <= MAX_SKIPPED_SHARE * total:
        return None
    share = f"more than the {MAX_SKIPPED_SHARE:.0%} that may be skipped"
    return Problem(where, f"{bad} of {total} images are bad, {share}", "mend or remove them")


def tell_skipped(
    say: Callable[[str], None], dataset: DatasetFolder, skipped: Mapping[str, Problem]
) -> None:
    """Say each image that was left out with its problem, and how many there are in each split."""
    if not skipped:
        return
    for stem, problem in skipped.items():
        say(f"skipped {stem}: {problem}")
    lost = {split: len(stems) for split, stems in dataset.left_out.items() if stems}
    of_splits = ", ".join(f"{split} {count}" for split, count in lost.items()) or "in no split"
    total = len(dataset.images) + len(skipped)
    say(f"skipped {len(skipped)} of {total} images ({of_splits})")
