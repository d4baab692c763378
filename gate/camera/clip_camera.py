"""Clip cameras: files and folders as cameras, at their own speed or picture by picture."""

from __future__ import annotations

import threading

from mask_gate.gate.camera.clip import Clip
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import CameraError
from mask_gate.gate.system.threads import DoorThread

_CLOSE_S = 2.0


class PacedCamera:
    """A clip played at its own speed: who reads slowly misses pictures, as with a camera.

    A thread takes the pictures; the last one waits for its reader.

    Args:
        clip: closed by the camera.
        clock: monotonic seconds.
    """

    is_live = False

    def __init__(self, clip: Clip, *, clock: Clock = uptime_s) -> None:
        self._clip = clip
        self._clock = clock
        self._changed = threading.Condition()  # guards the three that follow
        self._frame: Frame | None = None
        self._error: CameraError | None = None
        self._over = False
        self._stop = threading.Event()
        self._thread = DoorThread(target=self._run, name="clip")

    @property
    def ended(self) -> bool:
        """Whether no frame will ever come again."""
        with self._changed:
            nothing_left = self._frame is None and self._error is None
            return self._stop.is_set() or (self._over and nothing_left)

    def read(self, timeout_s: float) -> Frame | None:
        """The newest picture not yet read; the clip starts to play at the first call.

        Raises:
            CameraError: the clip turned out to be damaged.
        """
        if self._stop.is_set():
            return None
        if self._thread.ident is None:
            self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._frame is not None or self._over, timeout_s)
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            frame, self._frame = self._frame, None
            return frame

    def close(self) -> None:
        """Stop playing and close the file; may be called twice."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)
        elif self._thread.ident is None:
            self._clip.close()

    def _run(self) -> None:
        """Play; whatever ends this thread ends the clip, and never in silence."""
        error: CameraError | None = CameraError(
            "the thread that plays the clip broke down; start the gate again"
        )
        try:
            self._play()
            error = None
        except CameraError as damage:
            error = damage
        finally:
            self._clip.close()
            with self._changed:
                self._over, self._error = True, error
                self._changed.notify_all()

    def _play(self) -> None:
        period_s = 1 / self._clip.fps
        start_s = self._clock()
        while not self._stop.is_set():
            while self._clock() - start_s > (self._clip.index + 1) * period_s:
                if not self._clip.skip():  # behind: the moment of this picture is over
                    break
            index = self._clip.index
            image = self._clip.read()
            if image is None:
                return
            self._stop.wait(max(start_s + index * period_s - self._clock(), 0))
            with self._changed:
                self._frame = Frame(image, self._clock(), index)
                self._changed.notify_all()


class ReplayCamera:
    """A clip picture by picture: the same frames and times at every run, however slow the reader.

    `time_s` of frame i is i / fps: seconds from the start of the clip, not of any clock.
    """

    is_live = False

    def __init__(self, clip: Clip) -> None:
        self._clip = clip
        self.ended = False

    def read(self, timeout_s: float) -> Frame | None:
        """The next frame; None at the end. It does not wait: `timeout_s` is there for the type."""
        index = self._clip.index
        image = None if self.ended else self._clip.read()
        if image is None:
            self.close()
            return None
        return Frame(image, index / self._clip.fps, index)

    def close(self) -> None:
        """Close the clip; nothing comes after that."""
        self.ended = True
        self._clip.close()
