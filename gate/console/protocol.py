"""The console's HTTP: uvicorn's, for so many connections of one address, and for nobody silent.

A connection costs those who open it nothing, and there are few: without this, one machine could
hold them all, and by saying nothing, for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
MOST_OF_ONE_ADDRESS = 32
"""A browser holds six at most. A proxy of ours may have them all."""

SILENT_S = 10.0
"""Within so long, a request must be whole, and begin after the one before."""


def http_for(proxies: Collection[str], on_refusal: Callable[[], None]) -> type[H11Protocol]:
    """The protocol for a console behind these proxies; a connection too many is told."""

    class Protocol(H11Protocol):
        _last: object = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if _of_same_peer(self) > MOST_OF_ONE_ADDRESS and _peer(self) not in proxies:
                on_refusal()
                transport.abort()
            else:
                self._look_later()

        def _look_later(self) -> None:
            asyncio.get_running_loop().call_later(SILENT_S, self._look)

        def _look(self) -> None:
            """End the connection if nothing has been asked, or answered, since the last look."""
            if self.transport.is_closing():
                return
            cycle = self.cycle
            is_idle = cycle is None or cycle.response_complete
            if is_idle and cycle is self._last:
                self.transport.abort()
                return
            self._last = cycle
            self._look_later()

    return Protocol


def _of_same_peer(one: H11Protocol) -> int:
    peer = _peer(one)
    return sum(_peer(other) == peer for other in one.connections)


def _peer(one: object) -> str | None:
    client = getattr(one, "client", None)
    return None if client is None else str(client[0])
