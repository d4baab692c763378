"""LivePictures: the newest pictures of a door for browsers, drawn only while somebody looks.

There is one JPEG for all viewers of a kind and language. A viewer gets the newest picture when it
has taken the one before; one that takes too long is dropped. Tiles, of which a page has many, ask
for one small picture after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple

import cv2
import numpy as np
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mask_gate.gate.console.feed import PictureDemand
from mask_gate.gate.console.wire import DoorPicture
from mask_gate.gate.display.aim import AimLimits, AimReport, aim_report, draw_faces
from mask_gate.gate.display.blur import blur_faces
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.display.overlay import draw_boxes
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Image

NO_PICTURE_S = 10.0
"""A stream ends when no picture has come for so long."""

TILE_DEMAND_S = 4.0
"""Whoever asked for the picture of a tile is thought to look for so long."""

OLD_TILE_S = 2.0
"""The picture of a tile is not shown when it is older."""

OLD_REPORT_S = 3.0
"""What was judged of an older picture is not told any more."""

TILE_PX = 480

_TILE_PAUSE_S = 0.4
_TILE_WAIT_S = 1.5
_JPEG_QUALITY = 75
_BOUNDARY = b"mask-gate-picture"


class PictureKind(StrEnum):
    """For whom a picture is drawn."""

    GUARD = "guard"
    VISITOR = "visitor"
    TILE = "tile"
    AIM = "aim"


class View(NamedTuple):
    """What somebody looks at.

    Attributes:
        kind: of the pictures.
        language: code of what is written on them.
    """

    kind: PictureKind
    language: str


class ViewerLimit:
    """Limits how many live pictures are watched at once, of all doors together.

    Args:
        most: viewers.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._viewers = 0

    def admit(self) -> bool:
        """Whether one more viewer has a place, which is then taken."""
        is_free = self._viewers < self._most
        self._viewers += is_free
        return is_free

    def leave(self) -> None:
        """Free a place."""
        self._viewers -= 1


