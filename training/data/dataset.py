"""A data set as people have it: images with their annotations and split lists, found and checked.

Layouts, in a folder or in a zip archive such as Kaggle's `archive.zip` as it comes:
`images/NAME.png` (or jpg, webp, bmp) with `annotations/NAME.xml` (Pascal VOC) or `labels/NAME.txt`
(YOLO, with `classes.names` beside `labels`). `train.txt`, `valid.txt` and perhaps `test.txt` name
the images of each split, one stem (or `images/NAME.png`) a line; without them the split is seeded.
"""

from __future__ import annotations

import difflib
import hashlib
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mask_gate.training.data.archive import DataFiles, FolderFiles, open_data_files
from mask_gate.training.data.class_names import check_class_names
from mask_gate.training.data.image_file import (
    IMAGE_SUFFIXES,
    MAX_IMAGE_BYTES,
    decode_image,
    image_size_wh,
)
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.data.splits import VALID_SHARE, stratified_parts
from mask_gate.training.data.voc import MAX_XML_BYTES, read_voc
from mask_gate.training.data.yolo_txt import MAX_TXT_BYTES, read_yolo
from mask_gate.training.errors import DataError, Problem

SPLITS = ("train", "valid", "test")
CLASS_LIST = "classes.names"
MAX_LIST_BYTES = 16_000_000


@dataclass(frozen=True, slots=True, eq=False)
class DatasetFolder:
    """The images of a data set, their boxes, and which split each belongs to.

    Attributes:
        files: where the bytes come from.
        images: every image, sorted by stem.
        stems_of_split: the stems of each split, in the order of its list.
        is_listed: whether the split comes from lists; if not, it was seeded.
        split_note: one sentence on where the split comes from, for a command to print.
        left_out: the stems that a split has lost because their images are bad, by split.
    """

    files: DataFiles
    images: tuple[AnnotatedImage, ...]
    stems_of_split: Mapping[str, tuple[str, ...]]
    is_listed: bool
    split_note: str
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def open(
        cls, path: str | Path, lists: str | Path | None = None, seed: int = 0
    ) -> DatasetFolder:
        """Read every annotation and list; pixels are left for `load`.

        Args:
            path: folder or archive of the data set.
            lists: folder with the split lists, where they are not in `path`.
            seed: for the split of a data set without lists.

        Raises:
            DataError: with every problem found.
        """
        dataset, problems = scan(Path(path), None if lists is None else Path(lists), seed)
        if problems:
            raise DataError(problems)
        return dataset

    def split(self, name: str) -> tuple[AnnotatedImage, ...]:
        """The images of split "train", "valid" or "test".

        Raises:
            DataError: the data set has no such split.
        """
        if name not in self.stems_of_split:
            what = f"no split {name!r}, there are {', '.join(self.stems_of_split)}"
            raise DataError(Problem(str(self.files.root), what, f"write the stems into {name}.txt"))
        image_of = {image.stem: image for image in self.images}
        return tuple(image_of[stem] for stem in self.stems_of_split[name])

    def without(self, stems: Collection[str]) -> DatasetFolder:
        """The same data set, some images left out; the others stay in their splits."""
        kept, left_out = {}, {}
        for name, listed in self.stems_of_split.items():
            kept[name] = tuple(stem for stem in listed if stem not in stems)
            lost = tuple(stem for stem in listed if stem in stems)
            left_out[name] = (*self.left_out.get(name, ()), *lost)
        images = tuple(image for image in self.images if image.stem not in stems)
        return replace(self, images=images, stems_of_split=kept, left_out=left_out)

    def load(self, record: AnnotatedImage) -> Sample:
        """Decode one image and check that it is the one its annotation describes.

        Raises:
            DataError: the image cannot be read, or has another size than the annotation says.
        """
        where = str(record.image_path)
        image = decode_image(self.read_image(record), where)
        size_wh = (image.shape[1], image.shape[0])
        if size_wh != record.size_wh:
            raise DataError(size_problem(record, size_wh))
        return Sample(image, record.boxes_xyxy, record.labels, record.stem)

    def read_image(self, record: AnnotatedImage) -> bytes:
        """The bytes of one image file.

        Raises:
            DataError: the file cannot be read.
        """
        return self.files.read(f"images/{record.image_path.name}", MAX_IMAGE_BYTES)

    def fingerprint(self) -> str:
        """SHA-256 over stems, sizes, boxes, labels and splits; equal data in any format agree."""
        digest = hashlib.sha256()
        for image in self.images:
            digest.update(f"{image.stem}\0{image.size_wh}\0{len(image.labels)}\0".encode())
            digest.update(image.boxes_xyxy.astype("<f4").tobytes())
            digest.update(image.labels.astype("<i8").tobytes())
        for name in SPLITS:
            digest.update(f"{name}\0{sorted(self.stems_of_split.get(name, ()))}\0".encode())
        return digest.hexdigest()


