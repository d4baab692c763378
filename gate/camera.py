"""Cameras: one source in words becomes a stream of frames, the newest one first.

A live camera is drained by a thread of its own, so that a slow consumer gets a fresh picture and
never one from a buffer. Files and folders either play at their own speed, as a camera would, or
give every picture in turn with the time it has in the file.

`read` returns None when no picture came in time. Then `ended` says that a file is over; a live
camera that is away is being reopened meanwhile. Going and coming back are logged once.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, cast

import cv2

from gate.clip import Clip, Image, as_bgr, is_usable, open_clip
from gate.domain import Frame
from gate.errors import CameraError, ConfigError
from gate.source import Source, SourceKind, parse_source

Clock = Callable[[], float]

OPEN_TIMEOUT_MS = 1500  # OpenCV waits 30 s if nothing is said
READ_TIMEOUT_MS = 1500
V4L_SELECT_TIMEOUT_S = 2  # OpenCV waits 10 s if nothing is said
MAX_FRAME_AGE_S = 0.5
BACK_OFF_S = (0.1, 0.2, 0.4, 0.8, 1.0)

_log = logging.getLogger(__name__)


class Camera(Protocol):
    """Where frames come from."""

    @property
    def is_live(self) -> bool:
        """Whether it has no end by itself."""

    @property
    def ended(self) -> bool:
        """Whether no frame will ever come again."""

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame not yet read, or None if it does not come within `timeout_s`.

        Raises:
            CameraError: the file or folder turned out to be damaged.
        """

    def close(self) -> None:
        """Let go of the device; may be called twice."""


def open_camera(
    source: str | Source,
    *,
    realtime: bool = True,
    folder_fps: float = 10.0,
    first_frame_s: float = 5.0,
    clock: Clock = time.monotonic,
) -> Camera:
    """Open what `source` names.

    Args:
        source: as given after `--camera`, or already parsed.
        realtime: play files and folders at their own speed, dropping what is not read in time;
            False gives every picture, `time_s` counted from the start of the clip. No effect on
            live cameras.
        folder_fps: pictures per second of a folder.
        first_frame_s: how long a live camera may take until its first frame.
        clock: monotonic seconds.

    Raises:
        ConfigError: the words name nothing that can be a camera.
        CameraError: there is no picture to be had there.
    """
    wanted = parse_source(source) if isinstance(source, str) else source
    if not 0 < folder_fps <= 240:
        raise ConfigError(f"folder fps must be in 0..240, got {folder_fps}")
    prepare_opencv()
    live = _live_opener(wanted)
    if live is not None:
        camera = LiveCamera(live, _called(wanted), _advice(wanted), clock=clock)
        camera.wait_for_first_frame(first_frame_s)
        return camera
    clip = open_clip(wanted, folder_fps)
    return PacedCamera(clip, clock=clock) if realtime else ReplayCamera(clip)


def prepare_opencv() -> None:
    """Make OpenCV give up on a dead device soon, and keep its own chatter off the terminal.

    The variables are read at the first capture of the process; what the operator set stays.
    """
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(V4L_SELECT_TIMEOUT_S))
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class Capture(Protocol):
    """The part of `cv2.VideoCapture` that is used here."""

    def grab(self) -> bool:
        """Take the next picture from the device; False when there is none."""

    def retrieve(self) -> tuple[bool, Image]:
        """Decode the picture taken."""

    def release(self) -> None:
        """Let go of the device."""


Opener = Callable[[], Capture | None]


def _live_opener(source: Source) -> Opener | None:
    """What opens a live camera, or None if the source is a clip.

    Raises:
        CameraError: there is no such device at all.
    """
    if source.kind is SourceKind.URL:
        return lambda: _open_url(source.address)
    if source.kind is SourceKind.INDEX:
        index = int(source.address)
        if sys.platform.startswith("linux") and not Path(f"/dev/video{index}").exists():
            raise CameraError(
                f"no camera {index}: /dev/video{index} does not exist; plug one in, give another "
                f"one of {_video_devices()}, or try --camera demo"
            )
        return lambda: _open_device(index)
    if source.kind is SourceKind.DEVICE:
        if not Path(source.address).is_char_device():
            raise CameraError(
                f"no camera at {source}: not a device of this machine; plug it in, give another "
                f"one of {_video_devices()}, or try --camera demo"
            )
        # The node behind a stable link is looked up at each opening: it may come back renumbered.
        return lambda: _open_device(str(Path(source.address).resolve()))
    return None


