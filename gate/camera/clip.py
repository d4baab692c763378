"""Clips: video files and folders of images as pictures that have an order, a speed and an end."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

import cv2
import numpy as np
from PIL import Image as PillowImage

from mask_gate.gate.camera.source import Source, SourceKind
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import CameraError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
MIN_SIDE_PX, MAX_PIXELS = 16, 50_000_000
_ORIENTATION = 0x0112  # the tag of EXIF; from 5 on, width and height change places
DEFAULT_FPS = 25.0  # for files that do not say, or say nonsense


class Clip(Protocol):
    """Pictures that have an order, a speed and an end.

    Attributes:
        fps: pictures a second.
    """

    fps: float

    @property
    def index(self) -> int:
        """Of the next picture; it leaps over time in which there is none."""

    def read(self) -> Image | None:
        """The next picture [H, W, 3] uint8 BGR, or None after the last."""

    def skip(self) -> bool:
        """Pass over one picture as cheaply as possible; False after the last."""

    def close(self) -> None:
        """Let go of the file."""


def open_clip(source: Source, folder_fps: float, *, folder_is_numbered: bool = False) -> Clip:
    """The file or folder a path names.

    Args:
        source: a path, or the demo.
        folder_fps: pictures a second of a folder.
        folder_is_numbered: see `FolderClip`.

    Raises:
        CameraError: it is not there, empty, damaged, or neither file nor folder.
    """
    path = Path(source.address)
    try:
        if path.is_dir():
            return FolderClip(path, folder_fps, is_numbered=folder_is_numbered)
        if path.is_file():
            return VideoClip(path)
        there = path.exists()
    except CameraError:
        raise
    except OSError as error:
        raise CameraError(f"cannot read {source}: {error.strerror}; check its rights") from error
    if there:
        raise CameraError(f"{source} is neither a file nor a folder; give a video or a folder")
    if source.kind is SourceKind.DEMO:
        raise CameraError(
            f"the demo clip {source} is missing; draw it: python assets/make_demo.py --out {source}"
        )
    raise CameraError(
        f"no camera, video file or folder called {source}; give an index (0), a device path, a "
        f"URL, a video file, a folder of images, or demo"
    )


class VideoClip:
    """A video file, read through OpenCV's FFmpeg.

    Raises:
        CameraError: empty, damaged, or not a video.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb"):  # says what is wrong with the rights, which OpenCV does not
            pass
        if path.stat().st_size == 0:
            raise CameraError(f"{path} is empty (0 bytes); give a video file with pictures in it")
        self._capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        ok, image = self._capture.read() if self._capture.isOpened() else (False, None)
        if not ok or not is_usable(cast("Image | None", image)):
            self._capture.release()
            raise CameraError(
                f"{path} is not a video that can be played (damaged, cut off, or another kind of "
                f"file); convert it, for example to .mp4 with H.264"
            )
        self._first: Image | None = cast(Image, image)
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0.1 <= fps <= 1000 else DEFAULT_FPS
        self.index = 0

    def read(self) -> Image | None:
        """The next picture, or None after the last that can be decoded."""
        if self._first is not None:
            image, self._first = self._first, None
        else:
            ok, picture = self._capture.read()
            image = cast(Image, picture)
            if not ok or not is_usable(image):
                return None
        self.index += 1
        return as_bgr(image)

    def skip(self) -> bool:
        """Pass over one picture without converting it."""
        there = self._first is not None or bool(self._capture.grab())
        self._first = None
        self.index += there
        return there

    def close(self) -> None:
        """Close the file."""
        self._capture.release()


class FolderClip:
    """The pictures of a folder in the order of their names, where 10 comes after 9.

    They are the frames of one camera: all of one size.

    Args:
        folder: with the pictures.
        fps: pictures a second.
        is_numbered: names are numbers of frames, such as `0041.jpg`; where some are missing, no
            picture came for so long.

    Raises:
        CameraError: the folder has no pictures, or some of several sizes; a name is no number; or
            (while reading) a picture is damaged.
    """

    def __init__(self, folder: Path, fps: float, *, is_numbered: bool = False) -> None:
        self.fps = fps
        paths = picture_paths(folder)
        _check_one_size(folder, paths)
        numbers = _numbers(paths) if is_numbered else range(len(paths))
        self._left = deque(zip(numbers, paths, strict=True))
        self.index = 0

    def read(self) -> Image | None:
        """The next picture, or None after the last."""
        path = self._next()
        return None if path is None else _read_picture(path)

    def skip(self) -> bool:
        """Pass over one picture without opening it."""
        return self._next() is not None

    def close(self) -> None:
        """Give no more pictures."""
        self._left.clear()

    def _next(self) -> Path | None:
        if not self._left:
            return None
        _, path = self._left.popleft()
        self.index = self._left[0][0] if self._left else self.index + 1
        return path


