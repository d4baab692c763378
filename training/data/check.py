"""The check of a data set: everything that is wrong with it, and what may be left out.

Every file is read and every image decoded to its last pixel; nothing is changed and nothing is
passed over in silence.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.class_names import ClassMap
from mask_gate.training.data.counts import count
from mask_gate.training.data.dataset import (
    OUR_NAMES,
    DatasetFolder,
    scan,
    size_problem,
    turned_note,
)
from mask_gate.training.data.image_file import MAX_IMAGE_BYTES, decode_image, is_turned
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.errors import DataError, Problem

MAX_SKIPPED_SHARE = 0.01

Progress = Callable[[Iterable[str]], Iterable[str]]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What the check found.

    Attributes:
        dataset: what could be read.
        problems: faults that training must not start with.
        skipped: images left out on request, and the fault of each.
        leaks: images with the same pixels in two splits: training runs, its figures flatter.
        notes: what is in order but worth knowing, one sentence each.
    """

    dataset: DatasetFolder
    problems: tuple[Problem, ...]
    skipped: Mapping[str, Problem]
    leaks: tuple[Problem, ...]
    notes: tuple[str, ...]


def check(
    path: Path,
    lists: Path | None = None,
    seed: int = 0,
    progress: Progress = lambda names: names,
    skip_bad: bool = False,
    classes: ClassMap = OUR_NAMES,
    splits: Iterable[str] = (),
) -> CheckResult:
    """Look at everything in a data set.

    Args:
        path: folder or archive of the data set.
        lists: folder with the split lists, where they are not in `path`.
        seed: for the split of a data set without lists.
        progress: wraps the names of the images while they are decoded.
        skip_bad: leave bad images out, if they are few enough, instead of calling them problems.
        classes: what the class names of the data set mean.
        splits: that must be there, which is seen before any pixel.

    Raises:
        DataError: there is no data set at `path` at all, or no such split in it.
    """
    dataset, found = scan(path, lists, seed, classes)
    for name in splits if not found else ():
        dataset.split(name)
    problems = list(found)
    stems_of_pixels, turned = _decode_all(dataset, problems, progress)
    skipped: Mapping[str, Problem] = {}
    if skip_bad:
        dataset, problems, skipped = leave_out(dataset, problems)
    problems += _missing_classes(dataset)
    used = {image.stem for image in dataset.images}
    groups = (sorted(used.intersection(stems)) for stems in stems_of_pixels.values())
    same = [stems for stems in groups if len(stems) > 1]
    leaks = _leaks(dataset, same) if dataset.is_listed else ()
    unique = tuple(dict.fromkeys(problems))  # a broken image of a YOLO set is met twice
    notes = _notes(dataset, same) + ([turned_note(turned)] if turned else [])
    return CheckResult(dataset, unique, skipped, leaks, tuple(notes))