def _called(source: Source) -> str:
    return f"camera {source}" if source.kind is SourceKind.INDEX else str(source)


def _advice(source: Source) -> str:
    """What to check when there is no picture."""
    if source.kind is SourceKind.URL:
        return "that address, user and password are right"
    return "that you may use it (on Linux: be in the group video)"


def _video_devices() -> str:
    """The video devices this machine has, for a message."""
    found = sorted(str(path) for path in Path("/dev").glob("video*"))
    return ", ".join(found) if found else "/dev/video* (none here now)"


def _open_url(url: str) -> Capture | None:
    limits = [
        cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, OPEN_TIMEOUT_MS,
        cv2.CAP_PROP_READ_TIMEOUT_MSEC, READ_TIMEOUT_MS,
    ]  # fmt: skip
    return _if_opened(cv2.VideoCapture(url, cv2.CAP_FFMPEG, limits))


def _open_device(device: int | str) -> Capture | None:
    backend = cv2.CAP_V4L2 if sys.platform.startswith("linux") else cv2.CAP_ANY
    capture = cv2.VideoCapture(device, backend)
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return _if_opened(capture)


def _if_opened(capture: cv2.VideoCapture) -> Capture | None:
    if capture.isOpened():
        return cast(Capture, capture)
    capture.release()
    return None


class _NewestFrame:
    """A place for one frame between the thread that takes pictures and the one that reads them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._error: CameraError | None = None
        self._closed = False
        self.newest_time_s: float | None = None

    def put(self, frame: Frame) -> None:
        """Lay a frame there, in place of one that nobody came for."""
        with self._changed:
            self._frame = frame
            self.newest_time_s = frame.time_s
            self._changed.notify_all()

    def finish(self, error: CameraError | None = None) -> None:
        """No more will come; an error is told to whoever reads next."""
        with self._changed:
            self._closed = True
            self._error = error
            self._changed.notify_all()

    @property
    def finished(self) -> bool:
        """Whether nothing is left and nothing will come."""
        with self._changed:
            return self._closed and self._frame is None and self._error is None

    def take(self, timeout_s: float, max_age_s: float) -> Frame | None:
        """The frame that lies there, or the next one; None after `timeout_s` or at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_fresh(max_age_s) or self._closed, timeout_s)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            frame, self._frame = self._frame, None
            return frame

    def _has_fresh(self, max_age_s: float) -> bool:
        if self._frame is not None and self._clock() - self._frame.time_s > max_age_s:
            self._frame = None
        return self._frame is not None


