"""Layout: which files of a data set are images, annotations, class lists and split lists.

Tools differ in where they put things, not in how they name them: an annotation has the stem of its
image, and lies beside it or in the folder that is called `labels` (or `annotations`, `Annotations`)
where the image's is called `images` (or `JPEGImages`).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from mask_gate.training.data.archive import DataFiles, is_image_name
from mask_gate.training.data.image_file import IMAGE_SUFFIXES
from mask_gate.training.errors import Problem

Kind = Literal["voc", "yolo", "sheet"]
"""One XML or text file an image, or files that describe many images each."""

SPLITS = ("train", "valid", "test")
HOUSE_FOLDERS = {"voc": "annotations", "yolo": "labels", "sheet": "annotations"}

_SPLIT_OF_WORD = {
    "train": "train",
    "training": "train",
    "obj_train_data": "train",
    "valid": "valid",
    "val": "valid",
    "validation": "valid",
    "obj_valid_data": "valid",
    "test": "test",
    "testing": "test",
    "obj_test_data": "test",
}
_IMAGE_FOLDERS = frozenset({"images", "jpegimages", "image", "imgs", "img"})
_LABEL_FOLDERS = frozenset(
    {"annotations", "annotation", "labels", "label", "xmls", "xml", "txts", "txt"}
)
_CLASS_LISTS = ("classes.names", "classes.txt", "obj.names", "_darknet.labels", "names.txt")
_CLASS_YAMLS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
_NOT_LABELS = re.compile(r"(readme.*|predefined_classes|requirements|license.*)\.txt")
_LEFT_BY_TOOLS = (".cache", ".md", ".data", ".cfg", ".html")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the files of a data set are; all names are relative to its root.

    Attributes:
        kind: of its annotations.
        images: image file of each stem; where folders repeat a stem, the stem says the folder.
        annotations: file of each stem, where each image has one.
        sheets: files that describe many images each, where there are no others.
        class_list: what the numbers in label files mean, if there is such a file.
        split_of: the split whose folder the image of a stem lies in.
        lists: the files that list the images of a split.
        problems: what does not fit together.
        note: one sentence on what was found, where it is not this project's own layout.
    """

    kind: Kind
    images: Mapping[str, str]
    annotations: Mapping[str, str]
    sheets: tuple[str, ...]
    class_list: str | None
    split_of: Mapping[str, str]
    lists: Mapping[str, tuple[str, ...]]
    problems: tuple[Problem, ...]
    note: str


def plain_stem(name: str) -> str:
    """Name without folder and suffix; composed, so that Korean names of macOS and Linux agree."""
    return unicodedata.normalize("NFC", PurePosixPath(name).stem)


def find_layout(files: DataFiles) -> Layout:
    """Sort the files of a data set; nothing but names is looked at."""
    problems: list[Problem] = []
    image_names = _image_names(files.names)
    images = _by_unique_stem(files, image_names, problems)
    keys = {_key(name): stem for stem, name in images.items()}
    lists = find_lists(files.names, image_names)
    listed = {name for names in lists.values() for name in names}
    xml = [name for name in files.names if _suffix(name) == ".xml"]
    txt = [n for n in files.names if n not in listed and _may_be_label(n, keys)]
    sheets = [n for n in xml if _is_cvat_sheet(n, keys)]
    sheets += [n for n in files.names if _suffix(n) == ".json" and _may_be_sheet(n)]
    xml = [name for name in xml if name not in sheets]
    if xml and txt:
        folders = " and ".join(
            f"`{name}`" for name in dict.fromkeys(map(_folder, (xml[0], txt[0])))
        )
        what = f"both {folders or 'XML and text files'} hold files"
        problems.append(Problem(str(files.root), what, "keep one of the two in this data set"))
    kind: Kind = "voc" if xml else "yolo" if txt else "sheet" if sheets else "voc"
    labels = xml or txt
    annotations, strays = _matched(images, labels)
    for name in strays:
        what, mend = "an annotation without image", "add its image or remove it"
        where = str(files.path(name))
        problems.append(Problem(where, what, mend).of_image(plain_stem(name)))
    used = {*image_names, *labels, *sheets, *listed}
    _find_strangers(files, image_names, labels, used, problems)
    if kind != "sheet":
        _find_bare_images(files, images, annotations, kind, labels, problems)
    return Layout(
        kind=kind,
        images=images,
        annotations=annotations,
        sheets=tuple(sheets) if kind == "sheet" else (),
        class_list=_class_list(files.names),
        split_of={stem: split for stem, name in images.items() if (split := split_of_path(name))},
        lists=lists,
        problems=tuple(problems),
        note=_note(image_names, labels, sheets if kind == "sheet" else []),
    )