def scan(
    path: Path, lists: Path | None = None, seed: int = 0
) -> tuple[DatasetFolder, tuple[Problem, ...]]:
    """What can be read of a data set, and every problem of what cannot.

    Args:
        path: folder or archive of the data set.
        lists: folder with the split lists, where they are not in `path`.
        seed: for the split of a data set without lists.

    Raises:
        DataError: there is no data set at `path` at all.
    """
    files = open_data_files(path)
    list_files = files if lists is None else _list_folder(lists)
    problems = list(files.problems)
    images = _read_images(files, problems)
    stems = {image.stem for image in images}
    bad = {problem.stem for problem in problems if problem.stem is not None}
    stems_of_split = _read_lists(list_files, stems, bad, problems)
    is_listed = bool(stems_of_split)
    if is_listed:
        note = f"split by the lists in {list_files.root}"
    else:
        stems_of_split, note = _seeded_split(images, seed)
    dataset = DatasetFolder(files, images, stems_of_split, is_listed, note)
    return dataset.without(bad), tuple(problems)


def _list_folder(lists: Path) -> DataFiles:
    if lists.is_dir():
        return FolderFiles(lists)
    mend = "give the folder that holds train.txt and valid.txt"
    raise DataError(Problem(str(lists), "no such folder", mend))


def size_problem(record: AnnotatedImage, size_wh: tuple[int, int]) -> Problem:
    """An annotation that was made for an image of another size than the one that is there."""
    said, found = (f"{width}x{height}" for width, height in (record.size_wh, size_wh))
    turned = " (EXIF rotated?)" if record.size_wh == size_wh[::-1] else ""
    return Problem(
        str(record.annotation_path),
        f"says {said}, {record.image_path.name} is {found}{turned}",
        "label the image again, or put back the image that was labelled",
    )


def stem_of(name: str) -> str:
    """Name without folder and suffix; composed, so that Korean names of macOS and Linux agree."""
    return unicodedata.normalize("NFC", PurePosixPath(name).stem)


def _by_stem(
    files: DataFiles, folder: str, suffixes: Sequence[str], problems: list[Problem]
) -> dict[str, str]:
    """Stem to name of the files in a folder, with the problems of strangers and doubles."""
    name_of: dict[str, str] = {}
    for name in files.names_in(folder):
        where, stem = str(files.path(name)), stem_of(name)
        if PurePosixPath(name).suffix.lower() not in suffixes:
            what = f"not one of the files expected in `{folder}` ({', '.join(suffixes)})"
            problems.append(Problem(where, what, "move it away or convert it"))
        elif stem in name_of:
            what = f"the same stem as {PurePosixPath(name_of[stem]).name}"
            problems.append(Problem(where, what, "rename one of the two and its annotation"))
        else:
            name_of[stem] = name
    return name_of


def _read_images(files: DataFiles, problems: list[Problem]) -> tuple[AnnotatedImage, ...]:
    """Every image whose annotation reads, sorted by stem."""
    is_voc, is_yolo = (bool(files.names_in(folder)) for folder in ("annotations", "labels"))
    root = str(files.root)
    if is_voc and is_yolo:
        what = "both `annotations` and `labels` hold files"
        problems.append(Problem(root, what, "keep one of the two in this data set"))
    image_names = _by_stem(files, "images", IMAGE_SUFFIXES, problems)
    folder, suffix = ("labels", ".txt") if is_yolo and not is_voc else ("annotations", ".xml")
    label_names = _by_stem(files, folder, (suffix,), problems)
    if folder == "labels":
        _check_class_list(files, problems)
    if not image_names:
        problems.append(Problem(root, "no images", "put them into the folder `images`"))
    for stem in sorted(image_names.keys() - label_names.keys()):
        mend = f"add {folder}/{stem}{suffix} (with no box in it, if it shows no face)"
        where = str(files.path(image_names[stem]))
        what = "an image without annotation"
        problems.append(Problem(where, what, mend).of_image(stem))
    for stem in sorted(label_names.keys() - image_names.keys()):
        where = str(files.path(label_names[stem]))
        what, mend = "an annotation without image", "add its image or remove it"
        problems.append(Problem(where, what, mend).of_image(stem))
    images = []
    for stem in sorted(image_names.keys() & label_names.keys()):
        try:
            images.append(_read_one(files, image_names[stem], label_names[stem], stem))
        except DataError as error:
            problems += [problem.of_image(stem) for problem in error.problems]
    return tuple(images)


def _read_one(files: DataFiles, image: str, label: str, stem: str) -> AnnotatedImage:
    where = str(files.path(label))
    boxes_xyxy: NDArray[np.float32]
    if label.endswith(".txt"):
        size_wh = image_size_wh(files.read(image, MAX_IMAGE_BYTES), str(files.path(image)))
        boxes_xyxy, labels = read_yolo(files.read(label, MAX_TXT_BYTES), where, size_wh)
    else:
        annotation = read_voc(files.read(label, MAX_XML_BYTES), where)
        _check_filename(annotation.filename, stem, where)
        size_wh, boxes_xyxy, labels = annotation.size_wh, annotation.boxes_xyxy, annotation.labels
    return AnnotatedImage(files.path(image), files.path(label), size_wh, boxes_xyxy, labels, stem)


