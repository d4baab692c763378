"""Labelled images from any folder: a data set with splits, or one with `labels.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.labels_json import LABELS_FILE, LabelledFolder
from mask_gate.training.data.samples import AnnotatedImage, Sample


class LabelledImages(Protocol):
    """Annotated images, and what decodes them."""

    @property
    def images(self) -> tuple[AnnotatedImage, ...]:
        """Every image, its pixels still on disk."""

    def load(self, record: AnnotatedImage) -> Sample:
        """Decode one."""

    def read_image(self, record: AnnotatedImage) -> bytes:
        """The bytes of its file."""


def open_images(folder: Path, lists: Path | None = None) -> LabelledImages:
    """What lies in `folder`.

    Args:
        folder: a data set, an archive of one, or a folder with `labels.json`.
        lists: folder with the split lists, where they are not in `folder`.

    Raises:
        DataError: with every problem found.
    """
    if (folder / LABELS_FILE).is_file():
        return LabelledFolder.open(folder)
    return DatasetFolder.open(folder, lists)


def images_of(source: LabelledImages, split: str | None) -> tuple[AnnotatedImage, ...]:
    """The images of one split; a folder with `labels.json` has no splits, so all of it.

    Raises:
        DataError: the data set has no such split.
    """
    if split is None or not isinstance(source, DatasetFolder):
        return source.images
    return source.split(split)
