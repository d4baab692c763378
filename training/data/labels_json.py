"""labels.json: a folder of pictures whose boxes stand in one JSON file.

The file is a list of `{"file": "images/a.webp", "width": 640, "height": 480, "boxes": [{"xyxy":
[x1, y1, x2, y2], "label": "with_mask"}]}`; `file` is relative to the folder, boxes are in pixels.
Whatever else stands beside them (licence, group, variant) is left to those who look for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from mask_gate.training.data.archive import FolderFiles
from mask_gate.training.data.box_rules import box_faults
from mask_gate.training.data.class_names import label_of, unknown_class
from mask_gate.training.data.dataset import size_problem
from mask_gate.training.data.image_file import MAX_IMAGE_BYTES, decode_image
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.errors import DataError, Problem

LABELS_FILE = "labels.json"
MAX_JSON_BYTES = 100_000_000

_FORM = 'write a list of {"file", "width", "height", "boxes": [{"xyxy", "label"}]}'


def read_labels_json(folder: Path) -> tuple[AnnotatedImage, ...]:
    """Every picture that the folder's `labels.json` names, in its order; no pixel is read.

    Raises:
        DataError: with every problem of the file.
    """
    path = folder / LABELS_FILE
    try:
        entries = json.loads(FolderFiles(folder).read(LABELS_FILE, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise DataError(Problem(str(path), f"no JSON ({error})", _FORM)) from None
    if not isinstance(entries, list):
        raise DataError(Problem(str(path), "not a list", _FORM))
    images: dict[str, AnnotatedImage] = {}
    problems: list[Problem] = []
    for number, entry in enumerate(entries, start=1):
        try:
            image = _image_of(entry, folder, f"{path}: entry {number}")
        except DataError as error:
            problems += error.problems
            continue
        if image.stem in images:
            what, mend = f"a second entry of {image.stem}", "rename one of the two pictures"
            problems.append(Problem(f"{path}: entry {number}", what, mend))
        images[image.stem] = image
    if problems:
        raise DataError(problems)
    return tuple(images.values())


def load_sample(record: AnnotatedImage) -> Sample:
    """Decode one picture and check that it is the one its entry describes.

    Raises:
        DataError: the picture cannot be read, or has another size than its entry says.
    """
    path = record.image_path
    files = FolderFiles(record.annotation_path.parent)
    name = path.relative_to(record.annotation_path.parent).as_posix()
    image = decode_image(files.read(name, MAX_IMAGE_BYTES), str(path))
    size_wh = image.shape[1], image.shape[0]
    if size_wh != record.size_wh:
        raise DataError(size_problem(record, size_wh))
    return Sample(image, record.boxes_xyxy, record.labels, record.stem)


def _image_of(entry: object, folder: Path, where: str) -> AnnotatedImage:
    """One entry.

    Raises:
        DataError: with every problem of it.
    """
    fields = entry if isinstance(entry, Mapping) else {}
    file, boxes = fields.get("file"), fields.get("boxes")
    size_wh = fields.get("width"), fields.get("height")
    if not (isinstance(file, str) and isinstance(boxes, list) and all(map(_is_side, size_wh))):
        raise DataError(Problem(where, "`file`, `width`, `height` or `boxes` is amiss", _FORM))
    name = PurePosixPath(file)
    if name.is_absolute() or ".." in name.parts or not name.stem:
        what = f"the file {file!r} is outside the folder"
        raise DataError(Problem(where, what, "name it relative to the folder of labels.json"))
    width, height = (int(str(side)) for side in size_wh)
    corners, labels, problems = [], [], []
    for box in boxes:
        xyxy, label_name = (
            (box.get("xyxy"), box.get("label")) if isinstance(box, Mapping) else 2 * (None,)
        )
        if not (isinstance(xyxy, list) and len(xyxy) == 4 and all(map(_is_number, xyxy))):
            problems.append(Problem(where, f"the box {xyxy!r:.60} is no four numbers", _FORM))
            continue
        label = label_of(str(label_name))
        if label is None:
            problems.append(unknown_class(str(label_name), where))
            continue
        mend = "correct the box or remove it"
        problems += [Problem(where, what, mend) for what in box_faults(xyxy, (width, height))]
        corners.append(xyxy)
        labels.append(int(label))
    if problems:
        raise DataError(problems)
    return AnnotatedImage(
        folder / name,
        folder / LABELS_FILE,
        (width, height),
        np.array(corners, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        name.stem,
    )


def _is_side(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == value
