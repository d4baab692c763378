"""Presenter: draws each scene for the window or the visitor screen, and for the recording."""

from __future__ import annotations

import logging
from typing import Protocol

from mask_gate.gate.display.blur import blur_faces
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.overlay import draw_overlay
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.display.video_recorder import VideoRecorder
from mask_gate.gate.display.visitor_screen import DEFAULT_SIZE_WH, draw_visitor_screen
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import NO_PICTURE, Frame, Image
from mask_gate.gate.events import Scene

log = logging.getLogger(__name__)


class SceneListener(Protocol):
    """Whatever else gets each scene, such as the guard's console."""

    def show(self, frame: Frame, scene: Scene) -> None:
        """Take a scene and its frame; returns at once."""


class Presenter:
    """Shows each scene on the screen and in the recording; neither ever delays the gate.

    Args:
        screen: a window, or None. When it goes away, the gate goes on without it.
        recorder: a video file in the making, or None.
        texts: names of classes, states and reasons.
        privacy: for whom faces are blurred.
        visitor_screen: whether the window is the visitor screen.
        listener: gets each frame and scene as they are.
    """

    def __init__(
        self,
        screen: Window | None,
        recorder: VideoRecorder | None,
        texts: Texts,
        privacy: PrivacyConfig,
        *,
        visitor_screen: bool = False,
        listener: SceneListener | None = None,
    ) -> None:
        self._screen = screen
        self._recorder = recorder
        self._texts = texts
        self._privacy = privacy
        self._visitor_screen = visitor_screen
        self._listener = listener

    @property
    def quit_asked(self) -> bool:
        """Whether somebody asked in the window for the gate to end."""
        return self._screen is not None and self._screen.quit_asked

    def __call__(self, frame: Frame, scene: Scene) -> None:
        """Draw the scene over its frame, and hand it on."""
        if self._listener is not None:
            self._listener.show(frame, scene)
        if self._screen is not None and not self._screen.alive and not self.quit_asked:
            log.warning("the window is gone; the gate goes on without it")
            self._screen = None
        if self._screen is None and self._recorder is None:
            return
        privacy = self._privacy
        blurs = privacy.blur_visitor if self._visitor_screen else privacy.blur_guard
        drawn: dict[bool, Image] = {}  # overlays, by whether faces are blurred
        if self._screen is not None and self._visitor_screen:
            image = self._picture(frame, scene, blurs)
            size_wh = self._screen.size_wh or DEFAULT_SIZE_WH
            self._screen.show(
                draw_visitor_screen(
                    image,
                    scene.tracks,
                    scene.decision,
                    self._texts,
                    size_wh,
                    is_slow=scene.is_slow,
                )
            )
        elif self._screen is not None:
            drawn[blurs] = self._overlay(frame, scene, blurs)
            self._screen.show(drawn[blurs])
        if self._recorder is not None and frame.index != NO_PICTURE:
            blurs = privacy.blur_recording
            image = drawn[blurs] if blurs in drawn else self._overlay(frame, scene, blurs)
            self._recorder.write(image, frame.time_s)

    def _overlay(self, frame: Frame, scene: Scene, blurs: bool) -> Image:
        image = self._picture(frame, scene, blurs)
        return draw_overlay(image, scene.tracks, scene.decision, self._texts)

    def _picture(self, frame: Frame, scene: Scene, blurs: bool) -> Image:
        return blur_faces(frame.image, scene.tracks, scene.decision) if blurs else frame.image
