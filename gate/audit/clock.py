"""AuditClock: the times of a row, whether the wall clock was set, and when old rows may go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from mask_gate.gate.audit.limits import AuditLimits


def iso_time(wall: datetime) -> str:
    """A time of day as in `Row.wall`."""
    text = wall.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class AuditClock:
    """Compares the wall clock with the monotonic one; only the latter decides anything.

    Args:
        clock: monotonic seconds.
        wall: the time of day.
        limits: of the audit.
    """

    def __init__(
        self, clock: Callable[[], float], wall: Callable[[], datetime], limits: AuditLimits
    ) -> None:
        self._clock = clock
        self._wall = wall
        self._limits = limits
        self._offset_s = wall().timestamp() - clock()
        self._prune_at_s = clock() + limits.prune_after_s

    def times(self) -> tuple[str, float]:
        """Wall time as in `Row.wall`, and monotonic seconds."""
        return iso_time(self._wall()), round(self._clock(), 6)

    def mono_s(self) -> float:
        """Monotonic seconds."""
        return self._clock()

    def wall(self) -> datetime:
        """The time of day."""
        return self._wall()

    def step_s(self) -> float | None:
        """By how much the wall clock was set since the last call; None when it was not.

        A slow adjustment is none: each call takes the difference found as the right one.
        """
        before_s, wall_s, after_s = self._clock(), self._wall().timestamp(), self._clock()
        if after_s - before_s > self._limits.clock_step_s / 4:
            return None  # this process was stopped in between: nothing is known
        offset_s = wall_s - after_s
        step_s, self._offset_s = offset_s - self._offset_s, offset_s
        if not self.is_step(step_s):
            return None
        self.postpone_pruning()
        return step_s

    def is_step(self, difference_s: float) -> bool:
        """Whether clocks that differ by so much more than before tell that one was set."""
        return abs(difference_s) > self._limits.clock_step_s

    def is_pruning_due(self) -> bool:
        """Whether it is time to look for old rows."""
        return self._clock() >= self._prune_at_s

    def postpone_pruning(self) -> None:
        """There are no old rows now, or it is not known which are old."""
        self._prune_at_s = self._clock() + self._limits.prune_after_s
