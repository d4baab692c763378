"""StreamClock: when a picture was taken, judged by the time stamps of its own stream.

A stream that was held up delivers old pictures which look fresh. What betrays them is the time
from a picture's stamp to its arrival: when it grows, pictures wait somewhere on the way. The least
of it that was ever seen belongs to a picture that did not wait.
"""

from __future__ import annotations

SETTLE_S = 0.3
"""Pictures must have stopped catching up for so long before they are believed to be on time."""

DRIFT = 2e-4
"""Two quartz clocks differ by less than this; what grows faster is a stream that falls behind."""

_JITTER_S = 0.05  # arrivals differ by so much on any network
_RATE = 0.01  # stamps that run faster than the clock by more than this, for long, are no clock
_OUTRUN_S = 60.0  # and these too: no camera or server keeps more than a minute for a new viewer
_LARGEST_STAMP_S = 1e10  # beyond it floating point loses the milliseconds


class StreamClock:
    """One connection to a stream, from its first picture on.

    Stamps need the rate of the clock, not its zero. The baseline, the least time from stamp to
    arrival, may rise by `DRIFT` and no faster: over a window it would forget, and a stream that
    stays behind would look fresh after a while.

    A connection often begins with pictures that were kept for it, delivered faster than they were
    taken. So nothing is believed until the baseline has not fallen for `SETTLE_S`.

    A stream without stamps, or whose stamps never move, is taken at its arrival. Where stamps have
    moved and then stand still or are missing, pictures grow old: that stream is frozen.

    Args:
        holds_one_back: the decoder gives a picture only when the next one begins to arrive, as
            with H.264 over RTP; so each was taken one step of the stamps earlier.
    """

    def __init__(self, *, holds_one_back: bool = False) -> None:
        self._holds_one_back = holds_one_back
        self._is_clock = True
        self._moved = self._settled = False
        self._stamp_s: float | None = None
        self._before_s = 0.0  # the stamp before that one
        self._arrival_s = 0.0
        self._baseline_s = self._highest_s = 0.0
        self._mark_s = self._marked_s = 0.0  # when the baseline last fell noticeably, and to what

    def taken_s(self, arrival_s: float, stamp_s: float | None) -> float | None:
        """When the picture was taken, at the latest, on the clock of `arrival_s`.

        Args:
            arrival_s: monotonic seconds, not before those of the last call.
            stamp_s: of the picture, in seconds from any zero; None or not finite if it has none.

        Returns:
            A time not after `arrival_s`, or None while that cannot be said.
        """
        if stamp_s is None or not abs(stamp_s) < _LARGEST_STAMP_S:
            stamp_s = self._stamp_s
        if stamp_s is None or not self._is_clock:
            return arrival_s
        if self._stamp_s is None or stamp_s < self._stamp_s or self._first_moves(stamp_s):
            self._begin(arrival_s, stamp_s)
            return None
        if stamp_s > self._stamp_s:
            self._moved = True
            self._before_s, self._stamp_s = self._stamp_s, stamp_s
        self._settled = self._settled or arrival_s - self._mark_s >= SETTLE_S
        if self._moved:
            self._follow(arrival_s, stamp_s)
        if not self._settled:
            return None
        if not self._moved or not self._is_clock:
            return arrival_s
        believed_s = self._before_s if self._holds_one_back else self._stamp_s
        return min(believed_s + self._baseline_s, arrival_s)

    def _first_moves(self, stamp_s: float) -> bool:
        """Whether stamps begin here, after there were none to speak of."""
        return self._settled and not self._moved and stamp_s != self._stamp_s

    def _begin(self, arrival_s: float, stamp_s: float) -> None:
        """Take this picture as the first: of the connection, or of a camera that began anew."""
        self._moved = self._settled = False
        self._stamp_s = self._before_s = stamp_s
        self._arrival_s = self._mark_s = arrival_s
        self._baseline_s = self._highest_s = self._marked_s = arrival_s - stamp_s

    def _follow(self, arrival_s: float, stamp_s: float) -> None:
        """Move the baseline; when it falls fast, pictures are catching up."""
        offset_s = arrival_s - stamp_s
        self._baseline_s += DRIFT * (arrival_s - self._arrival_s)
        self._highest_s -= _RATE * (arrival_s - self._arrival_s)
        self._arrival_s = arrival_s
        step_s = self._baseline_s - offset_s
        if step_s <= 0.0:
            return
        self._baseline_s = offset_s
        self._is_clock = self._highest_s - offset_s <= _OUTRUN_S
        if offset_s < self._marked_s - _JITTER_S:
            if step_s > _JITTER_S or arrival_s - self._mark_s < SETTLE_S:
                self._settled = False
            self._mark_s, self._marked_s = arrival_s, offset_s
