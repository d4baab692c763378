"""RestartBudget: how soon a process that died may be started again, and when to call it broken."""

from __future__ import annotations

from collections import deque


class RestartBudget:
    """Counts the deaths of a process; times are seconds of one monotonic clock.

    The first start after a death comes at once, each further one within `window_s` after twice the
    pause of the one before. With more than `most` deaths in `window_s` the process is out of
    service: from then on there is one try every `retry_s`, until one of them has lived for
    `window_s`.

    Attributes:
        out_of_service: whether it died too often.
    """

    def __init__(
        self,
        *,
        most: int = 5,
        window_s: float = 60.0,
        retry_s: float = 30.0,
        first_pause_s: float = 0.25,
    ) -> None:
        self.most = most
        self.window_s = window_s
        self.retry_s = retry_s
        self.out_of_service = False
        self._first_pause_s = first_pause_s
        self._deaths_s: deque[float] = deque()

    def died(self, now_s: float, lived_s: float) -> float:
        """Note a death after a life of `lived_s` in service; how long to wait before a start."""
        if lived_s >= self.window_s:
            self.out_of_service = False
            self._deaths_s.clear()
        self._deaths_s.append(now_s)
        while now_s - self._deaths_s[0] > self.window_s:
            self._deaths_s.popleft()
        if len(self._deaths_s) > self.most:
            self.out_of_service = True
        if self.out_of_service:
            return self.retry_s
        before = len(self._deaths_s) - 1
        return 0.0 if before == 0 else min(self._first_pause_s * 2.0 ** (before - 1), self.retry_s)
