"""Pictures of a door for browsers: one JPEG for all viewers of a kind, drawn while somebody looks.

A viewer gets the newest picture when it has taken the one before; one that takes too long is
dropped. Tiles, of which a page has many, ask for one small picture after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from enum import StrEnum

import cv2
import numpy as np

from mask_gate.gate.clock import Clock
from mask_gate.gate.console.feed import Look
from mask_gate.gate.console.wire import Shot
from mask_gate.gate.display.blur import blurred
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.overlay import draw_boxes
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Image

SLOW_S = 5.0
"""A viewer that does not take a picture in this time is dropped."""

SILENT_S = 10.0
"""Without a picture for so long, the stream ends."""

GLANCE_S = 4.0
"""Who asked for a tile's picture is thought to look for so long."""

OLD_S = 2.0
"""A tile's picture is not shown any more."""

TILE_PX = 480

_TILE_PAUSE_S = 0.4
_TILE_WAIT_S = 1.5
_QUALITY = 75


class Audience(StrEnum):
    """For whom a picture is."""

    GUARD = "guard"
    VISITOR = "visitor"
    TILE = "tile"


class Room:
    """How many may look at once, at whichever doors.

    Args:
        most: viewers.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    def enter(self) -> bool:
        """Take a place, if there is one."""
        is_free = self._taken < self._most
        self._taken += is_free
        return is_free

    def leave(self) -> None:
        """Give it back."""
        self._taken -= 1


class Pictures:
    """The newest picture of each kind, and who looks.

    Args:
        words: what to call things.
        privacy: for whom faces are blurred.
        room: for viewers of all doors.
        on_look: told how this door is looked at, when that has changed.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        words: Texts,
        privacy: PrivacyConfig,
        room: Room,
        on_look: Callable[[Look], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._words = words
        self._blurs = {
            Audience.GUARD: privacy.blur_guard,
            Audience.TILE: privacy.blur_guard,
            Audience.VISITOR: privacy.blur_visitor,
        }
        self._room = room
        self._on_look = on_look
        self._clock = clock
        self._viewers = {Audience.GUARD: 0, Audience.VISITOR: 0}
        self._glanced_s = self._tile_s = -OLD_S
        self._look = Look.AWAY
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
        now_s = self._clock()
        wanted = [audience for audience, count in self._viewers.items() if count]
        if self._is_glanced_at(now_s) and now_s - self._tile_s >= _TILE_PAUSE_S:
            wanted.append(Audience.TILE)
        drawn = {audience: self._drawn(shot, audience) for audience in wanted}
        if drawn and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._publish, drawn)

    # ------------------------------------------------------------------------ in the server's loop

    def admit(self, audience: Audience) -> bool:
        """Let a viewer in, if there is room."""
        if not self._room.enter():
            return False
        self._viewers[audience] += 1
        self.tell_look()
        return True

    def leave(self, audience: Audience) -> None:
        """A viewer is gone."""
        self._room.leave()
        self._viewers[audience] -= 1
        self.tell_look()

    def tell_look(self) -> None:
        """Say how this door is looked at, if that has changed; to be called now and then, too."""
        if self._loop is None:
            self._loop, self._came = asyncio.get_running_loop(), asyncio.Event()
        look = Look.GLANCE if self._is_glanced_at(self._clock()) else Look.AWAY
        look = Look.WATCH if self.viewers else look
        if look is not self._look:
            if self._look is Look.AWAY:
                self._newest.clear()  # from the last time somebody looked
            self._look = look
            self._on_look(look)

    async def tile(self) -> bytes | None:
        """A small picture, not an old one; None where none comes."""
        self._glanced_s = self._clock()
        self.tell_look()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TILE_WAIT_S):
                while Audience.TILE not in self._newest or self._clock() - self._tile_s > OLD_S:
                    assert self._came is not None
                    await self._came.wait()
            return self._newest[Audience.TILE]
        return None

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

    def _is_glanced_at(self, now_s: float) -> bool:
        return now_s - self._glanced_s < GLANCE_S

    def _publish(self, drawn: dict[Audience, bytes]) -> None:
        self._newest.update(drawn)
        if Audience.TILE in drawn:
            self._tile_s = self._clock()
        self._number += 1
        assert self._came is not None
        self._came.set()
        self._came = asyncio.Event()

    def _drawn(self, shot: Shot, audience: Audience) -> bytes:
        image = shot.image
        if self._blurs[audience]:
            image = blurred(image, shot.tracks, shot.decision)
        image = draw_boxes(image, shot.tracks, shot.decision, self._words)
        if audience is Audience.TILE:
            image = _at_most(image, TILE_PX)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
        return data.tobytes()


def _at_most(image: Image, widest_px: int) -> Image:
    """The picture, no wider than this."""
    height, width = image.shape[:2]
    if width <= widest_px:
        return image
    size = widest_px, max(round(height * widest_px / width), 1)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
