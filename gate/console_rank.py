"""SessionRank: how far the console's session stands behind the gate's.

Where Linux shares the processor among sessions first (autogroup), the rank of a process counts
within its session alone, and the console has one of its own: whoever floods it would have as much
of a core as the detector. So the session steps back while much is asked of it, and only then, for a
guard who looks at his doors is to be answered on a busy machine too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

MUCH = 0.1
"""Of one core, on average; a guard's live picture takes less."""

BACK_S = 30.0
"""It stays back for so long after the last time that much was asked: held back, it uses little."""

_FILE = Path("/proc/self/autogroup")
_FRONT, _BACK = "0", "19"
_AVERAGE_S = 1.0


def write_rank(rank: str) -> None:
    """Set the rank of this session, where there is such a thing."""
    with contextlib.suppress(OSError):
        _FILE.write_text(rank)


class SessionRank:
    """Steps back and forth with what is used.

    Args:
        write: sets the rank of the session.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[[str], None] = write_rank,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._share = 0.0
        self._back_until_s: float | None = None

    def used(self, processor_s: float, of_s: float) -> None:
        """Take in how much processor time the last `of_s` seconds have cost."""
        weight = min(of_s / _AVERAGE_S, 1.0)
        self._share += weight * (processor_s / of_s - self._share)
        now_s = self._clock()
        if self._share > MUCH:
            if self._back_until_s is None:
                self._write(_BACK)
            self._back_until_s = now_s + BACK_S
        elif self._back_until_s is not None and now_s >= self._back_until_s:
            self._back_until_s = None
            self._write(_FRONT)
