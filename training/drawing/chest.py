"""MaskChest: every mask that can be put on, the templates of a folder and the procedural ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from mask_gate.training.data.image_file import IMAGE_SUFFIXES
from mask_gate.training.drawing.templates import flattened
from mask_gate.training.drawing.textures import Random, Texture, cloth, respirator, surgical
from mask_gate.training.errors import DataError, Problem

PROCEDURAL = (surgical, cloth, respirator)
PROCEDURAL_SHARES = (0.5, 0.33, 0.17)
TEMPLATE_SHARE = 0.46
STIFF = ("n95", "gas", "ffp", "respirator")  # in the names of templates that do not crumple


class MaskChest:
    """Draws one mask after the other.

    Attributes:
        templates: flattened pictures; without any, all masks are procedural.
    """

    def __init__(self, templates: Sequence[Texture] = ()) -> None:
        self.templates = tuple(templates)

    @classmethod
    def open(cls, folder: Path | None) -> MaskChest:
        """Flatten every picture below `folder` whose surroundings are transparent.

        Raises:
            DataError: there is none.
        """
        if folder is None:
            return cls()
        templates = []
        for path in sorted(folder.rglob("*")):
            cloth = flattened(path) if path.suffix.lower() in IMAGE_SUFFIXES else None
            if cloth is not None:
                name = path.relative_to(folder).with_suffix("").as_posix()
                is_soft = not any(word in name.lower() for word in STIFF)
                templates.append(Texture(name, cloth, is_soft))
        if not templates:
            mend = "give a folder with cut-out pictures of masks, or none"
            raise DataError(Problem(str(folder), "no picture with transparent surroundings", mend))
        return cls(templates)

    def draw(self, rng: Random) -> Texture:
        """One mask by chance; half of the templates come mirrored, some in another colour."""
        if self.templates and rng.random() < TEMPLATE_SHARE:
            return _varied(self.templates[int(rng.integers(len(self.templates)))], rng)
        return PROCEDURAL[int(rng.choice(len(PROCEDURAL), p=PROCEDURAL_SHARES))](rng)


def _varied(texture: Texture, rng: Random) -> Texture:
    bgr = texture.bgr[:, ::-1] if rng.random() < 0.5 else texture.bgr
    if rng.random() < 0.35:
        hsv = cv2.cvtColor(np.ascontiguousarray(bgr.clip(0, 1)), cv2.COLOR_BGR2HSV)
        gain = np.array([1, rng.uniform(0.5, 1.1), rng.uniform(0.8, 1.03)], np.float32)
        turned = np.asarray(hsv * gain, np.float32)
        turned[..., 0] = np.mod(turned[..., 0] + rng.uniform(-25, 25), 360)
        bgr = cv2.cvtColor(turned, cv2.COLOR_HSV2BGR).astype(np.float32)
    return Texture(texture.name, np.ascontiguousarray(bgr), texture.is_soft)
