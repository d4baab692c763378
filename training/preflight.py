"""Preflight: the data set looked at once before the first epoch, then shared by all runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from training.check import check
from training.dataset_folder import DatasetFolder
from training.problems import DataError
from training.samples import Sample


def checked_dataset(path: Path, say: Callable[[str], None]) -> DatasetFolder:
    """The data set at `path`, once every file of it has been read and found in order.

    Args:
        path: folder or archive.
        say: hears one line where splits share images, which training may do but figures suffer.

    Raises:
        DataError: with every problem found.
    """

    def shown(names: Iterable[str]) -> Iterable[str]:
        return tqdm(names, "checking", unit="image", leave=False, disable=None)

    findings = check(path, progress=shown)
    if findings.problems:
        raise DataError(findings.problems)
    if findings.leaks:
        say(f"warning: {' | '.join(map(str, findings.leaks))}")
    return findings.dataset


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
            shown = tqdm(records, f"reading {split}", unit="image", leave=False, disable=None)
            self._samples[split] = [self.dataset.load(record) for record in shown]
        return self._samples[split]
