"""Conversion of a data set between Pascal VOC and YOLO text, exact in both directions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import DatasetWriter, Layout
from mask_gate.training.data.samples import AnnotatedImage


def convert(
    dataset: DatasetFolder,
    out: Path,
    layout: Layout,
    images: Iterable[AnnotatedImage] | None = None,
) -> None:
    """Write `dataset` to the new folder `out` with the annotations of `layout`.

    Args:
        dataset: image files are copied byte for byte.
        out: must not exist yet, or be empty.
        layout: "voc" or "yolo".
        images: the dataset's images, wrapped to show progress; by default just those.

    Raises:
        DataError: an image cannot be read.
        OutputError: `out` is taken or cannot be written.
    """
    with DatasetWriter(out, layout) as writer:
        for image in dataset.images if images is None else images:
            writer.copy(image, dataset.read_image(image))
        writer.write_lists(dataset.stems_of_split)
