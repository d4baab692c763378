"""A data set as people have it: images with their annotations and split lists, found and checked.

Layouts, in a folder or in a zip archive such as Kaggle's `archive.zip` as it comes:
`images/NAME.png` (or jpg, webp, bmp) with `annotations/NAME.xml` (Pascal VOC) or `labels/NAME.txt`
(YOLO, with `classes.names` beside `labels`), and what other tools make of these: VOCdevkit,
Roboflow's `train/images`, LabelImg, CVAT, Label Studio, and COCO (`training.data.layout`).
`train.txt`, `valid.txt` and perhaps `test.txt` name the images of each split, one stem (or
`images/NAME.png`) a line; without them folders such as `train` do, or the split is seeded.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import MaskLabel
from mask_gate.training.data.archive import DataFiles, FolderFiles, open_data_files
from mask_gate.training.data.class_names import (
    UNKNOWN,
    ClassMap,
    labels_of_numbers,
    read_class_names,
)
from mask_gate.training.data.class_yaml import DataYaml, read_data_yaml
from mask_gate.training.data.image_file import (
    IMAGE_SUFFIXES,
    MAX_IMAGE_BYTES,
    decode_image,
    image_size_wh,
)
from mask_gate.training.data.layout import (
    SPLITS,
    Layout,
    find_layout,
    find_lists,
    split_of_path,
)
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.data.sheets import (
    MAX_SHEET_BYTES,
    Described,
    ImageFinder,
    SheetReader,
)
from mask_gate.training.data.splits import VALID_SHARE, stratified_parts
from mask_gate.training.data.text_file import decode_text
from mask_gate.training.data.voc import MAX_XML_BYTES, read_voc
from mask_gate.training.data.yolo_txt import MAX_TXT_BYTES, read_yolo
from mask_gate.training.errors import DataError, Problem

MAX_LIST_BYTES = 16_000_000
MOST_TOLD_OF_A_CLASS = 20
OUR_NAMES = ClassMap()
# Suffixes of images that people convert, or that annotations name, beside those that are read.
_OTHER_SUFFIXES = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".svg")


@dataclass(frozen=True, slots=True, eq=False)
class DatasetFolder:
    """The images of a data set, their boxes, and which split each belongs to.

    Attributes:
        files: where the bytes come from.
        images: every image, sorted by stem.
        stems_of_split: the stems of each split, in the order of its list.
        is_listed: whether the split comes from lists; if not, it was seeded.
        split_note: one sentence on where the split comes from, for a command to print.
        image_names: the image file of every stem, also of images without a sound annotation.
        layout_note: one sentence on what was found, where it is not this project's own layout.
        classes: what the class names of the data set mean.
        left_out: the stems that a split has lost because their images are bad, by split.
    """

    files: DataFiles
    images: tuple[AnnotatedImage, ...]
    stems_of_split: Mapping[str, tuple[str, ...]]
    is_listed: bool
    split_note: str
    image_names: Mapping[str, str] = field(default_factory=dict)
    layout_note: str = ""
    classes: ClassMap = OUR_NAMES
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def open(
        cls,
        path: str | Path,
        lists: str | Path | None = None,
        seed: int = 0,
        classes: ClassMap = OUR_NAMES,
    ) -> DatasetFolder:
        """Read every annotation and list; pixels are left for `load`.

        Args:
            path: folder or archive of the data set.
            lists: folder with the split lists, where they are not in `path`.
            seed: for the split of a data set without lists.
            classes: what its class names mean.

        Raises:
            DataError: with every problem found.
        """
        dataset, problems = scan(Path(path), None if lists is None else Path(lists), seed, classes)
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
        return self.files.read(self.files.name_of(record.image_path), MAX_IMAGE_BYTES)

    def classes_shown(self) -> NDArray[np.bool_]:
        """[3] whether the data set shows a face of each class at all."""
        labels = [image.labels for image in self.images]
        return np.bincount(np.concatenate([*labels, np.zeros(0, np.int64)]), minlength=3) > 0

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
    path: Path, lists: Path | None = None, seed: int = 0, classes: ClassMap = OUR_NAMES
) -> tuple[DatasetFolder, tuple[Problem, ...]]:
    """What can be read of a data set, and every problem of what cannot.

    Args:
        path: folder or archive of the data set.
        lists: folder with the split lists, where they are not in `path`.
        seed: for the split of a data set without lists.
        classes: what its class names mean.

    Raises:
        DataError: there is no data set at `path` at all.
    """
    files = open_data_files(path)
    list_files = files if lists is None else _list_folder(lists)
    layout = find_layout(files)
    problems = [*files.problems, *layout.problems]
    if not layout.images:
        mend = "put them into the folder `images`"
        problems.append(Problem(str(files.root), "no images", mend))
    table = _class_table(files, layout, problems)
    if layout.kind == "sheet":
        images, split_of = _read_sheets(files, layout, classes, problems)
    else:
        images = _read_images(files, layout, table, classes, problems)
        split_of = {**layout.split_of, **_splits_of_yaml(layout, table)}
    stems = {image.stem for image in images}
    bad = {problem.stem for problem in problems if problem.stem is not None}
    named = layout.lists if lists is None else find_lists(list_files.names)
    finder = ImageFinder(dict(layout.images), _normal)
    reader = _ListReader(list_files, finder, stems, bad, problems)
    stems_of_split = reader.read(named)
    is_listed = bool(stems_of_split)
    if is_listed:
        note = f"split by the lists in {list_files.root}"
    else:
        stems_of_split, note, is_listed = _split_without_lists(images, split_of, seed)
    dataset = DatasetFolder(
        files, images, stems_of_split, is_listed, note, layout.images, layout.note, classes
    )
    return dataset.without(bad), tuple(_summed(problems))


def _summed(problems: list[Problem]) -> list[Problem]:
    """The same, a class name that is unknown again and again told once."""
    times = Counter(problem.what for problem in problems if problem.what.startswith(UNKNOWN))
    told: list[Problem] = []
    for problem in problems:
        count = times.get(problem.what, 0)
        if count > MOST_TOLD_OF_A_CLASS:
            times[problem.what] = -count
            what = f"{problem.what}, {count} boxes of it in all"
            told.append(replace(problem, what=what))
        elif count >= 0:
            told.append(problem)
    return told


def _list_folder(lists: Path) -> DataFiles:
    if lists.is_dir():
        return FolderFiles(lists)
    mend = "give the folder that holds train.txt and valid.txt"
    raise DataError(Problem(str(lists), "no such folder", mend))


def size_problem(record: AnnotatedImage, size_wh: tuple[int, int]) -> Problem:
    """An annotation that was made for an image of another size than the one that is there."""
    said, found = (f"{width}x{height}" for width, height in (record.size_wh, size_wh))
    turned, mend = "", "label the image again, or put back the image that was labelled"
    if record.size_wh == size_wh[::-1]:
        turned = " (EXIF rotated?)"
        mend = (
            "look where its boxes belong: on the upright image, correct the size that the "
            "annotation gives; on the image as it is stored, take its EXIF orientation out "
            "(exiftool -Orientation= FILE)"
        )
    return Problem(
        str(record.annotation_path),
        f"says {said}, {record.image_path.name} is {found}{turned}",
        mend,
    )


def turned_note(images: int) -> str:
    """What is to be known of images that their EXIF orientation turns or mirrors."""
    return (
        f"{images} images are turned or mirrored by their EXIF orientation: boxes are read as "
        "drawn on the upright image"
    )


def _normal(name: str) -> str:
    """A path in the form in which names are compared: `/` between folders, composed letters."""
    return unicodedata.normalize("NFC", name.replace("\\", "/"))


def _class_table(files: DataFiles, layout: Layout, problems: list[Problem]) -> DataYaml:
    """The names behind the numbers in label files, and the splits that a data.yaml gives."""
    name = layout.class_list
    if layout.kind != "yolo":
        return DataYaml()
    if name is None:
        where = str(files.path("classes.names"))
        what = "missing; the numbers in `labels` have no meaning without it"
        problems.append(Problem(where, what, "write the class names in order, one a line"))
        return DataYaml()
    where = str(files.path(name))
    try:
        data = files.read(name, MAX_TXT_BYTES)
        if name.lower().endswith((".yaml", ".yml")):
            return read_data_yaml(data, where)
        return DataYaml(where, read_class_names(data, where))
    except DataError as error:
        problems += error.problems
        return DataYaml()


def _splits_of_yaml(layout: Layout, table: DataYaml) -> dict[str, str]:
    """The split of each stem whose folder a data.yaml names."""
    return {
        stem: split
        for stem, name in layout.images.items()
        for split, folders in table.folders.items()
        if any(f"/{name}".find(f"/{folder}/") >= 0 for folder in folders)
    }


def _read_images(
    files: DataFiles,
    layout: Layout,
    table: DataYaml,
    classes: ClassMap,
    problems: list[Problem],
) -> tuple[AnnotatedImage, ...]:
    """Every image whose annotation reads, sorted by stem."""
    numbers: tuple[int, ...] = tuple(MaskLabel)  # without a list that is told already
    if table.names:
        numbers, unknown = labels_of_numbers(table.names, classes, table.where)
        problems += unknown
    images = []
    for stem in sorted(layout.annotations):
        image, label = layout.images[stem], layout.annotations[stem]
        try:
            images.append(_read_one(files, image, label, stem, numbers, classes))
        except DataError as error:
            problems += [problem.of_image(stem) for problem in error.problems]
    return tuple(images)


def _read_one(
    files: DataFiles,
    image: str,
    label: str,
    stem: str,
    numbers: tuple[int, ...],
    classes: ClassMap,
) -> AnnotatedImage:
    where = str(files.path(label))
    boxes_xyxy: NDArray[np.float32]
    if label.lower().endswith(".txt"):
        size_wh = image_size_wh(files.read(image, MAX_IMAGE_BYTES), str(files.path(image)))
        boxes_xyxy, labels = read_yolo(files.read(label, MAX_TXT_BYTES), where, size_wh, numbers)
    else:
        annotation = read_voc(files.read(label, MAX_XML_BYTES), where, classes)
        _check_filename(annotation.filename, image, label, where)
        size_wh, boxes_xyxy, labels = annotation.size_wh, annotation.boxes_xyxy, annotation.labels
    return AnnotatedImage(files.path(image), files.path(label), size_wh, boxes_xyxy, labels, stem)


def _check_filename(filename: str, image: str, label: str, where: str) -> None:
    """A `<filename>` may be missing, or have no suffix or another, but names the same image.

    Nothing is opened by that name, so folders in it, of this machine or of another, say nothing.
    """
    own = {spelling for name in (image, label) for spelling in _spellings(name)}
    if not filename or own & set(_spellings(filename)):
        return
    mend = f"write the name of the image, {PurePosixPath(image).name}, into <filename>"
    if _leads_outside(filename):
        what = f"<filename> {filename!r} is outside the dataset root"
    else:
        what = f"<filename> {filename!r} is another image than the one this file is named after"
    raise DataError(Problem(where, what, mend))


def _spellings(name: str) -> tuple[str, ...]:
    """The name without folders, as it is and with each of its image suffixes taken off."""
    base = PurePosixPath(_normal(name)).name.strip()  # XML does not keep blanks around a text
    spellings = [base]
    for suffix in (".xml", *IMAGE_SUFFIXES, *_OTHER_SUFFIXES, *IMAGE_SUFFIXES):
        if base.lower().endswith(suffix):
            base = base[: -len(suffix)].strip()
            spellings.append(base)
    return tuple(spellings)


def _leads_outside(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/"))
    return parts.is_absolute() or ".." in parts.parts or name[1:2] == ":"


def _read_sheets(
    files: DataFiles, layout: Layout, classes: ClassMap, problems: list[Problem]
) -> tuple[tuple[AnnotatedImage, ...], dict[str, str]]:
    """Every image that a sheet describes rightly, sorted by stem, and the split of each."""
    finder = ImageFinder(dict(layout.images), _normal)
    found: dict[str, AnnotatedImage] = {}
    split_of = dict(layout.split_of)
    described: set[str] = set()
    for sheet in layout.sheets:
        where = str(files.path(sheet))
        try:
            images = SheetReader(files.read(sheet, MAX_SHEET_BYTES), where, classes).read()
        except DataError as error:
            problems += error.problems
            continue
        split = split_of_path(sheet)
        for image in images:
            stem = finder.stem_of(image.file, str(PurePosixPath(sheet).parent))
            if stem is None:
                what = f"names {image.file!r}, which is not one image here"
                problems.append(Problem(where, what, "add the image or export again"))
            elif stem in described:
                what = f"describes {image.file!r} again"
                problems.append(Problem(where, what, "keep one description").of_image(stem))
            else:
                described.add(stem)
                if split is not None:
                    split_of[stem] = split
                try:
                    found[stem] = _annotated(files, layout.images[stem], sheet, stem, image)
                except DataError as error:
                    problems += [problem.of_image(stem) for problem in error.problems]
    for stem in sorted(layout.images.keys() - described):
        where = str(files.path(layout.images[stem]))
        mend = f"describe it in {layout.sheets[0]} (without boxes, if it shows no face)"
        problems.append(Problem(where, "an image without annotation", mend).of_image(stem))
    return tuple(found[stem] for stem in sorted(found)), split_of


def _annotated(
    files: DataFiles, image: str, sheet: str, stem: str, described: Described
) -> AnnotatedImage:
    if described.problems:
        raise DataError(described.problems)
    size_wh = described.size_wh
    if size_wh is None:
        size_wh = image_size_wh(files.read(image, MAX_IMAGE_BYTES), str(files.path(image)))
    boxes = np.array(described.boxes_xyxy, np.float32).reshape(-1, 4)
    labels = np.array(described.labels, np.int64)
    return AnnotatedImage(files.path(image), files.path(sheet), size_wh, boxes, labels, stem)


class _ListReader:
    """Reads the split lists of a data set.

    Args:
        files: what holds the lists.
        finder: of all images.
        stems: of the images with a sound annotation.
        bad: of the others.
        problems: hears what is wrong.
    """

    def __init__(
        self,
        files: DataFiles,
        finder: ImageFinder,
        stems: set[str],
        bad: set[str],
        problems: list[Problem],
    ) -> None:
        self._files = files
        self._finder = finder
        self._stems = stems
        self._bad = bad
        self._problems = problems

    def read(self, lists: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        """The stems of each split there is a list of, bad ones too; nothing, without lists."""
        stems_of_split: dict[str, tuple[str, ...]] = {}
        for split, names in lists.items():
            listed: dict[str, int] = {}
            for name in names:
                self._read_list(name, listed)
            stems_of_split[split] = tuple(listed)
        if not stems_of_split:
            return {}
        for split in SPLITS[:2]:
            if split not in stems_of_split:
                where = str(self._files.path(f"{split}.txt"))
                what = f"missing, though {', '.join(stems_of_split)} has a list"
                mend = "write it, or remove every split list"
                self._problems.append(Problem(where, what, mend))
            elif not stems_of_split[split]:
                where = str(self._files.path(lists[split][0]))
                self._problems.append(Problem(where, "names no image", "write one stem a line"))
        self._check_overlap(lists, stems_of_split)
        return stems_of_split

    def _read_list(self, name: str, listed: dict[str, int]) -> None:
        where = str(self._files.path(name))
        data = self._files.read(name, MAX_LIST_BYTES)
        for number, entry in self._lines(data, where):
            stem, is_clear = self._stem_of(entry, name)
            if not is_clear:
                what = f"{entry!r} names two images: one has it as name, one as stem"
                mend = "write the whole name of the file that is meant"
            elif stem in listed:
                what, mend = (
                    f"{entry!r} again, first on line {listed[stem]}",
                    "remove one of the two",
                )
            elif stem in self._bad:
                listed[stem] = number
                what, mend = f"no annotated image {entry!r}", "mend the image or remove the line"
                self._problems.append(Problem(where, what, mend, number, stem))
                continue
            elif stem in self._stems:
                listed[stem] = number
                continue
            elif _leads_outside(entry):
                what, mend = f"{entry!r} is outside the dataset root", "name the image by its stem"
            else:
                near = difflib.get_close_matches(stem, self._stems, n=1, cutoff=0.8)
                what = f"no annotated image {entry!r}"
                mend = f"did you mean {near[0]}?" if near else "remove the line or add the image"
            self._problems.append(Problem(where, what, mend, number))

    def _stem_of(self, entry: str, name: str) -> tuple[str, bool]:
        """The stem a list line means, and whether it is clear which of two.

        It is `NAME`, or a path such as `images/NAME.png`, of this machine or of another.
        """
        for spelling in (entry, entry.strip()):
            text = _normal(spelling)
            by_name = self._finder.stem_of(text, str(PurePosixPath(name).parent))
            by_stem = text if text in self._stems | self._bad else None
            if by_name and by_stem and by_name != by_stem:
                return text, False
            if by_name or by_stem:
                return by_name or by_stem or "", True
        base = PurePosixPath(text).name
        for suffix in (*IMAGE_SUFFIXES, *_OTHER_SUFFIXES):
            if base.lower().endswith(suffix):
                return base[: -len(suffix)], True
        return ("" if _leads_outside(text) else base), True

    def _lines(self, data: bytes, where: str) -> Iterator[tuple[int, str]]:
        """The lines that are not empty, each with its number."""
        try:
            lines: Sequence[str | bytes] = re.split("\r\n|[\r\n]", decode_text(data, where))
        except DataError:
            lines = data.splitlines()
        for number, raw in enumerate(lines, start=1):
            try:
                entry = raw if isinstance(raw, str) else raw.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"byte {data.splitlines()[number - 1][error.start]:#04x} at column "
                what += f"{error.start + 1} is not UTF-8"
                self._problems.append(Problem(where, what, "save the list as UTF-8", number))
                continue
            if entry.strip():
                yield number, entry

    def _check_overlap(
        self, lists: Mapping[str, tuple[str, ...]], stems_of_split: Mapping[str, tuple[str, ...]]
    ) -> None:
        names = list(stems_of_split)
        for index, first in enumerate(names):
            for second in names[index + 1 :]:
                both = sorted(set(stems_of_split[first]) & set(stems_of_split[second]))
                if both:
                    named = ", ".join(both[:5])
                    what = f"images that appear in both {first} and {second}: {len(both)} ({named})"
                    where = str(self._files.path(lists[second][0]))
                    self._problems.append(Problem(where, what, "keep each image in one split"))


def _split_without_lists(
    images: tuple[AnnotatedImage, ...], split_of: Mapping[str, str], seed: int
) -> tuple[dict[str, tuple[str, ...]], str, bool]:
    """The split that folders give, or a seeded one of what they leave; and whether they gave it."""
    by_folder: dict[str, list[AnnotatedImage]] = {}
    for image in images:
        by_folder.setdefault(split_of.get(image.stem, ""), []).append(image)
    if {"train", "valid"} <= by_folder.keys():
        stems = {
            split: tuple(image.stem for image in by_folder[split])
            for split in SPLITS
            if split in by_folder
        }
        return stems, "split by the folders that the images are in", True
    test = by_folder.pop("test", []) if len(by_folder) > 1 else []
    seen = {image.stem for image in test}
    rest = tuple(image for image in images if image.stem not in seen)
    train, valid = stratified_parts(rest, (1 - VALID_SHARE, VALID_SHARE), seed)
    note = (
        f"no train.txt and valid.txt: split by seed {seed}, stratified by the rarest class, "
        f"{len(train)} train and {len(valid)} valid images; near twins were not looked for "
        "(`mask-gate-data split` does, and writes the lists)"
    )
    parts = {"train": train, "valid": valid, **({"test": tuple(test)} if test else {})}
    return {name: tuple(image.stem for image in part) for name, part in parts.items()}, note, False
