"""PictureStream: pictures one after the other (MJPEG), for one viewer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mask_gate.gate.console.pictures import SLOW_S, Audience, Pictures

_BOUNDARY = b"mask-gate-picture"


class PictureStream(Response):
    """Pictures until the viewer leaves, is slow, or is logged out.

    Args:
        pictures: has admitted the viewer.
        audience: which kind of picture.
        may_look: whether the session is still good.
    """

    media_type = f"multipart/x-mixed-replace; boundary={_BOUNDARY.decode()}"

    def __init__(
        self, pictures: Pictures, audience: Audience, may_look: Callable[[], bool]
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._pictures = pictures
        self._audience = audience
        self._may_look = may_look

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send pictures; a viewer that has gone is noticed at once."""
        gone = asyncio.create_task(_gone(receive))
        sender = asyncio.create_task(self._send_all(send, is_head=scope["method"] == "HEAD"))
        try:
            await asyncio.wait({gone, sender}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sender):
                task.cancel()
            self._pictures.leave(self._audience)
        with contextlib.suppress(TimeoutError, asyncio.CancelledError):
            await sender

    async def _send_all(self, send: Send, *, is_head: bool) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        await send(start)
        number = 0
        while not is_head and self._may_look():
            number, jpeg = await self._pictures.after(number, self._audience)
            head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
            part = head % (_BOUNDARY, len(jpeg)) + jpeg + b"\r\n"
            async with asyncio.timeout(SLOW_S):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
