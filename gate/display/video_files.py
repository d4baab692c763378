"""Video files that browsers play: H.264 where this machine has an encoder for it, VP8 elsewhere."""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.opencv import prepare_opencv

SUFFIXES = (".mp4", ".mov", ".webm", ".mkv", ".avi")

_H264, _VP8, _MJPEG = "avc1", "VP80", "MJPG"
_NAMES = {_H264: "H.264", _VP8: "VP8", _MJPEG: "Motion JPEG"}


@lru_cache(maxsize=1)
def encodes_h264() -> bool:
    """Whether OpenCV finds an encoder here; its wheels bring none, but can use the hardware's."""
    prepare_opencv()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.mp4"
        writer = _writer(path, _H264, 10.0, (128, 96))
        if not writer.isOpened():
            return False
        writer.write(np.zeros((96, 128, 3), np.uint8))
        writer.release()
        return path.is_file() and path.stat().st_size > 0


def playable(path: Path) -> tuple[Path, str]:
    """The file that is written for a wanted one, and the name of its codec.

    An .mp4 or .mov becomes a .webm where there is no encoder for H.264; .avi is left as it is asked
    for, though no browser plays it.
    """
    path = path.with_suffix(path.suffix.lower())
    codec = _codec(path)
    if codec == _VP8 and path.suffix in (".mp4", ".mov"):
        path = path.with_suffix(".webm")
    return path, _NAMES[codec]


def open_writer(path: Path, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter:
    """OpenCV's writer, with the codec of the file's suffix."""
    return _writer(path, _codec(path), fps, size_wh)


def open_recording(
    base: Path, fps: float, size_wh: tuple[int, int]
) -> tuple[Path, cv2.VideoWriter]:
    """A new video beside `base`, which has no suffix, and its writer.

    Raises:
        OutputError: the encoder does not start.
    """
    path, codec = playable(base.with_name(f"{base.name}.mp4"))
    writer = open_writer(path, fps, size_wh)
    if not writer.isOpened():
        raise OutputError(f"{path}: cannot be written as {codec}; check the free space there")
    return path, writer


def _codec(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix == ".avi":
        return _MJPEG
    return _H264 if suffix != ".webm" and encodes_h264() else _VP8


def _writer(path: Path, codec: str, fps: float, size_wh: tuple[int, int]) -> cv2.VideoWriter:
    code = cv2.VideoWriter.fourcc(*codec)
    return cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, code, fps, size_wh)
