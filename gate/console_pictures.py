"""Pictures for browsers: one JPEG for all viewers of a kind, for so many viewers and no more.

A viewer gets the newest picture when it has taken the one before; one that takes too long is
dropped. Pictures are drawn only while somebody looks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum

import cv2

from gate.console_wire import Shot
from gate.overlay import draw_boxes
from gate.privacy import blurred
from gate.privacy_config import PrivacyConfig
from gate.words import Words

SLOW_S = 5.0
"""A viewer that does not take a picture in this time is dropped."""

SILENT_S = 10.0
"""Without a picture for so long, the stream ends."""

_QUALITY = 75


class Audience(StrEnum):
    """For whom a picture is."""

    GUARD = "guard"
    VISITOR = "visitor"


class Pictures:
    """The newest picture of each kind, and who looks.

    Args:
        words: what to call things.
        privacy: for whom faces are blurred.
        most: viewers at once.
        on_watch: told whether anybody looks.
    """

    def __init__(
        self, words: Words, privacy: PrivacyConfig, most: int, on_watch: Callable[[bool], None]
    ) -> None:
        self._words = words
        self._blurs = {
            Audience.GUARD: privacy.blur_guard,
            Audience.VISITOR: privacy.blur_visitor,
        }
        self._most = most
        self._on_watch = on_watch
        self._viewers = dict.fromkeys(Audience, 0)
        self._newest: dict[Audience, bytes] = {}
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._came: asyncio.Event | None = None

    @property
    def viewers(self) -> int:
        """How many look."""
        return sum(self._viewers.values())

    def take(self, shot: Shot) -> None:
        """Draw a picture for those who look; called by the reader's thread."""
        wanted = [audience for audience, count in self._viewers.items() if count]
        drawn = {audience: self._drawn(shot, audience) for audience in wanted}
        if drawn and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._publish, drawn)

    def admit(self, audience: Audience) -> bool:
        """Let a viewer in, if there is room; to be called in the server's loop."""
        if self.viewers >= self._most:
            return False
        if self._loop is None:
            self._loop, self._came = asyncio.get_running_loop(), asyncio.Event()
        if not self.viewers:
            self._newest.clear()  # from the last time somebody looked
            self._on_watch(True)
        self._viewers[audience] += 1
        return True

    def leave(self, audience: Audience) -> None:
        """A viewer is gone."""
        self._viewers[audience] -= 1
        if not self.viewers:
            self._on_watch(False)

    async def after(self, number: int, audience: Audience) -> tuple[int, bytes]:
        """The newest picture after the one of this number, as soon as there is one.

        Raises:
            TimeoutError: none came in `SILENT_S`.
        """
        async with asyncio.timeout(SILENT_S):
            while self._number <= number or audience not in self._newest:
                assert self._came is not None
                await self._came.wait()
        return self._number, self._newest[audience]

    def _publish(self, drawn: dict[Audience, bytes]) -> None:
        self._newest.update(drawn)
        self._number += 1
        assert self._came is not None
        self._came.set()
        self._came = asyncio.Event()

    def _drawn(self, shot: Shot, audience: Audience) -> bytes:
        image = shot.image
        if self._blurs[audience]:
            image = blurred(image, shot.tracks, shot.decision)
        image = draw_boxes(image, shot.tracks, shot.decision, self._words)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return data.tobytes()
