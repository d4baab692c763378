"""OpencvCapture: what OpenCV reads: devices (V4L2), streams (FFmpeg), pipelines (GStreamer)."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import cast

import cv2

from mask_gate.gate.camera.capture_word import Word, word_of_status
from mask_gate.gate.camera.frame_buffer import MAX_PIXELS
from mask_gate.gate.camera.source import Source, SourceKind
from mask_gate.gate.clock import uptime_s
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import CameraError
from mask_gate.gate.system.opencv import V4L_SELECT_TIMEOUT_S

OPEN_TIMEOUT_MS = 1500  # OpenCV waits 30 s if nothing is said
READ_TIMEOUT_MS = 1500

# FFmpeg would otherwise watch twenty pictures go by, to learn how many come in a second.
STREAM_OPTIONS = "rtsp_flags;prefer_tcp|fpsprobesize;0"

_INTER_CODED = frozenset({"h264", "avc1", "hevc", "hev1", "hvc1", "FMP4", "mp4v", "VP80", "VP90"})


def prepare_capture() -> None:
    """Make OpenCV give up on a dead device soon, and say on standard error only what is damaged.

    For a process that does nothing but capture, before its first capture.
    """
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(V4L_SELECT_TIMEOUT_S))
    os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", STREAM_OPTIONS)
    for name in ("OPENCV_FFMPEG_LOGLEVEL", "OPENCV_FFMPEG_DEBUG"):  # they would lead to stdout
        os.environ.pop(name, None)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class OpencvCapture:
    """One opening of a device or stream.

    Attributes:
        is_inter_coded: whether a picture tells only what changed since the one before. Then damage
            shows until the next key frame, and a picture comes out only when the next one begins
            to arrive.
        passed_over: no pictures; each one is taken.
        has_clock: whether stamps are those of stream or driver. FFmpeg makes some up, 25 a second,
            where a stream carries none, as raw H.264 over HTTP.
    """

    def __init__(self, capture: cv2.VideoCapture, *, has_clock: bool = True) -> None:
        self.passed_over = 0
        self.has_clock = has_clock
        self._capture = capture
        code = int(capture.get(cv2.CAP_PROP_FOURCC))
        name = code.to_bytes(4, "little", signed=code < 0).decode("latin-1")
        self.is_inter_coded = name in _INTER_CODED

    def grab(self) -> float | None:
        """Wait for the next picture; when it came, or None when there are no more."""
        return uptime_s() if self._capture.grab() else None

    def retrieve(self) -> Image | None:
        """Convert it; None if that fails."""
        ok, image = self._capture.retrieve()
        return cast(Image, image) if ok else None

    def stamp_s(self) -> float | None:
        """When the picture was taken by the clock of stream or driver, from a zero of its own."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def is_key_frame(self) -> bool:
        """Whether it shows nothing of the pictures before it."""
        return bool(self._capture.get(cv2.CAP_PROP_LRF_HAS_KEY_FRAME))

    def release(self) -> None:
        """Let go of the device."""
        self._capture.release()


def open_stream(url: str, *, has_clock: bool = True) -> OpencvCapture | None:
    """A stream through FFmpeg, or None if that fails or its pictures are too large.

    Args:
        url: what FFmpeg can open.
        has_clock: whether the stream carries the times of its pictures.
    """
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS,
        cv2.CAP_PROP_N_THREADS, 1,  # more would hold pictures back, one for each
    ]  # fmt: skip
    return _if_opened(cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits), has_clock=has_clock)


def check_pipelines() -> None:
    """See that OpenCV can run pipelines of GStreamer.

    Raises:
        CameraError: it was built without.
    """
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise CameraError(
            "gst: needs an OpenCV that is built with GStreamer, and the one of pip is not: use "
            "that of the system (Debian: apt-get install python3-opencv gstreamer1.0-plugins-good, "
            "in an environment made with --system-site-packages and without "
            "opencv-python), or serve the pipeline by RTSP or as a video device "
            "(v4l2loopback)"
        )


def open_pipeline(pipeline: str) -> OpencvCapture | None:
    """What a pipeline of GStreamer hands over, or None if it does not run."""
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS,
    ]  # fmt: skip
    return _if_opened(cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER, limits))


def why_not_opened(said: bytes) -> Word:
    """What it means that FFmpeg said this on standard error and opened no stream."""
    status = re.search(rb"failed: ([45][0-9]{2})|returned ([45][0-9]{2})", said)
    if status is None:
        found_nothing = re.search(rb"Invalid data|Could not find|Unable to open", said)
        return Word.NO_PICTURE if found_nothing else Word.UNREACHED
    return word_of_status(int(status[1] or status[2]))


def open_device(source: Source) -> OpencvCapture | None:
    """A video device, or None if it is not there or another program uses it.

    The node behind a stable link is looked up each time: it may have come back renumbered.
    """
    device: int | str = source.address
    if source.kind is SourceKind.INDEX:
        device = int(source.address)
    else:
        device = str(Path(source.address).resolve())
    backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    capture = cv2.VideoCapture(device, backend)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return _if_opened(capture)


def _if_opened(capture: cv2.VideoCapture, *, has_clock: bool = True) -> OpencvCapture | None:
    width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    height = capture.get(cv2.CAP_PROP_FRAME_HEIGHT)
    if capture.isOpened() and width * height <= MAX_PIXELS:
        return OpencvCapture(capture, has_clock=has_clock)
    capture.release()
    return None
