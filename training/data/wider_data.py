"""Wider data: what is learnt from beside a data set, without near twins of its other splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.config import DataSource
from mask_gate.training.data.labels_json import LabelledFolder
from mask_gate.training.data.near_duplicates import hashes_of_views, twins_of
from mask_gate.training.data.samples import Sample
from mask_gate.training.errors import DataError, Problem
from mask_gate.training.progress_bar import progress


def load_wider_data(
    sources: Sequence[DataSource],
    beside: Path,
    held_out: Sequence[Sample],
    say: Callable[[str], None],
) -> tuple[list[Sample], NDArray[np.float64]]:
    """The samples of all sources, and how often each is shown in an epoch.

    Args:
        sources: folders with `labels.json`.
        beside: the folder of the data set, below which they may lie too.
        held_out: images that figures are measured on; what is a near twin of one is left out.
        say: hears one line a source.

    Raises:
        DataError: a folder cannot be read, with every problem found.
    """
    samples: list[Sample] = []
    times: list[NDArray[np.float64]] = []
    held_out_views = hashes_of_views([sample.image for sample in held_out])
    for source in sources:
        path = Path(source.path)
        folder = LabelledFolder.open(path if path.exists() else beside / source.path)
        shown = progress(folder.images, f"reading {folder.root.name}", "image")
        with ThreadPoolExecutor() as pool:
            loaded = list(pool.map(folder.load, shown))
        unknown = _unknown_classes(source, folder)
        loaded = [sample.without_knowing(unknown) for sample in loaded]
        twins = twins_of([s.image for s in loaded], held_out_views)
        kept = [index for index in range(len(loaded)) if index not in twins]
        samples += [loaded[index] for index in kept]
        times.append(folder.times(source.weight, source.by_group)[kept])
        named = ", ".join(loaded[index].name for index in list(twins)[:5])
        left = f"; left out {len(twins)} near twins of test images: {named}" if twins else ""
        untold = f"; its labels do not tell {', '.join(source.unknown)}" if unknown.any() else ""
        say(f"{folder.root}: {len(kept)} images, {times[-1].sum():.0f} an epoch{untold}{left}")
    return samples, np.concatenate(times) if times else np.zeros(0)


def _unknown_classes(source: DataSource, folder: LabelledFolder) -> NDArray[np.bool_]:
    """[C] the classes of which the labels of a source say nothing.

    Raises:
        DataError: it shows one of them.
    """
    unknown = np.isin(CLASS_NAMES, source.unknown)
    for image in folder.images:
        if (shown := unknown[image.labels]).any():
            name = CLASS_NAMES[image.labels[shown][0]]
            what = f"has a face of class {name}, which `unknown` of this source names"
            mend = f"take {name} out of `unknown`, or label the face otherwise"
            raise DataError(Problem(str(image.image_path), what, mend))
    return unknown