class LivePictures:
    """The newest picture of each kind of one door, and its viewers.

    Args:
        languages: names of classes, states and reasons, by code.
        privacy: for whom faces are blurred.
        aim: what the camera is to be aimed at.
        viewer_limit: of all doors.
        on_demand: called when this door needs other pictures than before.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        languages: Mapping[str, Texts],
        privacy: PrivacyConfig,
        aim: AimLimits,
        viewer_limit: ViewerLimit,
        on_demand: Callable[[PictureDemand], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._languages = languages
        self._is_blurred = {
            PictureKind.GUARD: privacy.blur_guard,
            PictureKind.TILE: privacy.blur_guard,
            PictureKind.AIM: privacy.blur_guard,
            PictureKind.VISITOR: privacy.blur_visitor,
        }
        self._aim = aim
        self._report: tuple[float, AimReport] | None = None  # and when it was made
        self._viewer_limit = viewer_limit
        self._on_demand = on_demand
        self._clock = clock
        self._viewers: Counter[View] = Counter()
        self._tiles_asked_s: dict[str, float] = {}  # by language
        self._tiles_drawn_s: dict[str, float] = {}
        self._demand = PictureDemand.NONE
        self._newest: dict[View, bytes] = {}
        self._number = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._published: asyncio.Event | None = None

    @property
    def viewers(self) -> int:
        """How many watch live."""
        return self._viewers.total()

    # --------------------------------------------------------------------- in the reader's thread

    def take(self, picture: DoorPicture) -> None:
        """Draw a picture for whoever looks."""
        now_s = self._clock()
        wanted = [view for view, count in list(self._viewers.items()) if count]
        for language in self._languages:
            drawn_s = self._tiles_drawn_s.get(language, -OLD_TILE_S)
            if self._is_tile_wanted(language, now_s) and now_s - drawn_s >= _TILE_PAUSE_S:
                wanted.append(View(PictureKind.TILE, language))
        jpegs = {view: self._jpeg(picture, view) for view in wanted}
        if jpegs and self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self._publish, jpegs)

    def _jpeg(self, picture: DoorPicture, view: View) -> bytes:
        image, texts = picture.image, self._languages[view.language]
        if self._is_blurred[view.kind]:
            image = blur_faces(image, picture.tracks, picture.decision)
        if view.kind is PictureKind.AIM:
            image = draw_faces(image, self._judge(picture), texts.typeface)
        else:
            image = draw_boxes(image, picture.tracks, picture.decision, texts)
        if view.kind is PictureKind.TILE:
            image = _shrink(image, TILE_PX)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
        return data.tobytes()

    def _judge(self, picture: DoorPicture) -> AimReport:
        """Judge how the camera is placed, by the picture as it was before any face was blurred."""
        seen_s = picture.decision.time_s
        faces = [track.box_xyxy for track in picture.tracks if track.last_seen_s >= seen_s]
        report = aim_report(picture.image, faces, self._aim, picture.height_px)
        self._report = self._clock(), report
        return report

    # --------------------------------------------------------------------- in the server's loop

    def aim_report(self) -> AimReport | None:
        """How the camera is placed, by the newest picture that was drawn to show this."""
        if self._report is None or self._clock() - self._report[0] > OLD_REPORT_S:
            return None
        return self._report[1]

    def admit(self, view: View) -> bool:
        """Let a viewer in, if there is a place."""
        if not self._viewer_limit.admit():
            return False
        self._viewers[view] += 1
        self.update_demand()
        return True

    def leave(self, view: View) -> None:
        """Note that a viewer has gone."""
        self._viewer_limit.leave()
        self._viewers[view] -= 1
        self.update_demand()

    def update_demand(self) -> None:
        """Tell which pictures are needed, if that has changed; to be called now and then, too."""
        if self._loop is None:
            self._loop, self._published = asyncio.get_running_loop(), asyncio.Event()
        demand = PictureDemand.NONE
        if self.viewers:
            demand = PictureDemand.LIVE
        elif any(self._is_tile_wanted(code, self._clock()) for code in self._tiles_asked_s):
            demand = PictureDemand.TILE
        if demand is not self._demand:
            if self._demand is PictureDemand.NONE:
                self._newest.clear()  # from the last time somebody looked
            self._demand = demand
            self._on_demand(demand)

    async def tile(self, language: str) -> bytes | None:
        """A small picture that is not old; None where none comes."""
        self._tiles_asked_s[language] = self._clock()
        self.update_demand()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TILE_WAIT_S):
                while self._is_tile_old(language):
                    await self._next_publication()
            return self._newest[View(PictureKind.TILE, language)]
        return None

    async def next_after(self, number: int, view: View) -> tuple[int, bytes]:
        """The newest picture after the one of this number, with its number, once there is one.

        Raises:
            TimeoutError: none came in `NO_PICTURE_S`.
        """
        async with asyncio.timeout(NO_PICTURE_S):
            while self._number <= number or view not in self._newest:
                await self._next_publication()
        return self._number, self._newest[view]

    def _publish(self, jpegs: dict[View, bytes]) -> None:
        self._newest.update(jpegs)
        for kind, language in jpegs:
            if kind is PictureKind.TILE:
                self._tiles_drawn_s[language] = self._clock()
        self._number += 1
        assert self._published is not None
        self._published.set()
        self._published = asyncio.Event()

    async def _next_publication(self) -> None:
        assert self._published is not None
        await self._published.wait()

    def _is_tile_wanted(self, language: str, now_s: float) -> bool:
        asked_s = self._tiles_asked_s.get(language)
        return asked_s is not None and now_s - asked_s < TILE_DEMAND_S

    def _is_tile_old(self, language: str) -> bool:
        is_missing = View(PictureKind.TILE, language) not in self._newest
        drawn_s = self._tiles_drawn_s.get(language, -OLD_TILE_S)
        return is_missing or self._clock() - drawn_s > OLD_TILE_S


class PictureStream(Response):
    """Live pictures (MJPEG) for one viewer, until it leaves, is slow, or is logged out.

    Args:
        pictures: has admitted the viewer.
        view: what it looks at.
        is_logged_in: whether the session is still valid.
        slow_viewer_s: a viewer that does not take a picture in this time is dropped.
    """

    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"

    def __init__(
        self,
        pictures: LivePictures,
        view: View,
        is_logged_in: Callable[[], bool],
        slow_viewer_s: float,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._pictures = pictures
        self._view = view
        self._is_logged_in = is_logged_in
        self._slow_viewer_s = slow_viewer_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send pictures; a viewer that has gone is noticed at once."""
        gone = asyncio.create_task(_wait_until_gone(receive))
        sender = asyncio.create_task(self._send_all(send, is_head=scope["method"] == "HEAD"))
        try:
            await asyncio.wait({gone, sender}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sender):
                task.cancel()
            self._pictures.leave(self._view)
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await sender

    async def _send_all(self, send: Send, *, is_head: bool) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        number = 0
        while not is_head and self._is_logged_in():
            number, jpeg = await self._pictures.next_after(number, self._view)
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            part = head % (_BOUNDARY, len(jpeg)) + jpeg + b"\r\n"
            async with asyncio.timeout(self._slow_viewer_s):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _shrink(image: Image, width_px: int) -> Image:
    """The picture, no wider than this."""
    height, width = image.shape[:2]
    if width <= width_px:
        return image
    size_wh = width_px, max(round(height * width_px / width), 1)
    return np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