def _check_filename(filename: str, stem: str, where: str) -> None:
    """A `<filename>` may be missing or have another image suffix, but names the same image."""
    mend = f"write the name of the image, {stem}.*, into <filename>"
    if _leads_outside(filename):
        what = f"<filename> {filename!r} is outside the dataset root"
        raise DataError(Problem(where, what, mend))
    if filename and stem_of(filename) != stem:
        what = f"<filename> {filename!r} is another image than the one this file is named after"
        raise DataError(Problem(where, what, mend))


def _leads_outside(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or name[1:2] == ":"


def _check_class_list(files: DataFiles, problems: list[Problem]) -> None:
    where = str(files.path(CLASS_LIST))
    if CLASS_LIST not in files.names:
        what = "missing; the numbers in `labels` have no meaning without it"
        problems.append(Problem(where, what, "write the class names in order, one a line"))
        return
    try:
        check_class_names(files.read(CLASS_LIST, MAX_TXT_BYTES), where)
    except DataError as error:
        problems += error.problems


def _read_lists(
    files: DataFiles, stems: set[str], bad: set[str], problems: list[Problem]
) -> dict[str, tuple[str, ...]]:
    """The stems of each split list there is, `bad` ones too; nothing, when there is none."""
    stems_of_split: dict[str, tuple[str, ...]] = {}
    for split in SPLITS:
        if f"{split}.txt" in files.names:
            where = str(files.path(f"{split}.txt"))
            data = files.read(f"{split}.txt", MAX_LIST_BYTES)
            stems_of_split[split] = _read_list(data, where, stems, bad, problems)
    if not stems_of_split:
        return {}
    for split in SPLITS[:2]:
        where = str(files.path(f"{split}.txt"))
        if split not in stems_of_split:
            what = f"missing, though {', '.join(stems_of_split)} has a list"
            problems.append(Problem(where, what, "write it, or remove every split list"))
        elif not stems_of_split[split]:
            problems.append(Problem(where, "names no image", "write one stem a line"))
    _check_overlap(files, stems_of_split, problems)
    return stems_of_split


def _read_list(
    data: bytes, where: str, stems: set[str], bad: set[str], problems: list[Problem]
) -> tuple[str, ...]:
    listed: dict[str, int] = {}
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").splitlines(), start=1):
        try:
            entry = raw.decode("utf-8").strip()
        except UnicodeDecodeError as error:
            what = f"byte {raw[error.start]:#04x} at column {error.start + 1} is not UTF-8"
            problems.append(Problem(where, what, "save the list as UTF-8", number))
            continue
        if not entry:
            continue
        stem = _listed_stem(entry)
        if _leads_outside(entry):
            what, mend = f"{entry!r} is outside the dataset root", "name the image by its stem"
        elif stem in listed:
            what, mend = f"{entry!r} again, first on line {listed[stem]}", "remove one of the two"
        elif stem in bad:
            listed[stem] = number
            what, mend = f"no annotated image {entry!r}", "mend the image or remove the line"
            problems.append(Problem(where, what, mend, number, stem))
            continue
        elif stem not in stems:
            near = difflib.get_close_matches(stem, stems, n=1, cutoff=0.8)
            what = f"no annotated image {entry!r}"
            mend = f"did you mean {near[0]}?" if near else "remove the line or add the image"
        else:
            listed[stem] = number
            continue
        problems.append(Problem(where, what, mend, number))
    return tuple(listed)


def _listed_stem(entry: str) -> str:
    """The stem a list line means: `NAME`, or a path such as `images/NAME.png`."""
    suffix = PurePosixPath(entry).suffix.lower()
    name = PurePosixPath(entry).name
    return stem_of(name) if suffix in IMAGE_SUFFIXES else unicodedata.normalize("NFC", name)


def _check_overlap(
    files: DataFiles, stems_of_split: Mapping[str, tuple[str, ...]], problems: list[Problem]
) -> None:
    names = list(stems_of_split)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            both = sorted(set(stems_of_split[first]) & set(stems_of_split[second]))
            if both:
                named = ", ".join(both[:5])
                what = f"images that appear in both {first} and {second}: {len(both)} ({named})"
                where = str(files.path(f"{second}.txt"))
                problems.append(Problem(where, what, "keep each image in one split"))


def _seeded_split(
    images: tuple[AnnotatedImage, ...], seed: int
) -> tuple[dict[str, tuple[str, ...]], str]:
    train, valid = stratified_parts(images, (1 - VALID_SHARE, VALID_SHARE), seed)
    note = (
        f"no train.txt and valid.txt: split by seed {seed}, stratified by the rarest class, "
        f"{len(train)} train and {len(valid)} valid images; near twins were not looked for "
        "(`mask-gate-data split` does, and writes the lists)"
    )
    stems = {"train": train, "valid": valid}
    return {name: tuple(image.stem for image in part) for name, part in stems.items()}, note
