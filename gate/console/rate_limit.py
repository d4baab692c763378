"""RequestLimit: how many requests are heard out, of one address and of all strangers together.

Both are buckets that fill steadily: short rushes, such as a page with all it needs, pass. The rest
are refused, and late: one connection cannot ask again before.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from mask_gate.gate.clock import Clock

_MOST_ADDRESSES = 1000


@dataclass(frozen=True, slots=True)
class Rate:
    """How much is heard out.

    Attributes:
        per_s: for ever.
        rush: at once, after a pause.
    """

    per_s: float
    rush: float


OF_ONE = Rate(40.0, 120.0)
"""Of one address: a page with sixteen tiles asks 11 times a second, a visitor's screen 4 times."""

OF_STRANGERS = Rate(60.0, 180.0)
"""Of all who are not logged in; whoever is does not have to wait for them."""

HOLD_UP_S = 0.5


class RequestLimit:
    """Counts requests; those that are refused cost nothing of what is allowed.

    Args:
        clock: monotonic seconds.
        of_one: of each address.
        of_strangers: of all who are not logged in.
        hold_up_s: a refusal comes so late.
        on_refusal: told of each.
    """

    def __init__(
        self,
        clock: Clock = time.monotonic,
        of_one: Rate = OF_ONE,
        of_strangers: Rate = OF_STRANGERS,
        hold_up_s: float = HOLD_UP_S,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_refusal = on_refusal
        self.hold_up_s = hold_up_s
        self._clock = clock
        self._of_one = of_one
        self._strangers = _Bucket(of_strangers, clock())
        self._each: OrderedDict[str, _Bucket] = OrderedDict()

    def takes(self, address: str, *, is_stranger: bool = True) -> bool:
        """Whether one more request is heard out."""
        now_s = self._clock()
        own = self._each.pop(address, None) or _Bucket(self._of_one, now_s)
        self._each[address] = own
        while len(self._each) > _MOST_ADDRESSES:
            self._each.popitem(last=False)
        if not own.has_one(now_s) or (is_stranger and not self._strangers.has_one(now_s)):
            self._on_refusal()
            return False
        own.left -= 1
        self._strangers.left -= is_stranger
        return True


class _Bucket:
    def __init__(self, rate: Rate, now_s: float) -> None:
        self._rate = rate
        self._filled_s = now_s
        self.left = rate.rush

    def has_one(self, now_s: float) -> bool:
        """Whether there is one left, after what has come since the last time."""
        came = (now_s - self._filled_s) * self._rate.per_s
        self.left, self._filled_s = min(self.left + came, self._rate.rush), now_s
        return self.left >= 1.0
