"""SessionRank: how far the console's session stands behind the gate's.

Where Linux shares the processor among sessions first (autogroup), the rank of a process counts
within its session alone, and the console has one of its own: whoever floods it would have as much
of a core as the detector. So the session steps back while somebody is refused for asking too much,
or much is used, and only then: a guard who looks at his doors is to be answered on a busy machine
too.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path

from mask_gate.gate.clock import Clock

MUCH = 0.1
"""Of one core, on average; a guard's live picture takes less."""

BACK_S = 30.0
"""It stays back for so long after the last time: held back, it uses little."""

FRONT, BACK = 0, 19
"""At the back it gets a seventieth of a core that the gate wants for itself."""

_FILE = Path("/proc/self/autogroup")
_AVERAGE_S = 1.0


def write_rank(rank: int) -> bool:
    """Set the rank of this session, where there is such a thing; whether that is done with."""
    try:
        _FILE.write_text(str(rank))
    except BlockingIOError:  # one change each 0.1 s in the whole machine, but for root
        return False
    except OSError:  # no such thing here
        return True
    return True


class SessionRank:
    """Steps back and forth with what is used.

    Args:
        write: sets the rank of the session; says whether that is done with.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        write: Callable[[int], bool] = write_rank,
        clock: Clock = time.monotonic,
    ) -> None:
        self._write = write
        self._clock = clock
        self._share = 0.0
        self._rank = FRONT
        self._back_until_s = -math.inf

    def step_back(self) -> None:
        """Somebody asks too much; takes effect when use is counted next."""
        self._back_until_s = self._clock() + BACK_S

    def used(self, processor_s: float, of_s: float) -> None:
        """Take in how much processor time the last `of_s` seconds have cost."""
        weight = min(of_s / _AVERAGE_S, 1.0)
        self._share += weight * (processor_s / of_s - self._share)
        if self._share > MUCH:
            self.step_back()
        wanted = BACK if self._clock() < self._back_until_s else FRONT
        if wanted != self._rank and self._write(wanted):
            self._rank = wanted
