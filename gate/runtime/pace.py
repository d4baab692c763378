"""Pace: whether the detector answers often enough, from how long it was busy for each answer.

A busy machine makes answers late now and then. What counts is how many come in time over some
seconds: a gate that has fewer than it would like is slow, one that has too few to prove anything is
too slow, and stays so until it has clearly more. Nothing here looks at a clock.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

SPAN_S = 5.0
"""The past that is counted; no verdict before so much of it is known."""

SILENT_S = 1.5
"""Too slow, too, is a detector that was asked and has not answered in time for so long."""

STAYS_S = 5.0
"""Too slow is nobody for a moment only: the gate must not come and go."""

_SLOW = 2.0  # fewer answers than so many times what is needed are slow
_BACK = 1.25  # and so many times the bound ends it
_LEAST_BUSY_S = 1.0  # in the span; whoever waits for pictures for most of it is not slow


@dataclass(frozen=True, slots=True)
class _Spell:
    """A time in which the detector was busy.

    Attributes:
        answers: that came of it in time, 0 or 1.
    """

    end_s: float
    busy_s: float
    answers: int


class Pace:
    """Counts the answers of one door's detector.

    Args:
        needed_per_s: with fewer answers a second nobody could be let in.

    Attributes:
        is_slow: whether it cannot keep the rate that it should.
        is_too_slow: whether it is slower than that which is needed.
    """

    def __init__(self, needed_per_s: float) -> None:
        self.needed_per_s = needed_per_s
        self.is_slow = False
        self.is_too_slow = False
        self._spells: deque[_Spell] = deque()
        self._began_s = math.inf  # of the first question
        self._unanswered_s: float | None = None  # up to when a question without answer is counted
        self._answered_s = math.inf  # of the newest answer, or the first question
        self._too_slow_s = -math.inf  # when it was found to be

    @property
    def per_s(self) -> float:
        """Answers in time for each second of work, of late; infinite where there was no work."""
        busy_s = sum(spell.busy_s for spell in self._spells)
        return sum(spell.answers for spell in self._spells) / busy_s if busy_s > 0 else math.inf

    def answered(self, began_s: float, now_s: float) -> None:
        """An answer has come in time.

        Args:
            began_s: when it was asked for.
            now_s: the same clock.
        """
        self._note(began_s, now_s, 1)
        self._answered_s, self._unanswered_s = now_s, None
        self._judge(now_s)

    def late(self, began_s: float, now_s: float) -> None:
        """There was no answer in time, or the detector still works for an earlier one."""
        self._note(began_s, now_s, 0)
        self._unanswered_s = now_s
        self._judge(now_s)

    def _note(self, began_s: float, now_s: float, answers: int) -> None:
        if self._began_s == math.inf:
            self._began_s = self._answered_s = began_s
        since_s = began_s
        if self._unanswered_s is not None and began_s - self._unanswered_s < SILENT_S:
            since_s = self._unanswered_s  # busy with the question before
        self._spells.append(_Spell(now_s, max(now_s - since_s, 0.0), answers))
        while now_s - self._spells[0].end_s > SPAN_S:
            self._spells.popleft()

    def _judge(self, now_s: float) -> None:
        rate = self.per_s
        is_known = (
            now_s - self._began_s >= SPAN_S
            and sum(spell.busy_s for spell in self._spells) >= _LEAST_BUSY_S
        )
        slow, needed = _SLOW * self.needed_per_s, self.needed_per_s
        is_silent = self._unanswered_s is not None and now_s - self._answered_s > SILENT_S
        if is_silent or (is_known and rate < needed):
            if not self.is_too_slow or is_silent:
                self._too_slow_s = now_s
            self.is_too_slow = True
        elif rate >= _BACK * needed and now_s - self._too_slow_s >= STAYS_S:
            self.is_too_slow = False
        if self.is_too_slow or (is_known and rate < slow):
            self.is_slow = True
        elif rate >= _BACK * slow:
            self.is_slow = False
