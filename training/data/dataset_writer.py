"""Writes a data set into a new folder, complete or not at all, with VOC or YOLO annotations."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from mask_gate.training.data.archive import is_image_name
from mask_gate.training.data.class_names import class_names_text
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.data.voc import VocAnnotation, write_voc
from mask_gate.training.data.yolo_txt import write_yolo
from mask_gate.training.errors import OutputError, Problem

Layout = Literal["voc", "yolo"]


class DatasetWriter:
    """A context that fills a folder beside `out` and gives it that name when all went well.

    Args:
        out: must not exist yet, or be an empty folder.
        layout: "voc" writes `annotations/*.xml`, "yolo" writes `labels/*.txt` and `classes.names`.

    Raises:
        OutputError: from every method, when `out` is taken or the disk refuses.
    """

    def __init__(self, out: Path, layout: Layout) -> None:
        self._out = out
        self._layout = layout
        self._partial = out.with_name(f"{out.name}.partial")
        self._labels = "annotations" if layout == "voc" else "labels"
        self._name_of_stem: dict[str, str] = {}

    def __enter__(self) -> Self:
        if self._out.exists() and (not self._out.is_dir() or any(self._out.iterdir())):
            mend = "choose a new folder; nothing is overwritten"
            raise OutputError(Problem(str(self._out), "already there", mend))
        try:
            for folder in ("images", self._labels):
                (self._partial / folder).mkdir(parents=True)
        except OSError as error:
            raise _unwritable(self._partial, error) from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        try:
            self._partial.rename(self._out)
        except OSError as refusal:
            raise _unwritable(self._out, refusal) from None

    def copy(self, record: AnnotatedImage, image: bytes) -> None:
        """Write an image of another data set, whose file holds `image`, under its stem."""
        name = record.stem + record.image_path.suffix
        self.add(name, image, record.size_wh, record.boxes_xyxy, record.labels)

    def add(
        self,
        image_name: str,
        image: bytes,
        size_wh: tuple[int, int],
        boxes_xyxy: NDArray[np.float32],
        labels: NDArray[np.int64],
    ) -> None:
        """Write one image file as it is, and its annotation.

        Args:
            image_name: file name without folder.
            image: the content of the file.
            size_wh: width and height in pixels.
            boxes_xyxy: [N, 4] corners in pixels.
            labels: [N] class indices.
        """
        stem = PurePath(image_name).stem
        if stem in self._name_of_stem:
            mend = "rename that image; a set that was augmented before cannot be augmented again"
            raise OutputError(Problem(image_name, "two images would have this name", mend))
        self._name_of_stem[stem] = image_name
        self._write(f"images/{image_name}", image)
        if self._layout == "voc":
            annotation = VocAnnotation(image_name, size_wh, boxes_xyxy, labels)
            self._write(f"annotations/{stem}.xml", write_voc(annotation))
        else:
            self._write(f"labels/{stem}.txt", write_yolo(boxes_xyxy, labels, size_wh))

    def write_lists(self, stems_of_split: Mapping[str, Sequence[str]]) -> None:
        """Write `train.txt` and the others: stems for VOC, image paths as Darknet has for YOLO."""
        if self._layout == "yolo":
            self._write("classes.names", class_names_text().encode())
        for split, stems in stems_of_split.items():
            paths = {stem: f"images/{self._name_of_stem[stem]}" for stem in stems}
            lines = paths.values() if self._layout == "yolo" else _entries(paths)
            self._write(f"{split}.txt", "".join(f"{line}\n" for line in lines).encode())

    def _write(self, name: str, content: bytes) -> None:
        write_file(self._partial / name, content)


def write_file(path: Path, content: bytes) -> None:
    """Write a whole file.

    Raises:
        OutputError: the folder is missing, or the disk refuses.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise _unwritable(path, error) from None


def _entries(name_of_stem: Mapping[str, str]) -> list[str]:
    """What a list says of each image: its stem, or its file where a stem could be read as another.

    `photo.jpg` is the stem of `photo.jpg.webp`, and the name of another image.
    """
    return [
        stem if stem == stem.strip() and not is_image_name(stem) and "\\" not in stem else name
        for stem, name in name_of_stem.items()
    ]


def write_split_lists(
    folder: Path,
    stems_of_split: Mapping[str, Sequence[str]],
    name_of_stem: Mapping[str, str],
) -> None:
    """Write `train.txt` and the others, one image a line, into `folder`, made where it is missing.

    Args:
        folder: for the lists.
        stems_of_split: the images of each split.
        name_of_stem: the file of each image in its data set.

    Raises:
        OutputError: one of the lists is there already, or the disk refuses.
    """
    for split in stems_of_split:
        if (folder / f"{split}.txt").exists():
            mend = "choose another folder; nothing is overwritten"
            raise OutputError(Problem(str(folder / f"{split}.txt"), "already there", mend))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    for split, stems in stems_of_split.items():
        lines = _entries({stem: name_of_stem[stem] for stem in stems})
        write_file(folder / f"{split}.txt", "".join(f"{line}\n" for line in lines).encode())


def _unwritable(path: Path, error: OSError) -> OutputError:
    what = f"cannot be written ({error.strerror})"
    return OutputError(Problem(str(path), what, "check the folder, its rights and the free space"))


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