class _ThreadedCamera:
    """What live cameras and paced clips share: a thread that takes pictures, one slot, an end."""

    def __init__(self, name: str, max_age_s: float, clock: Clock) -> None:
        self.name = name
        self._max_age_s = max_age_s
        self._clock = clock
        self._slot = _NewestFrame(clock)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="camera", daemon=True)

    def _run(self) -> None:
        """Take pictures until told to stop; the end of the thread is the end of the camera."""
        error: CameraError | None = CameraError(
            f"the thread that reads {self.name} broke down; start the gate again"
        )
        try:
            self._take_pictures()
            error = None
        except CameraError as damage:
            error = damage
        finally:
            self._slot.finish(error)

    def _take_pictures(self) -> None:
        raise NotImplementedError

    @property
    def ended(self) -> bool:
        """Whether no frame will ever come again."""
        return self._stop.is_set() or self._slot.finished

    def read(self, timeout_s: float) -> Frame | None:
        """The newest frame not yet read, or None if none comes within `timeout_s`."""
        return None if self._stop.is_set() else self._slot.take(timeout_s, self._max_age_s)

    def _begin(self) -> None:
        """Start taking pictures, once."""
        if self._thread.ident is None:
            self._thread.start()

    def close(self) -> None:
        """Stop the thread; it gives the device back as soon as the driver lets it."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=0.5 + READ_TIMEOUT_MS / 1000)


class LiveCamera(_ThreadedCamera):
    """A device or stream: always drained, only its newest frame kept, reopened when it goes away.

    Args:
        opener: opens the device, or returns None when that fails; called again after each loss.
        name: for messages, without credentials.
        advice: what to check when there is no picture.
        max_age_s: a frame that has waited longer than this is thrown away unread.
        clock: monotonic seconds.
    """

    is_live = True

    def __init__(
        self,
        opener: Opener,
        name: str,
        advice: str = "that it sends pictures",
        *,
        max_age_s: float = MAX_FRAME_AGE_S,
        clock: Clock = time.monotonic,
    ) -> None:
        super().__init__(name, max_age_s, clock)
        self._opener = opener
        self._advice = advice
        self._index = 0
        self._tries = 0
        self._told_lost: bool | None = None  # not before it was there once
        self._begin()

    def wait_for_first_frame(self, timeout_s: float) -> None:
        """Return when there is a picture; it stays there to be read.

        Raises:
            CameraError: there was none in time; the camera is given up then.
        """
        end_s = time.monotonic() + timeout_s
        while self._slot.newest_time_s is None and time.monotonic() < end_s:
            self._stop.wait(0.02)
        if self._slot.newest_time_s is None:
            self._stop.set()  # without waiting for a driver that may be what hangs
            raise CameraError(
                f"no picture from {self.name} after {max(self._tries, 1)} tries in "
                f"{timeout_s:g} s; check that it is on, that nothing else uses it and "
                f"{self._advice}, or try --camera demo"
            )

    def _take_pictures(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._tries += 1
            try:
                capture = self._opener()
                if capture is not None and self._drain(capture):
                    failures = 0
            except cv2.error as error:
                _log.debug("OpenCV gave up on %s: %s", self.name, error)
            self._tell(lost=True)
            self._stop.wait(BACK_OFF_S[min(failures, len(BACK_OFF_S) - 1)])
            failures += 1

    def _drain(self, capture: Capture) -> bool:
        """Keep the newest picture until the camera fails; whether there was any."""
        any_frame = False
        try:
            while not self._stop.is_set() and capture.grab():
                time_s = self._clock()
                ok, image = capture.retrieve()
                if not ok:
                    break
                self._index += 1
                if is_usable(image):
                    any_frame = True
                    self._tell(lost=False)
                    self._slot.put(Frame(as_bgr(image), time_s, self._index))
        finally:
            capture.release()
        return any_frame

    def _tell(self, *, lost: bool) -> None:
        """One line when the camera goes away, one when it is back."""
        if self._told_lost is None:
            self._told_lost = None if lost else False
        elif lost != self._told_lost and not self._stop.is_set():
            self._told_lost = lost
            what = "lost; trying to reopen it" if lost else "back"
            _log.warning("%s is %s", self.name, what)


class PacedCamera(_ThreadedCamera):
    """A clip played at its own speed: who reads slowly misses pictures, as with a camera."""

    is_live = False

    def __init__(self, clip: Clip, *, clock: Clock = time.monotonic) -> None:
        super().__init__("clip", float("inf"), clock)  # the last picture waits for its reader
        self._clip = clip

    def read(self, timeout_s: float) -> Frame | None:
        """The newest picture not yet read; the clip starts to play at the first call."""
        self._begin()
        return super().read(timeout_s)

    def close(self) -> None:
        """Stop playing and close the file."""
        super().close()
        if self._thread.ident is None:
            self._clip.close()

    def _take_pictures(self) -> None:
        period_s = 1 / self._clip.fps
        start_s = self._clock()
        index = 0
        try:
            while not self._stop.is_set():
                while self._clock() - start_s > (index + 1) * period_s and self._clip.skip():
                    index += 1  # behind: the moment of this picture is over
                image = self._clip.read()
                if image is None:
                    return
                self._stop.wait(max(start_s + index * period_s - self._clock(), 0))
                self._slot.put(Frame(image, self._clock(), index))
                index += 1
        finally:
            self._clip.close()


class ReplayCamera:
    """A clip picture by picture: the same frames and times at every run, however slow the reader.

    `time_s` of frame i is i / fps: seconds from the start of the clip, not of any clock.
    """

    is_live = False

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self._index = 0
        self.ended = False

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None at the end. It does not wait: `timeout_s` is there for the type."""
        image = None if self.ended else self._clip.read()
        if image is None:
            self.close()
            return None
        frame = Frame(image, self._index / self._clip.fps, self._index)
        self._index += 1
        return frame

    def close(self) -> None:
        """Close the clip; nothing comes after that."""
        self.ended = True
        self._clip.close()
