"""Presenter: draws each scene for those who look: window or visitor's screen, and recording."""

from __future__ import annotations

import logging
from typing import Protocol

from mask_gate.gate.display.blur import blurred
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.overlay import draw
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.display.video_recorder import VideoRecorder
from mask_gate.gate.display.visitor_screen import draw_visitor_screen
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import NO_PICTURE, Frame, Image
from mask_gate.gate.events import Scene

log = logging.getLogger(__name__)


class Watcher(Protocol):
    """What else wants to see each scene."""

    def show(self, frame: Frame, scene: Scene) -> None:
        """Take a scene and its frame; returns at once."""


class Presenter:
    """What the gate shows of itself; none of those who watch ever holds it up.

    Args:
        screen: a window, or None. When it goes away, the gate goes on without it.
        recorder: a video file in the making, or None.
        words: what to call things.
        privacy: for whom faces are blurred.
        kiosk: whether the window is the visitor's screen.
        watcher: gets scene and frame as they are.
    """

    def __init__(
        self,
        screen: Window | None,
        recorder: VideoRecorder | None,
        words: Texts,
        privacy: PrivacyConfig,
        *,
        kiosk: bool = False,
        watcher: Watcher | None = None,
    ) -> None:
        self._screen = screen
        self._recorder = recorder
        self._words = words
        self._privacy = privacy
        self._kiosk = kiosk
        self._watcher = watcher

    @property
    def quit_asked(self) -> bool:
        """Whether somebody wants the gate to end, by the window."""
        return self._screen is not None and self._screen.quit_asked

    def __call__(self, frame: Frame, scene: Scene) -> None:
        """Draw the scene over its frame, and hand it on."""
        if self._watcher is not None:
            self._watcher.show(frame, scene)
        if self._screen is not None and not self._screen.alive and not self.quit_asked:
            log.warning("the window is gone; the gate goes on without it")
            self._screen = None
        if self._screen is None and self._recorder is None:
            return
        privacy = self._privacy
        blurs = privacy.blur_visitor if self._kiosk else privacy.blur_guard
        drawn: dict[bool, Image] = {}
        if self._screen is not None and self._kiosk:
            image = self._seen(frame, scene, blurs)
            self._screen.show(draw_visitor_screen(image, scene.tracks, scene.decision, self._words))
        elif self._screen is not None:
            drawn[blurs] = self._overlay(frame, scene, blurs)
            self._screen.show(drawn[blurs])
        if self._recorder is not None and frame.index != NO_PICTURE:
            blurs = privacy.blur_recording
            image = drawn[blurs] if blurs in drawn else self._overlay(frame, scene, blurs)
            self._recorder.write(image, frame.time_s)

    def _overlay(self, frame: Frame, scene: Scene, blurs: bool) -> Image:
        image = self._seen(frame, scene, blurs)
        return draw(image, scene.tracks, scene.decision, self._words)

    def _seen(self, frame: Frame, scene: Scene, blurs: bool) -> Image:
        return blurred(frame.image, scene.tracks, scene.decision) if blurs else frame.image
