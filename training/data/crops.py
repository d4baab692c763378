"""CropFolder: pictures of single faces, sorted into a folder for each class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.image_file import IMAGE_SUFFIXES, decode_image, image_size_wh
from mask_gate.training.data.samples import AnnotatedImage, Sample
from mask_gate.training.errors import DataError, Problem


@dataclass(frozen=True, slots=True, eq=False)
class CropFolder:
    """Face pictures; the box of each is the whole picture.

    Attributes:
        root: the folder that holds a folder for each class.
        images: sorted by class and name.
    """

    root: Path
    images: tuple[AnnotatedImage, ...]

    @classmethod
    def open(cls, root: Path) -> CropFolder:
        """Find every picture; pixels are left for `load`.

        Raises:
            DataError: no folder of a class is there, or with every picture that cannot be read.
        """
        images, problems = list[AnnotatedImage](), list[Problem]()
        for label, name in enumerate(CLASS_NAMES):
            for path in sorted(p for p in root.glob(f"{name}/**/*") if p.is_file()):
                if path.suffix.lower() not in IMAGE_SUFFIXES:
                    continue
                try:
                    size_wh = image_size_wh(path.read_bytes(), str(path))
                except DataError as error:
                    problems += error.problems
                    continue
                box = np.array([[0, 0, *size_wh]], np.float32)
                stem = path.relative_to(root).with_suffix("").as_posix()
                images.append(AnnotatedImage(path, path, size_wh, box, np.array([label]), stem))
        if not (images or problems):
            mend = f"sort the pictures into folders named {', '.join(CLASS_NAMES)}"
            problems.append(Problem(str(root), "no face pictures of any class", mend))
        if problems:
            raise DataError(problems)
        return cls(root, tuple(images))

    def load(self, record: AnnotatedImage) -> Sample:
        """Decode one picture.

        Raises:
            DataError: it cannot be read.
        """
        image = decode_image(self.read_image(record), str(record.image_path))
        return Sample(image, record.boxes_xyxy, record.labels, record.stem)

    def read_image(self, record: AnnotatedImage) -> bytes:
        """The bytes of one image file."""
        return record.image_path.read_bytes()
