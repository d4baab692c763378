"""Picture: draws each scene once, for the window and for the recording."""

from __future__ import annotations

import logging

from gate.domain import Frame
from gate.events import Scene
from gate.overlay import draw
from gate.recorder import Recorder
from gate.screen import Screen

log = logging.getLogger(__name__)


class Picture:
    """What the gate shows of itself; neither the window nor the recording ever holds it up.

    Args:
        screen: a window, or None. When it goes away, the gate goes on without it.
        recorder: a video file in the making, or None.
    """

    def __init__(self, screen: Screen | None, recorder: Recorder | None) -> None:
        self._screen = screen
        self._recorder = recorder

    @property
    def quit_asked(self) -> bool:
        """Whether somebody wants the gate to end, by the window."""
        return self._screen is not None and self._screen.quit_asked

    def __call__(self, frame: Frame, scene: Scene) -> None:
        """Draw the scene over its frame, and hand it on."""
        if self._screen is not None and not self._screen.alive and not self.quit_asked:
            log.warning("the window is gone; the gate goes on without it")
            self._screen = None
        if self._screen is None and self._recorder is None:
            return
        image = draw(frame.image, scene.tracks, scene.decision)
        if self._screen is not None:
            self._screen.show(image)
        if self._recorder is not None:
            self._recorder.write(image, frame.time_s)
