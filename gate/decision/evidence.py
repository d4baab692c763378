"""Evidence: the sightings of a face that count now, from distinct frames of the last moments."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.domain import Sighting, Track

ROUNDING_S = 1e-6
"""Sums of frame times are not exact; a frame must not be lost to the last bit."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What counts of one face now; oldest first, one sighting for each frame.

    Attributes:
        sightings: all that are in the window.
        votes: those among them that are sure enough of their class.
    """

    sightings: Sequence[Sighting]
    votes: Sequence[Sighting]


class EvidenceWindow:
    """The frames of the last `window_s`; nothing from before a fault counts.

    Args:
        window_s: seconds.

    Attributes:
        newest_s: time of the newest frame.
    """

    def __init__(self, window_s: float) -> None:
        self.newest_s = -math.inf
        self._window_s = window_s
        self._frames_s: list[float] = []
        self._fault_s = -math.inf

    def add_frame(self, time_s: float) -> None:
        """Move the window on to a new frame."""
        self.newest_s = time_s
        self._frames_s = [*self._frames_s[bisect_left(self._frames_s, self._begin_s) :], time_s]

    def forget_until(self, time_s: float) -> None:
        """Let nothing count up to this time, nor what was seen in any frame so far."""
        self._fault_s = max(self._fault_s, self.newest_s, time_s)

    def frames_since(self, time_s: float) -> int:
        """How many frames there were from this time on."""
        return len(self._frames_s) - bisect_left(self._frames_s, time_s)

    def evidence_of(self, track: Track, thresholds: VoteThresholds) -> Evidence:
        """What counts of a track in the newest frame."""
        start = bisect_left(track.sightings, self._begin_s, key=lambda seen: seen.time_s)
        counted: list[Sighting] = []
        last_s = self._fault_s
        for seen in track.sightings[start:]:
            if last_s < seen.time_s <= self.newest_s:
                counted.append(seen)
                last_s = seen.time_s
        return Evidence(counted, [seen for seen in counted if thresholds.count(seen)])

    @property
    def _begin_s(self) -> float:
        return self.newest_s - self._window_s - ROUNDING_S
