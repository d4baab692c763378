"""LabelledFolder: further training images in one folder, listed in its `labels.json`.

`labels.json` is a list of {"file", "width", "height", "boxes": [{"xyxy": [x1, y1, x2, y2], "label":
"with_mask"}, ...]}, one entry a picture; `file` is relative to the folder and boxes are in pixels
of a picture of that width and height. `group` is optional: pictures of one group (the frames of one
video) are so alike that together they can count as one. Other keys are kept for people to read.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    Field,
    FiniteFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
    field_validator,
)

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.image_file import decode_image
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.errors import DataError, Problem

LABELS_FILE = "labels.json"

Corner = Annotated[FiniteFloat, Field(ge=-1e6, le=1e6)]


class LabelledBox(BaseModel):
    """One face, corners in pixels."""

    xyxy: tuple[Corner, Corner, Corner, Corner]
    label: str

    @field_validator("label")
    @classmethod
    def _is_a_class(cls, label: str) -> str:
        if label not in CLASS_NAMES:
            raise ValueError(f"expected one of {', '.join(CLASS_NAMES)}")
        return label


class LabelledPicture(BaseModel):
    """One entry of `labels.json`."""

    file: str = Field(min_length=1)
    width: PositiveInt
    height: PositiveInt
    boxes: list[LabelledBox]
    group: str | None = None


_ENTRIES = TypeAdapter(list[LabelledPicture])


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFolder:
    """Pictures with faces, without splits: all of them are for training.

    Attributes:
        root: the folder.
        images: in the order of the file; `stem` is the name of the picture below `root`.
        groups: of each picture; one that names no group is a group of its own.
    """

    root: Path
    images: tuple[AnnotatedImage, ...]
    groups: tuple[str, ...]

    @classmethod
    def open(cls, root: str | Path) -> LabelledFolder:
        """Read and check every entry; pixels are left for `load`.

        Raises:
            DataError: with every problem found.
        """
        root = Path(root)
        entries = _read(root / LABELS_FILE)
        twice = [name for name, n in Counter(e.file for e in entries).items() if n > 1]
        outside = [e.file for e in entries if Path(e.file).is_absolute() or ".." in e.file]
        where = str(root / LABELS_FILE)
        problems = [Problem(where, f"{name} is listed twice", "remove one") for name in twice]
        problems += [Problem(where, f"{name} is outside the folder", "move it") for name in outside]
        if problems:
            raise DataError(problems)
        groups = tuple(e.group or e.file for e in entries)
        return cls(root, tuple(_annotated(root, entry) for entry in entries), groups)

    def load(self, record: AnnotatedImage) -> Sample:
        """Decode one picture; boxes come along where it was stored smaller than it was labelled.

        Raises:
            DataError: the picture cannot be read, or its shape is not that of its entry.
        """
        image = decode_image(self.read_image(record), str(record.image_path))
        gain = np.array(image.shape[1::-1]) / record.size_wh
        if abs(gain[0] - gain[1]) * max(record.size_wh) > 2:
            said, is_now = record.size_wh, image.shape[1::-1]
            what = f"is {is_now[0]}x{is_now[1]}, its entry says {said[0]}x{said[1]}"
            raise DataError(Problem(str(record.image_path), what, "correct the entry"))
        boxes_xyxy = (record.boxes_xyxy * np.tile(gain, 2)).astype(np.float32)
        return Sample(image, boxes_xyxy, record.labels, f"{self.root.name}/{record.stem}")

    def read_image(self, record: AnnotatedImage) -> bytes:
        """The bytes of one image file.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return record.image_path.read_bytes()
        except OSError as error:
            reason = error.strerror or str(error)
            raise DataError(Problem(str(record.image_path), reason, "put it back")) from None

    def times(self, weight: float, by_group: bool) -> NDArray[np.float64]:
        """[N] how often each picture is shown in an epoch, on average.

        Args:
            weight: how often a picture, or a group of them, is shown.
            by_group: whether a group counts as one picture.
        """
        sizes = Counter(self.groups)
        share = [1 / sizes[group] if by_group else 1.0 for group in self.groups]
        return np.array(share, np.float64) * weight


def _read(path: Path) -> list[LabelledPicture]:
    try:
        return _ENTRIES.validate_json(path.read_bytes())
    except OSError as error:
        mend = f"give a folder that holds {LABELS_FILE}"
        raise DataError(Problem(str(path), error.strerror or str(error), mend)) from None
    except ValidationError as error:
        problems = []
        for fault in error.errors()[:20]:
            place = ".".join(map(str, fault["loc"])) or "the whole file"
            what = f"{place}: {fault['msg']}, got {fault['input']!r:.60}"
            problems.append(Problem(str(path), what, "correct the entry"))
        raise DataError(problems) from None


def _annotated(root: Path, entry: LabelledPicture) -> AnnotatedImage:
    """The entry with its boxes cut to the picture; what no pixel is left of is no face."""
    corners = np.array([box.xyxy for box in entry.boxes], np.float32).reshape(-1, 4)
    corners = corners.clip(0, np.array([entry.width, entry.height] * 2, np.float32))
    labels = np.array([CLASS_NAMES.index(box.label) for box in entry.boxes], np.int64)
    real = (corners[:, 2:] - corners[:, :2]).min(1, initial=np.inf) > 1
    size_wh = entry.width, entry.height
    return AnnotatedImage(
        root / entry.file, root / LABELS_FILE, size_wh, corners[real], labels[real], entry.file
    )