def split_of_path(name: str) -> str | None:
    """The split that a folder of this path, or the stem of a sheet, is called after."""
    for part in reversed((*_folders(name), plain_stem(name).lower().removeprefix("instances_"))):
        word = re.sub(r"[-_]?\d{4}$", "", part)  # train2017
        if word in _SPLIT_OF_WORD:
            return _SPLIT_OF_WORD[word]
    return None


def find_lists(names: Iterable[str], image_names: Sequence[str] = ()) -> dict[str, tuple[str, ...]]:
    """The files that list the images of each split: in the root, or in VOC's `ImageSets/Main`."""
    flat = {_key(name) for name in image_names if not _folders(name)}
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        folders = _folders(name)
        split = _SPLIT_OF_WORD.get(plain_stem(name).lower())
        is_place = not folders or folders[-2:] == ("imagesets", "main")
        if _suffix(name) == ".txt" and split and is_place and (folders or _key(name) not in flat):
            found[split].append(name)
    in_root = {s: tuple(n for n in found[s] if "/" not in n) or tuple(found[s]) for s in found}
    return {split: in_root[split] for split in SPLITS if split in in_root}


def _image_names(names: Sequence[str]) -> list[str]:
    """Images in folders that are called so; where there is none, all images."""
    found = [name for name in names if is_image_name(name)]
    return [name for name in found if _IMAGE_FOLDERS & set(_folders(name))] or found


def _folders(name: str) -> tuple[str, ...]:
    return tuple(part.lower() for part in PurePosixPath(name).parts[:-1])


def _folder(name: str) -> str:
    return PurePosixPath(name).parent.name


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _key(name: str) -> tuple[tuple[str, ...], str]:
    """What an image and its annotation have in common."""
    around = (part for part in _folders(name) if part not in _IMAGE_FOLDERS | _LABEL_FOLDERS)
    return tuple(around), plain_stem(name)


def _may_be_label(name: str, keys: Mapping[tuple[tuple[str, ...], str], str]) -> bool:
    """Whether a text file holds boxes: beside its image, or in a folder of labels."""
    base = PurePosixPath(name).name.lower()
    if _suffix(name) != ".txt" or _NOT_LABELS.fullmatch(base):
        return False
    if base in _CLASS_LISTS:
        return _key(name) in keys and bool(_LABEL_FOLDERS & set(_folders(name)))
    return bool(_LABEL_FOLDERS & set(_folders(name))) or _key(name) in keys


def _is_cvat_sheet(name: str, keys: Mapping[tuple[tuple[str, ...], str], str]) -> bool:
    return PurePosixPath(name).name.lower() == "annotations.xml" and _key(name) not in keys


def _may_be_sheet(name: str) -> bool:
    base = PurePosixPath(name).name.lower()
    return base not in ("notes.json", "labels.json", "package.json", "classes.json")


def _by_unique_stem(
    files: DataFiles, image_names: Sequence[str], problems: list[Problem]
) -> dict[str, str]:
    """Each image by its stem; by folder and stem, where several folders have the same."""
    times = Counter(map(plain_stem, image_names))
    name_of: dict[str, str] = {}
    for name in image_names:
        stem = plain_stem(name)
        if times[stem] > 1:
            around = [p for p in PurePosixPath(name).parts[:-1] if p.lower() not in _IMAGE_FOLDERS]
            stem = unicodedata.normalize("NFC", "-".join((*around, stem)))
        if stem in name_of:
            what = f"the same stem as {PurePosixPath(name_of[stem]).name}"
            mend = "rename one of the two and its annotation"
            problems.append(Problem(str(files.path(name)), what, mend))
        else:
            name_of[stem] = name
    return name_of


