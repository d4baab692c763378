"""EventOrder: hands events on in the order in which they were made, whoever is done first."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from mask_gate.gate.events import Event


@dataclass(slots=True)
class Line:
    """An event that has its place among the others.

    Attributes:
        is_kept: whether it is handed on; otherwise it came to nothing, and its place is given up.
        is_done: whether that is settled.
    """

    event: Event
    is_kept: bool = False
    is_done: bool = False


class EventOrder:
    """Places for events that several threads make.

    A signal has its place before the outputs are told, and is handed on when they have been; what
    is decided meanwhile waits for it in here. No thread waits for another.

    Args:
        hand_on: takes the events, one at a time.
    """

    def __init__(self, hand_on: Callable[[Event], None]) -> None:
        self._hand_on = hand_on
        self._making = threading.Lock()
        self._handing_on = threading.Lock()
        self._lines: deque[Line] = deque()

    def begin(self, make: Callable[[], Event]) -> Line:
        """Make an event, whose clock is read in here, and give it the next place."""
        with self._making:
            line = Line(make())
            self._lines.append(line)
        return line

    def end(self, line: Line) -> None:
        """The event may go, or comes to nothing; hand on all that nothing before them holds up."""
        line.is_done = True
        while self._is_any_due():
            if not self._handing_on.acquire(blocking=False):
                return  # who has it looks again before it lets go for good
            try:
                while self._is_any_due():
                    due = self._lines.popleft()
                    if due.is_kept:
                        self._hand_on(due.event)
            finally:
                self._handing_on.release()

    def _is_any_due(self) -> bool:
        try:
            return self._lines[0].is_done
        except IndexError:  # there is none, perhaps since a moment ago: another thread took it
            return False
