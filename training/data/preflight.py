"""Preflight: a data set looked at once before it is used, then shared by all runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mask_gate.training.data.check import check, leave_out, tell_skipped, unlearnt_notes
from mask_gate.training.data.class_names import ClassMap
from mask_gate.training.data.dataset import OUR_NAMES, DatasetFolder, scan
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import DataError
from mask_gate.training.progress_bar import progress


def checked_dataset(
    path: Path,
    say: Callable[[str], None],
    skip_bad: bool = False,
    lists: Path | None = None,
    classes: ClassMap = OUR_NAMES,
    splits: Iterable[str] = (),
) -> DatasetFolder:
    """The data set at `path`, once every file of it has been read and found in order.

    Args:
        path: folder or archive.
        say: hears one line where splits share images, which training may do but figures suffer,
            and one for each image that is left out.
        skip_bad: leave out the images that are bad, where they are few enough.
        lists: folder with the split lists, where they are not in `path`.
        classes: what the class names of the data set mean.
        splits: that must be there, which is seen before any pixel.

    Raises:
        DataError: with every problem found.
    """

    def shown(names: Iterable[str]) -> Iterable[str]:
        return progress(names, "checking", "image")

    result = check(path, lists, progress=shown, skip_bad=skip_bad, classes=classes, splits=splits)
    if result.problems:
        raise DataError(result.problems)
    tell_skipped(say, result.dataset, result.skipped)
    for note in unlearnt_notes(result.dataset):
        say(note)
    if result.leaks:
        say(f"warning: {' | '.join(map(str, result.leaks))}")
    return result.dataset


def checked_split(
    path: Path,
    split: str,
    say: Callable[[str], None],
    skip_bad: bool = False,
    lists: Path | None = None,
    classes: ClassMap = OUR_NAMES,
) -> tuple[DatasetFolder, list[Sample]]:
    """The data set at `path` and the samples of one of its splits; other pixels are not looked at.

    Args:
        path: folder or archive.
        split: the one to load.
        say: hears one line for each image that is left out.
        skip_bad: leave out the images that are bad, where they are few enough.
        lists: folder with the split lists, where they are not in `path`.
        classes: what the class names of the data set mean.

    Raises:
        DataError: there is no such split, or with every problem found.
    """
    dataset, found = scan(path, lists, classes=classes)
    problems, samples = list(found), []
    records = dataset.split(split)
    for record in progress(records, f"reading {split}", "image"):
        try:
            samples.append(dataset.load(record))
        except DataError as error:
            problems += [problem.of_image(record.stem) for problem in error.problems]
    if skip_bad:
        dataset, problems, skipped = leave_out(dataset, problems, split)
        tell_skipped(say, dataset, skipped)
    if problems:
        raise DataError(list(dict.fromkeys(problems)))
    return dataset, samples


class LoadedSplits:
    """A data set's images in memory, each split decoded once, however many runs use it.

    Args:
        dataset: to load from.
    """

    def __init__(self, dataset: DatasetFolder) -> None:
        self.dataset = dataset
        self.fingerprint = dataset.fingerprint()
        self._samples: dict[str, list[Sample]] = {}

    def load(self, split: str) -> list[Sample]:
        """The samples of a split.

        Raises:
            DataError: no such split, or an image that cannot be read.
        """
        if split not in self._samples:
            records = self.dataset.split(split)
            shown = progress(records, f"reading {split}", "image")
            self._samples[split] = [self.dataset.load(record) for record in shown]
        return self._samples[split]
