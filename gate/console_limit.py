"""RequestLimit: how many requests are heard out, of one address and of all; the rest are refused.

Both are buckets that fill steadily: short rushes, such as a page with all it needs, pass.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

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

OF_ALL = Rate(120.0, 360.0)


class RequestLimit:
    """Counts requests; those that are refused cost nothing of what is allowed.

    Args:
        clock: monotonic seconds.
        of_one: of each address.
        of_all: of all of them.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        of_one: Rate = OF_ONE,
        of_all: Rate = OF_ALL,
    ) -> None:
        self._clock = clock
        self._of_one = of_one
        self._all = _Bucket(of_all, clock())
        self._each: OrderedDict[str, _Bucket] = OrderedDict()

    def takes(self, address: str) -> bool:
        """Whether one more request is heard out."""
        now_s = self._clock()
        own = self._each.pop(address, None) or _Bucket(self._of_one, now_s)
        self._each[address] = own
        while len(self._each) > _MOST_ADDRESSES:
            self._each.popitem(last=False)
        if not (own.has_one(now_s) and self._all.has_one(now_s)):
            return False
        own.left -= 1
        self._all.left -= 1
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
