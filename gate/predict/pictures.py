"""Pictures: what the words for a source name, and image files as upright pixels."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageOps, UnidentifiedImageError

from mask_gate.gate.camera.clip import IMAGE_SUFFIXES, MAX_PIXELS
from mask_gate.gate.camera.source import SourceKind, parse_source
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import CameraError, ConfigError

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v", ".mpg", ".mpeg"})
STANDARD_INPUT = "-"


class Kind(StrEnum):
    """What one item is."""

    PICTURE = "picture"
    VIDEO = "video"
    CAMERA = "camera"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to look at.

    Attributes:
        kind: how it is opened.
        source: the path of a file, or the words for a camera.
        name: what its results are called, as a relative path without suffix.
    """

    kind: Kind
    source: str
    name: str


def find_items(sources: Sequence[str], lines: Iterable[str] = ()) -> list[Item]:
    """Everything that the sources name, in their order; what is in a folder in natural order.

    Args:
        sources: files, folders, patterns such as `photos/*.jpg`, cameras, or `-` for `lines`.
        lines: paths, one a line.

    Raises:
        ConfigError: a source names nothing, or a folder holds no pictures.
    """
    if not sources:
        raise ConfigError("give a picture, a folder, a video, a pattern, a camera, or - for a list")
    items: list[Item] = []
    for source in sources:
        if source == STANDARD_INPUT:
            for line in lines:
                if line.strip():
                    items += _of_words(line.rstrip("\r\n"))
        else:
            items += _of_words(source)
    if not items:
        raise ConfigError("the list names nothing; expected a path a line")
    return _with_names_of_their_own(items)


def _of_words(words: str) -> list[Item]:
    path = Path(words)
    if path.is_dir():
        return _of_folder(path)
    if path.is_file():
        return [_of_file(path, path.stem)]
    if any(letter in words for letter in "*?["):
        found = sorted(map(Path, glob.glob(words, recursive=True)), key=_by_number)  # noqa: PTH207
        items = [_of_file(p, p.stem) for p in found if p.is_file()]
        if not items:
            raise ConfigError(f"{words}: nothing fits this pattern")
        return items
    source = parse_source(words)
    if source.kind is SourceKind.PATH:
        raise ConfigError(f"{words}: no such file or folder")
    return [Item(Kind.CAMERA, words, "demo" if source.kind is SourceKind.DEMO else "camera")]


def _of_folder(folder: Path) -> list[Item]:
    wanted = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    found = [p for p in folder.rglob("*") if p.suffix.lower() in wanted and p.is_file()]
    if not found:
        shown = ", ".join(sorted(IMAGE_SUFFIXES))
        raise ConfigError(f"{folder}: no pictures and no videos there; expected {shown} files")
    found.sort(key=_by_number)
    return [_of_file(p, str(p.relative_to(folder).with_suffix(""))) for p in found]


def _of_file(path: Path, name: str) -> Item:
    kind = Kind.VIDEO if path.suffix.lower() in VIDEO_SUFFIXES else Kind.PICTURE
    return Item(kind, str(path), name)


def _with_names_of_their_own(items: Sequence[Item]) -> list[Item]:
    """The items, with a number behind each name that came before: results never meet."""
    named: list[Item] = []
    taken: set[str] = set()
    for item in items:
        name, number = item.name, 1
        while name in taken:
            number += 1
            name = f"{item.name}-{number}"
        taken.add(name)
        named.append(Item(item.kind, item.source, name))
    return named


def _by_number(path: Path) -> list[tuple[int, str]]:
    """Where 10 comes after 9."""
    parts = re.split(r"([0-9]+)", str(path).lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def read_picture(path: Path) -> Image:
    """The upright pixels of an image file, [H, W, 3] uint8 BGR.

    Raises:
        CameraError: it is no picture, damaged, or too large.
    """
    try:
        with PillowImage.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise CameraError(
                    f"{path}: {image.width} x {image.height} pixels, expected up to "
                    f"{MAX_PIXELS // 1_000_000} million; make it smaller"
                )
            upright = ImageOps.exif_transpose(image)
            rgb = np.asarray(upright.convert("RGB"))
    except UnidentifiedImageError:
        raise CameraError(f"{path}: not a picture that can be read") from None
    except PillowImage.DecompressionBombError:
        raise CameraError(f"{path}: too many pixels; make it smaller") from None
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's readers raise all of them
        if isinstance(error, CameraError):
            raise
        why = error.strerror if isinstance(error, OSError) and error.strerror else "damaged"
        raise CameraError(f"{path}: cannot be read ({why}); get it again") from None
    return np.ascontiguousarray(rgb[..., ::-1])
