"""VideoRecorder: writes what was on the screen to a video file, and never delays the loop.

Encoding runs in a thread of its own behind a short queue; when the encoder is behind, pictures are
dropped. The file is played at the speed at which things happened, whatever the gate's frame rate,
and an earlier recording of the same name is replaced only by a complete one.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from mask_gate.gate.display.video_files import SUFFIXES, open_writer, playable
from mask_gate.gate.domain import Image
from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.opencv import prepare_opencv
from mask_gate.gate.system.threads import DoorThread

QUEUE_FRAMES = 8
LONGEST_GAP_S = 2.0  # a longer silence is cut short, so that a gap never fills the disk
CLOSE_TIMEOUT_S = 10.0

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC

OpenWriter = Callable[[Path, float, tuple[int, int]], cv2.VideoWriter]
"""Opens a video file, given its path, pictures per second, and width and height in pixels."""

log = logging.getLogger(__name__)


class VideoRecorder:
    """Writes a video file in a thread of its own.

    Args:
        path: the file; its suffix chooses the container, one of `SUFFIXES`, though see `playable`.
        fps: pictures per second in the file.
        queue_frames: so many pictures wait for the encoder; further ones are dropped.
        open_writer: opens the file.

    Attributes:
        path: the file that is written.
        error: why the recording stopped, once it has.

    Raises:
        OutputError: no such folder, not allowed to write there, or an unknown suffix.
    """

    def __init__(
        self,
        path: Path,
        fps: float = 15.0,
        *,
        queue_frames: int = QUEUE_FRAMES,
        open_writer: OpenWriter = open_writer,
    ) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise OutputError(
                f"--record {path}: unknown kind of video; expected a name ending in "
                f"{', '.join(SUFFIXES)}"
            )
        prepare_opencv()
        self.path, codec = playable(path)
        if self.path.suffix != path.suffix.lower():
            log.warning("no encoder for H.264 here: recording to %s as %s", self.path, codec)
        self._dropped = 0
        self.error: str | None = None
        self._part = self.path.with_name(f"{path.stem}.part{self.path.suffix}")
        self._check_writable(path)
        self._fps = fps
        self._open_writer = open_writer
        self._size_wh: tuple[int, int] | None = None
        self._started_s = 0.0
        self._written = 0
        self._queue: queue.Queue[tuple[Image, float] | None] = queue.Queue(queue_frames)
        self._closing = threading.Event()
        self._thread = DoorThread(target=self._run, name="recorder")
        self._thread.start()

    def _check_writable(self, asked_for: Path) -> None:
        """Find out now, not at the end, whether the file can be written."""
        try:
            if self.path.is_dir() or asked_for.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            self._part.unlink(missing_ok=True)
            os.close(os.open(self._part, _CREATE, 0o640))  # people can be told from one another
        except OSError as error:
            raise OutputError(
                f"--record {self.path}: cannot write there ({error.strerror}); make the folder or "
                f"give another file"
            ) from error

    def write(self, image: Image, time_s: float) -> None:
        """Add a picture taken at monotonic `time_s`; returns at once, drops it when behind.

        Args:
            image: [H, W, 3] uint8 BGR, left alone by the caller from now on.
            time_s: not earlier than that of the picture before.
        """
        try:
            if not self._closing.is_set():
                self._queue.put_nowait((image, time_s))
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Finish the file; may be called twice.

        Raises:
            OutputError: pictures came, but there is no playable file.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        self._thread.join(CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            self.error = self.error or "the encoder does not end"
        if self._dropped:
            log.warning("%s lacks %d pictures: the encoder was behind", self.path, self._dropped)
        if self.error is not None:
            raise OutputError(f"--record {self.path}: {self.error}; check the free space there")

    def _run(self) -> None:
        """Encode what comes until closed, then put the file in its place."""
        writer: cv2.VideoWriter | None = None
        try:
            while (item := self._next()) is not None:
                writer = writer or self._open(item[0], item[1])
                if self.error is None:
                    self._encode(writer, *item)
        except (cv2.error, OSError) as error:
            self._fail(str(error).strip().splitlines()[-1])
        if writer is not None:
            writer.release()
        self._finish()

    def _next(self) -> tuple[Image, float] | None:
        """The next picture, or None when closed and none is left."""
        while True:
            try:
                return self._queue.get(timeout=0.1)
            except queue.Empty:
                if self._closing.is_set():
                    return None

    def _open(self, image: Image, time_s: float) -> cv2.VideoWriter:
        # Encoders of this kind want even sides.
        self._size_wh = (max(image.shape[1] // 2 * 2, 2), max(image.shape[0] // 2 * 2, 2))
        self._started_s = time_s
        writer = self._open_writer(self._part, self._fps, self._size_wh)
        if not writer.isOpened():
            self._fail("the video encoder does not start")
        return writer

    def _encode(self, writer: cv2.VideoWriter, image: Image, time_s: float) -> None:
        """Write the picture as often as it takes to reach its time in the file."""
        due = round((time_s - self._started_s) * self._fps) + 1
        longest = max(round(LONGEST_GAP_S * self._fps), 1)
        if due - self._written > longest:
            self._started_s += (due - self._written - longest) / self._fps
            due = self._written + longest
        if due <= self._written:
            return
        if image.shape[1::-1] != self._size_wh:
            image = np.asarray(cv2.resize(image, self._size_wh), np.uint8)
        for _ in range(due - self._written):
            writer.write(image)
        self._written = due

    def _fail(self, why: str) -> None:
        """Stop recording and log why, once; the gate goes on."""
        if self.error is None:
            self.error = why
            log.error("recording %s stopped: %s", self.path, why)

    def _finish(self) -> None:
        """Give a complete recording its name; leave nothing behind where there is none."""
        try:
            if self.error is None and self._written and not _is_playable(self._part):
                self._fail("the file was not written completely")
            if self.error is None and self._written:
                self._part.replace(self.path)
            else:
                self._part.unlink(missing_ok=True)
        except OSError as error:
            self._fail(error.strerror or str(error))


def _is_playable(path: Path) -> bool:
    """Whether a first picture can be read back: on a full disk, writing reports no error."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        return bool(capture.isOpened() and capture.grab())
    finally:
        capture.release()