def _decode_all(
    dataset: DatasetFolder, problems: list[Problem], progress: Progress
) -> tuple[dict[str, list[str]], int]:
    """Decode every image file.

    Returns:
        The stems of annotated images by the hash of their pixels, and how many of these images
        their EXIF orientation turns or mirrors.
    """
    files = dataset.files
    record_of = {record.image_path: record for record in dataset.images}
    stem_of = {name: stem for stem, name in dataset.image_names.items()}
    names = sorted(stem_of)

    def look_at(name: str) -> _Look:
        return _look_at(dataset, name, record_of.get(files.path(name)))

    stems_of_pixels: dict[str, list[str]] = {}
    turned = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # decoding releases the interpreter
        for name, look in zip(progress(names), pool.map(look_at, names), strict=True):
            problems += [fault.of_image(stem_of[name]) for fault in look.faults]
            record = record_of.get(files.path(name))
            if record is not None and look.pixels:
                stems_of_pixels.setdefault(look.pixels, []).append(record.stem)
                turned += look.is_turned
    return stems_of_pixels, turned


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found in one image file: the hash of its pixels ("" when there are none)."""

    pixels: str = ""
    is_turned: bool = False
    faults: tuple[Problem, ...] = ()


def _look_at(dataset: DatasetFolder, name: str, record: AnnotatedImage | None) -> _Look:
    where = str(dataset.files.path(name))
    try:
        content = dataset.files.read(name, MAX_IMAGE_BYTES)
        image, turned = decode_image(content, where), is_turned(content, where)
    except DataError as error:
        return _Look(faults=error.problems)
    size_wh = (image.shape[1], image.shape[0])
    pixels = hashlib.sha256(repr(size_wh).encode() + image.tobytes()).hexdigest()
    if record is not None and record.size_wh != size_wh:
        return _Look(pixels, turned, (size_problem(record, size_wh),))
    return _Look(pixels, turned)


def _missing_classes(dataset: DatasetFolder) -> list[Problem]:
    """A class without a face in train cannot be learned, without one in valid not be measured.

    One that no image of the data set shows is left out of both, and a note says so.
    """
    problems = []
    shown = dataset.classes_shown()
    if shown.sum() < 2:
        what = f"shows {shown.sum()} of the classes {', '.join(CLASS_NAMES)}, expected two or three"
        problems.append(Problem(str(dataset.files.root), what, "add images of the others"))
        return problems
    for split in ("train", "valid"):
        if split not in dataset.stems_of_split:
            continue
        boxes = count(split, dataset.split(split)).boxes
        for name, faces, is_known in zip(CLASS_NAMES, boxes, shown, strict=True):
            if faces == 0 and is_known:
                what = f"no face of class {name} in {split}"
                mend = "add such images, or split again with `mask-gate-data split`"
                problems.append(Problem(str(dataset.files.root), what, mend))
    return problems


def _split_of_stem(stems_of_split: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    return {stem: split for split, stems in stems_of_split.items() for stem in stems}


def _leaks(dataset: DatasetFolder, same: list[list[str]]) -> tuple[Problem, ...]:
    """Images that are in two splits under different names, one line for each pair of splits."""
    split_of = _split_of_stem(dataset.stems_of_split)
    shared: dict[tuple[str, str], list[str]] = {}
    for stems in same:
        listed = [stem for stem in stems if stem in split_of]
        for first in listed:
            for second in listed:
                if split_of[first] < split_of[second]:
                    pair = (split_of[first], split_of[second])
                    shared.setdefault(pair, []).append(f"{first} = {second}")
    problems = []
    for (first, second), pairs in shared.items():
        named = ", ".join(pairs[:5])
        what = f"images that appear in both {first} and {second}: {len(pairs)} ({named})"
        mend = "keep equal pixels in one split; `mask-gate-data split` does"
        problems.append(Problem(str(dataset.files.root), what, mend))
    return tuple(problems)


def _notes(dataset: DatasetFolder, same: list[list[str]]) -> list[str]:
    notes = [*filter(None, [dataset.layout_note]), dataset.split_note]
    if told := dataset.classes.told():
        notes.append(f"classes: {told}")
    notes += unlearnt_notes(dataset)
    faceless = sum(len(image.labels) == 0 for image in dataset.images)
    unlisted = len(dataset.images) - sum(len(stems) for stems in dataset.stems_of_split.values())
    if faceless:
        notes.append(f"{faceless} images show no face")
    if unlisted > 0:
        notes.append(f"{unlisted} images are in no split")
    if same:
        named = "; ".join(" = ".join(stems) for stems in same[:5])
        notes.append(f"{len(same)} groups of images have the same pixels: {named}")
    return notes


def unlearnt_notes(dataset: DatasetFolder) -> list[str]:
    """One sentence for each class that no image shows."""
    return [
        f"no image shows {name}: it is left out of the loss, and a network trained on this data "
        "alone cannot tell it"
        for name, is_shown in zip(CLASS_NAMES, dataset.classes_shown(), strict=True)
        if not is_shown
    ]


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