def _matched(images: Mapping[str, str], labels: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The annotation of each image, and those that are of none."""
    free = {_key(name): name for name in labels}
    found: dict[str, str] = {}
    for spelling in (_key, _key_of_file_name, _key_of_older_name):
        for stem, image in images.items():
            if stem not in found and (label := free.pop(spelling(image), None)) is not None:
                found[stem] = label
    by_stem: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
    for key in free:
        by_stem[key[1]].append(key)
    waiting = Counter(plain_stem(name) for stem, name in images.items() if stem not in found)
    for stem, image in images.items():
        alike = by_stem.get(plain_stem(image), [])
        if stem not in found and len(alike) == 1 and waiting[plain_stem(image)] == 1:
            found[stem] = free.pop(alike[0])
    kept = {*found.values()}
    return found, [name for name in labels if name not in kept]


def _key_of_file_name(name: str) -> tuple[tuple[str, ...], str]:
    """`photo.jpg.xml` belongs to `photo.jpg`."""
    return _key(name)[0], unicodedata.normalize("NFC", PurePosixPath(name).name)


def _key_of_older_name(name: str) -> tuple[tuple[str, ...], str]:
    """`photo.xml` belongs to `photo.jpg.webp`, which was `photo.jpg` when it was labelled."""
    around, stem = _key(name)
    return around, plain_stem(stem) if is_image_name(stem) else stem


def _find_bare_images(
    files: DataFiles,
    images: Mapping[str, str],
    annotations: Mapping[str, str],
    kind: Kind,
    labels: Sequence[str],
    problems: list[Problem],
) -> None:
    suffix = ".txt" if kind == "yolo" else ".xml"
    folder_of = {_key(name)[0]: str(PurePosixPath(name).parent) for name in labels}
    for stem, image in images.items():
        if stem not in annotations:
            folder = folder_of.get(_key(image)[0], HOUSE_FOLDERS[kind])
            place = f"{folder}/{plain_stem(image)}{suffix}".removeprefix("./")
            mend = f"add {place} (with no box in it, if it shows no face)"
            where = str(files.path(image))
            problem = Problem(where, "an image without annotation", mend)
            problems.append(problem.of_image(stem))


def _find_strangers(
    files: DataFiles,
    image_names: Sequence[str],
    labels: Sequence[str],
    used: set[str],
    problems: list[Problem],
) -> None:
    """Files among images or annotations that are neither: one may be an image that is missed."""
    for names, suffixes, roles in (
        (image_names, IMAGE_SUFFIXES, _IMAGE_FOLDERS),
        (labels, tuple(sorted({_suffix(name) for name in labels})), _LABEL_FOLDERS),
    ):
        folders = {str(PurePosixPath(name).parent) for name in names}
        for name in files.names:
            place = PurePosixPath(name)
            known = name in used or _is_known_by_name(name)
            if known or str(place.parent) not in folders or place.parent.name.lower() not in roles:
                continue
            what = f"not one of the files expected in `{place.parent.name}` ({', '.join(suffixes)})"
            problems.append(Problem(str(files.path(name)), what, "move it away or convert it"))


def _is_known_by_name(name: str) -> bool:
    base = PurePosixPath(name).name.lower()
    return (
        base in (*_CLASS_LISTS, *_CLASS_YAMLS, "notes.json", "labels.json")
        or _NOT_LABELS.fullmatch(base) is not None
        or _suffix(name) in (*_LEFT_BY_TOOLS, ".names", ".labels")
    )


def _class_list(names: Sequence[str]) -> str | None:
    """The class list nearest to the root; `classes.names` before others there."""
    known = (*_CLASS_LISTS, *_CLASS_YAMLS)
    found = [name for name in names if PurePosixPath(name).name.lower() in known]
    found += [name for name in names if _suffix(name) in (".names", ".labels")]
    place = {base: number for number, base in enumerate(known)}

    def rank(name: str) -> tuple[int, int]:
        base = PurePosixPath(name).name.lower()
        return name.count("/"), place.get(base, len(known))

    return min(found, key=rank, default=None)


def _note(images: Sequence[str], labels: Sequence[str], sheets: Sequence[str]) -> str:
    """What was found where, in the words of the files."""
    folders = [
        sorted({str(PurePosixPath(name).parent) for name in names}) for names in (images, labels)
    ]
    if (
        not sheets
        and folders[0] in (["images"], [])
        and folders[1] in (["annotations"], ["labels"])
    ):
        return ""
    kinds = " and ".join(sorted({_suffix(name) for name in labels}))
    of = ", ".join(sheets[:3]) if sheets else f"{len(labels)} {kinds} in {_some(folders[1])}"
    of = f"annotations: {of}" if sheets or labels else "no annotations"
    return f"{len(images)} images in {_some(folders[0])}, {of}"


def _some(folders: Sequence[str]) -> str:
    more = f" and {len(folders) - 4} more folders" if len(folders) > 4 else ""
    return ", ".join(f"`{folder}`" for folder in folders[:4]) + more
