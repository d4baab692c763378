"""Rate limits: how many requests and connections one address may have, and all strangers together.

A request or a connection costs nothing to whoever sends it. Without limits, one machine could take
all the time of the console, or hold all its connections by sending nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 64
MOST_OF_STRANGERS = 48
"""Connections of all addresses at which nobody is logged in; the rest is for those who are."""

MOST_OF_ONE_ADDRESS = 32
"""Connections; a browser holds six at most. A proxy of ours may have them all."""


@dataclass(frozen=True, slots=True)
class Rate:
    """How many requests are answered.

    Attributes:
        per_s: in the long run.
        burst: at once, after a pause.
    """

    per_s: float
    burst: float


PER_ADDRESS = Rate(40.0, 120.0)
"""A page with sixteen tiles asks 11 times a second, a visitor screen 4 times."""

ALL_STRANGERS = Rate(60.0, 180.0)
"""All who are not logged in together, so that whoever is does not have to wait for them."""

REFUSAL_DELAY_S = 0.5
"""A refusal comes so late that one connection cannot ask again before."""


class RateLimiter:
    """Rate limiter with a bucket of tokens for each address, and one for all strangers together.

    Short bursts pass, such as a page with all it needs. A refused request takes no token.

    Args:
        clock: monotonic seconds.
        per_address: for each address.
        all_strangers: for all who are not logged in.
        refusal_delay_s: how late a refusal is sent.
        most_addresses: how many addresses are remembered; the oldest are forgotten first.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        per_address: Rate = PER_ADDRESS,
        all_strangers: Rate = ALL_STRANGERS,
        refusal_delay_s: float = REFUSAL_DELAY_S,
        most_addresses: int = 1000,
    ) -> None:
        self.refusal_delay_s = refusal_delay_s
        self._clock = clock
        self._per_address = per_address
        self._most_addresses = most_addresses
        self._strangers = _TokenBucket(all_strangers, clock())
        self._addresses: OrderedDict[str, _TokenBucket] = OrderedDict()

    def admits(self, address: str, *, is_logged_in: bool = False) -> bool:
        """Whether one more request of this address is answered."""
        now_s = self._clock()
        own = self._addresses.pop(address, None) or _TokenBucket(self._per_address, now_s)
        self._addresses[address] = own
        while len(self._addresses) > self._most_addresses:
            self._addresses.popitem(last=False)
        buckets = [own] if is_logged_in else [own, self._strangers]
        if not all(bucket.has_token(now_s) for bucket in buckets):
            return False
        for bucket in buckets:
            bucket.tokens -= 1
        return True


class _TokenBucket:
    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._filled_s = now_s
        self.tokens = rate.burst

    def has_token(self, now_s: float) -> bool:
        """Whether there is a token, after those that have come since the last time."""
        new = (now_s - self._filled_s) * self._rate.per_s
        self.tokens, self._filled_s = min(self.tokens + new, self._rate.burst), now_s
        return self.tokens >= 1.0


class LimitedHttp(H11Protocol):
    """uvicorn's HTTP, with limits of connections and of the time in which they may be idle.

    uvicorn makes an object of this class for each connection; see `limited_http`.
    """

    proxies: Collection[str] = ()
    idle_s = 10.0
    is_known: Callable[[str], bool] = staticmethod(lambda address: False)
    _last_cycle: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, and end one of the address that has too many."""
        super().connection_made(transport)
        if (one_too_many := self._one_too_many()) is not None:
            one_too_many.transport.abort()
        if one_too_many is not self:
            self._check_later()

    def _one_too_many(self) -> LimitedHttp | None:
        """The connection that must end for this one to be taken; None where there is room.

        Where strangers have all that they may have together, the newest of the address with the
        most gives way: however many connections a few addresses hold, another still gets one.
        """
        by_address: dict[str, list[LimitedHttp]] = {}
        for connection in self.connections:
            if isinstance(connection, LimitedHttp) and not connection.transport.is_closing():
                by_address.setdefault(_address_of(connection), []).append(connection)
        own = _address_of(self)
        if own in self.proxies:
            return None
        if len(by_address.get(own, ())) > MOST_OF_ONE_ADDRESS:
            return self
        if self.is_known(own):
            return None
        strangers = {
            address: held
            for address, held in by_address.items()
            if address not in self.proxies and not self.is_known(address)
        }
        if sum(map(len, strangers.values())) <= MOST_OF_STRANGERS:
            return None
        most = max(map(len, strangers.values()))
        return self if len(strangers[own]) == most else _newest(strangers, most)

    def _check_later(self) -> None:
        asyncio.get_running_loop().call_later(self.idle_s, self._check_idle)

    def _check_idle(self) -> None:
        """End the connection if it has begun no request since the last check, and none is open."""
        if self.transport.is_closing():
            return
        cycle = self.cycle
        is_idle = cycle is None or cycle.response_complete
        if is_idle and cycle is self._last_cycle:
            self.transport.abort()
            return
        self._last_cycle = cycle
        self._check_later()


def _newest(held: Mapping[str, Sequence[LimitedHttp]], most: int) -> LimitedHttp:
    """A connection of the address that holds this many."""
    return next(connections for connections in held.values() if len(connections) == most)[-1]


def limited_http(
    proxies: Collection[str], idle_s: float, is_known: Callable[[str], bool]
) -> type[H11Protocol]:
    """The protocol for a console.

    Args:
        proxies: addresses that may have any number of connections.
        idle_s: a request must be whole, and begin after the one before, within this time.
        is_known: whether somebody at an address is logged in.
    """
    own = {"proxies": frozenset(proxies), "idle_s": idle_s, "is_known": staticmethod(is_known)}
    return type("LimitedHttp", (LimitedHttp,), own)


def _address_of(connection: LimitedHttp) -> str:
    return "" if connection.client is None else str(connection.client[0])
