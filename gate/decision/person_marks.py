"""PersonMarks: people who carry a mark until some time, such as that they must wait."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mask_gate.gate.domain import Track


@dataclass(slots=True)
class _Mark:
    """One person's: the track as last seen, and when the mark is gone."""

    track: Track
    ends_s: float


class PersonMarks:
    """Follows each person by track, also where the tracker lost and found one again."""

    def __init__(self) -> None:
        self._marks: dict[int, _Mark] = {}
        self._known_ids: frozenset[int] = frozenset()

    def __contains__(self, track_id: int) -> bool:
        return track_id in self._marks

    def begin(self, tracks: Iterable[Track], ends_s: float) -> None:
        """Mark these people until then."""
        for track in tracks:
            self._marks[track.id] = _Mark(track, ends_s)

    def end(self, track_id: int) -> None:
        """Take a mark off."""
        self._marks.pop(track_id, None)

    def end_by(self, now_s: float) -> None:
        """Let go of those whose time has come."""
        self._marks = {i: each for i, each in self._marks.items() if each.ends_s > now_s}

    def follow(self, tracks: Sequence[Track]) -> None:
        """Take in where everybody is now.

        A new face within one face of where a marked person was lost is taken for that person.
        """
        present = {track.id: track for track in tracks}
        lost = [each for track_id, each in self._marks.items() if track_id not in present]
        for track_id, track in present.items():
            if track_id in self._marks:
                self._marks[track_id].track = track
            elif track_id not in self._known_ids:
                for each in lost:
                    if _is_near(track, each.track):
                        self._marks[track_id] = _Mark(track, each.ends_s)
        self._known_ids = frozenset(present)


def _is_near(newcomer: Track, lost: Track) -> bool:
    """Whether a new track is within one face of where another was lost."""
    x1, y1, x2, y2 = newcomer.box_xyxy
    u1, v1, u2, v2 = lost.box_xyxy
    shift = math.hypot((x1 + x2) - (u1 + u2), (y1 + y2) - (v1 + v2)) / 2
    return shift <= max(y2 - y1, v2 - v1)
