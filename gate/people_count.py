"""PeopleCounter: counts the people that a door has seen, from its events."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from mask_gate.gate.events import Event

MOST_REMEMBERED = 5000


class PeopleCounter:
    """Counts each person once in each class that most of the votes for that person were for.

    Args:
        most_remembered: how many are known to have been counted; the oldest are forgotten first.
    """

    def __init__(self, most_remembered: int = MOST_REMEMBERED) -> None:
        self._most_remembered = most_remembered
        self._counted: OrderedDict[tuple[int, object, str], None] = OrderedDict()

    def new_labels(self, event: Event, run: int = 0) -> list[str]:
        """The class of each person of an event who has not been counted in that class before.

        Args:
            event: of one door.
            run: which run of the gate it is from: each numbers its tracks from the beginning.
        """
        labels = []
        for track_id, label in _voted(event):
            person = run, track_id, label
            if person not in self._counted:
                self._counted[person] = None
                labels.append(label)
        while len(self._counted) > self._most_remembered:
            self._counted.popitem(last=False)
        return labels


def _voted(event: Event) -> Iterator[tuple[object, str]]:
    """Each track that votes were cast for, with the class that most of them were for."""
    tracks = event.get("tracks")
    for track in tracks if isinstance(tracks, list) else []:
        if votes := track.get("votes"):
            yield track.get("id"), max(votes, key=lambda label: votes[label])
