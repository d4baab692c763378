"""SecondLooks: which face is looked at once more before it counts, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mask_gate.gate.decision.evidence import ROUNDING_S
from mask_gate.gate.domain import Track

_FORGOTTEN_S = 60.0  # track numbers never come again; a face unseen for longer has another


@dataclass(slots=True)
class _Looks:
    """At one face.

    Attributes:
        good: in a row, since the last doubt.
    """

    newest_s: float = -math.inf
    doubt_s: float = -math.inf
    good: int = 0


class SecondLooks:
    """What further looks at each face said; one is made in a frame at most, so that cost is known.

    Args:
        count: so many in a row must bear a face out.
        pause_s: between two looks at the same face.
        memory_s: a doubt counts for so long; so does what bears out.
    """

    def __init__(self, *, count: int, pause_s: float, memory_s: float) -> None:
        self._count = count
        self._pause_s = pause_s
        self._memory_s = memory_s
        self._of: dict[int, _Looks] = {}

    def hear(self, track_id: int, is_borne_out: bool, time_s: float) -> None:
        """Take in one look, made in the frame of `time_s`."""
        looks = self._of.setdefault(track_id, _Looks())
        looks.good = looks.good + 1 if is_borne_out else 0
        looks.newest_s = time_s
        if not is_borne_out:
            looks.doubt_s = time_s

    def bear_out(self, track_id: int, now_s: float) -> bool:
        """Whether a face may be believed now."""
        looks = self._of.get(track_id)
        return (
            looks is not None
            and looks.good >= self._count
            and now_s - looks.newest_s <= self._memory_s + ROUNDING_S
            and now_s - looks.doubt_s > self._memory_s
        )

    def next(self, tracks: Iterable[Track], now_s: float) -> Track | None:
        """Of faces that would be believed otherwise, the one whose turn it is.

        None while each was looked at too lately.
        """
        believed = {track.id: track for track in tracks}
        self._of = {
            i: looks for i, looks in self._of.items() if now_s - looks.newest_s <= _FORGOTTEN_S
        }
        newest_s = {i: self._of[i].newest_s if i in self._of else -math.inf for i in believed}
        turn = min(newest_s, key=lambda i: newest_s[i], default=None)
        if turn is None or now_s - newest_s[turn] < self._pause_s - ROUNDING_S:
            return None
        return believed[turn]
