"""The clock that a door lives by: seconds since the machine was started, asleep or awake.

Python's `time.monotonic` stands still while a machine is suspended. A lease counted by it would go
on after the night, and a picture of the evening would look fresh in the morning.
"""

from __future__ import annotations

import time
from collections.abc import Callable

Clock = Callable[[], float]
"""Gives seconds that never go back."""

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS has only the latter


def uptime_s() -> float:
    """Seconds of CLOCK_BOOTTIME; the same in all processes of this machine, and never set."""
    return time.clock_gettime(_CLOCK)


class ReplayClock:
    """Time as it is in a recording: it stands still until the next frame moves it on."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        """Seconds since the start of the recording."""
        return self.now_s
