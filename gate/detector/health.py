"""What tells that the detector's process must be replaced: faults in a row, silence, memory, age.

None of these looks at a clock: the time comes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mask_gate.gate.detector.limits import ProcessLimits
from mask_gate.gate.errors import ModelError

_STARVED_FACTOR = 10.0  # whoever has waited for so many limits is given up, whatever the reason


@dataclass(slots=True)
class _CameraHealth:
    """How the frames of one camera fared.

    Attributes:
        faults_in_a_row: up to its newest frame.
        answered_s: when its newest answer came, sound or not.
    """

    faults_in_a_row: int = 0
    answered_s: float = -math.inf


class FaultCounter:
    """Tells a broken process from one that a camera's pictures are too much for.

    Args:
        cameras: how many ask the process.
        limits: of the process.
    """

    def __init__(self, cameras: int, limits: ProcessLimits) -> None:
        self._limits = limits
        self._cameras = [_CameraHealth() for _ in range(cameras)]

    def note(self, camera: int, is_sound: bool, now_s: float) -> None:
        """Count an answer."""
        health = self._cameras[camera]
        health.faults_in_a_row = 0 if is_sound else health.faults_in_a_row + 1
        health.answered_s = now_s

    def in_a_row(self, camera: int) -> int:
        """So many faults were the newest answers to a camera."""
        return self._cameras[camera].faults_in_a_row

    def all_fail(self, now_s: float) -> bool:
        """Whether every camera that was answered of late had nothing but faults."""
        return all(
            each.faults_in_a_row >= self._limits.faults_in_a_row
            for each in self._cameras
            if now_s - each.answered_s <= self._limits.recent_s
        )


class SilenceWatch:
    """Adds up for how long a process has kept a frame waiting.

    What passes while the whole machine stands still, or both processes were stopped, is no silence:
    a look counts for twice `poll_s` at most. Nor is the time in which the process would work, but
    other work has the processor: it is slow then, and does not hang, up to ten times the limit.

    Args:
        limits: of the process.
    """

    def __init__(self, limits: ProcessLimits) -> None:
        self._limits = limits
        self._number: int | None = None
        self._silent_s = 0.0
        self._looked_s = 0.0
        self._starved_s = 0.0
        self._waited_s = 0.0

    def look(self, number: int | None, now_s: float, starved_s: float = 0.0) -> None:
        """See which frame waits longest; to be called every `poll_s` or more often.

        Args:
            number: of that frame; None when none waits.
            now_s: monotonic seconds.
            starved_s: how long threads of the process have waited for the processor so far.

        Raises:
            ModelError: it has waited too long.
        """
        if number is None or number != self._number:
            self._silent_s = self._waited_s = 0.0
        else:
            passed_s = min(now_s - self._looked_s, 2 * self._limits.poll_s)
            self._waited_s += passed_s
            # What a thread has waited is known once it has run; it may make up for earlier looks.
            starved_s = max(starved_s, self._starved_s)
            self._silent_s = max(self._silent_s + passed_s - (starved_s - self._starved_s), 0.0)
        self._number, self._looked_s, self._starved_s = number, now_s, starved_s
        limit_s = self._limits.hang_s
        if self._silent_s > limit_s or self._waited_s > _STARVED_FACTOR * limit_s:
            raise ModelError(f"the detector's process was silent for {self._limits.hang_s:g} s")


def check_memory(held_bytes: int, limits: ProcessLimits) -> None:
    """Let a process go on that is not too large.

    Raises:
        ModelError: it is.
    """
    held_mb = held_bytes / 2**20
    if held_mb > limits.max_memory_mb:
        raise ModelError(
            f"the detector's process had {held_mb:.0f} MiB in memory, more than "
            f"{limits.max_memory_mb}"
        )


class StartLimit:
    """How long a start may take: as configured at first, then in proportion to the first one.

    Args:
        limits: of the process.

    Attributes:
        seconds: of the next start.
    """

    def __init__(self, limits: ProcessLimits) -> None:
        self._limits = limits
        self.seconds = limits.start_s

    def learn(self, first_start_s: float) -> None:
        """A start that takes much longer than the first one hangs."""
        usual_s = max(self._limits.min_restart_s, self._limits.restart_factor * first_start_s)
        self.seconds = min(self.seconds, usual_s)

    def check(self, taken_s: float) -> None:
        """Let a start go on that has not taken too long; the next one may take twice the time.

        Raises:
            ModelError: it has.
        """
        limit_s = self.seconds
        if taken_s > limit_s:
            self.seconds = min(2 * limit_s, self._limits.start_s)
            raise ModelError(
                f"the detector was not ready in {limit_s:.0f} s; use a smaller model or a "
                "faster machine"
            )