def _numbers(paths: Sequence[Path]) -> list[int]:
    """Numbers of frames by their names, from 0 for the first.

    Raises:
        CameraError: a name is no number, or one number comes twice.
    """
    wrong = next((path for path in paths if not re.fullmatch("[0-9]+", path.stem)), None)
    if wrong is not None:
        raise CameraError(f"{wrong}: expected a frame's number as its name, such as 0041.jpg")
    numbers = [int(path.stem) for path in paths]
    twice = next((b for a, b in pairwise(paths) if int(a.stem) == int(b.stem)), None)
    if twice is not None:
        raise CameraError(f"{twice}: there is another picture with this number; remove one")
    return [number - numbers[0] for number in numbers]


class LoopingClip:
    """A clip that begins anew at its end, for ever.

    Args:
        open_anew: opens the clip at its beginning.
    """

    def __init__(self, open_anew: Callable[[], Clip]) -> None:
        self._open_anew = open_anew
        self._clip = open_anew()
        self.fps = self._clip.fps
        self._begin = 0  # index of its first picture

    @property
    def index(self) -> int:
        """Of the next picture, counted through all rounds."""
        return self._begin + self._clip.index

    def read(self) -> Image | None:
        """The next picture; None only of a clip that has none any more."""
        image = self._clip.read()
        if image is None:
            self._rewind()
            image = self._clip.read()
        return image

    def skip(self) -> bool:
        """Pass over one picture."""
        if self._clip.skip():
            return True
        self._rewind()
        return self._clip.skip()

    def close(self) -> None:
        """Close the file."""
        self._clip.close()

    def _rewind(self) -> None:
        self._begin += self._clip.index
        self._clip.close()
        self._clip = self._open_anew()


def _check_one_size(folder: Path, paths: Sequence[Path]) -> None:
    """See by their first bytes that pictures can be frames of one camera.

    Raises:
        CameraError: they are of several sizes.
    """
    first: tuple[Path, tuple[int, int]] | None = None
    for path in paths:
        size_wh = _size_wh(path)
        if size_wh is None:
            continue  # damaged: told when it is its turn
        if first is None:
            first = path, size_wh
        elif size_wh != first[1]:
            one, other = (f"{w} x {h}" for w, h in (first[1], size_wh))
            raise CameraError(
                f"{folder} holds photos of several sizes ({first[0].name} {one}, {path.name} "
                f"{other}), which no one camera has taken; to look at photos one by one: "
                f"mask-gate-predict {folder} --out DIR"
            )


def _size_wh(path: Path) -> tuple[int, int] | None:
    """Width and height of a picture as it is shown, turned by what a JPEG says of its camera."""
    try:
        with PillowImage.open(path) as picture:
            width, height = picture.size
            turned = picture.format == "JPEG" and picture.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, ValueError, SyntaxError, TypeError, PillowImage.DecompressionBombError):
        return None
    return (height, width) if turned else (width, height)


def _read_picture(path: Path) -> Image:
    """One image file, [H, W, 3] uint8 BGR.

    Raises:
        CameraError: empty, damaged, too small or too large.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)  # imread cannot open every name
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except OSError as error:
        raise CameraError(f"cannot read {path}: {error.strerror}; check its rights") from error
    except cv2.error:
        picture = None
    image = cast("Image | None", picture)
    if image is None or not is_usable(image):
        what = "is empty (0 bytes)" if not len(data) else "is not a picture that can be read"
        raise CameraError(f"{path} {what}; remove it or save it again")
    return image


def picture_paths(folder: Path) -> list[Path]:
    """The image files of a folder, sorted by name with numbers in the order of their value.

    Raises:
        CameraError: there are none.
    """

    def by_number(path: Path) -> tuple[list[tuple[int, str]], str]:
        parts = re.split(r"([0-9]+)", path.stem.lower())
        return [(int(p), "") if p.isdecimal() else (-1, p) for p in parts], path.name

    found = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    ]
    if not found:
        raise CameraError(
            f"{folder} holds no images; expected {', '.join(sorted(IMAGE_SUFFIXES))} files"
        )
    return sorted(found, key=by_number)


def is_usable(image: Image | None) -> bool:
    """Whether this can be a picture at all: bytes, a sane size, grey or colour."""
    if image is None or image.dtype != np.uint8 or image.ndim not in (2, 3):
        return False
    height, width = image.shape[:2]
    return bool(min(height, width) >= MIN_SIDE_PX and height * width <= MAX_PIXELS)


def as_bgr(image: Image) -> Image:
    """[H, W, 3] whatever the driver gave."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels == 3:
        return image
    code = {1: cv2.COLOR_GRAY2BGR, 4: cv2.COLOR_BGRA2BGR}[channels]
    return cast(Image, cv2.cvtColor(image, code))
