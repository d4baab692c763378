"""LiveStatus: how one door is at this moment, as its gate said last."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from mask_gate.gate.domain import FAULTS, Reason, State

FRESH_S = 2.0
"""A gate that has been silent for longer is taken to be out of order, whatever it said last."""

PARTS: Mapping[str, frozenset[Reason]] = {
    "camera": frozenset({Reason.CAMERA_LOST, Reason.FROZEN, Reason.BAD_IMAGE}),
    "model": frozenset({Reason.MODEL_FAULT}),
    "relay": frozenset({Reason.OUTPUT_FAULT}),
    "audit": frozenset({Reason.AUDIT_UNAVAILABLE}),
}
"""The parts of a gate, each with the reasons that say that it is out of order."""

_NOTHING_SAID = frozenset({Reason.STARTING, Reason.STOPPING, Reason.LET_IN})
"""Reasons that tell nothing about any part."""

_RATE_S = 5.0
_LATENCIES = 100


class LiveStatus:
    """What a door shows now.

    Args:
        clock: monotonic seconds.

    Attributes:
        state: the newest.
        reason: for that state.
        is_open: whether the door is open.
        faces: in the newest frame.
        frames: judged since the gate began.
        health: `ok`, `problem` or `unknown` for each of `PARTS`; also `slow` for the model.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.state, self.reason = State.IDLE, Reason.STARTING
        self.is_open = False
        self.faces = 0
        self.frames = 0
        self.health = dict.fromkeys(PARTS, "unknown")
        self._latencies_s: deque[float] = deque(maxlen=_LATENCIES)
        self._frames_at: deque[tuple[float, int]] = deque()
        self._heard_s = -FRESH_S
        self._age_s = math.inf  # of the newest turn of the gate's loop, at `_heard_s`

    def decide(self, state: object, reason: object, *, is_slow: bool) -> None:
        """Take in a decision.

        Args:
            state: a `State`.
            reason: a `Reason`.
            is_slow: whether the detector cannot keep its rate.

        Raises:
            ValueError: there is no such state or reason.
        """
        self.state, self.reason = State(str(state)), Reason(str(reason))
        for part, faults in PARTS.items():
            if self.reason in faults:
                self.health[part] = "problem"
            elif self.reason not in FAULTS | _NOTHING_SAID:
                self.health[part] = "ok"
        if self.health["model"] in ("ok", "slow"):
            self.health["model"] = "slow" if is_slow else "ok"

    @property
    def is_slow(self) -> bool:
        """Whether the detector does its work, but cannot keep its rate."""
        return self.health["model"] == "slow"

    def update(self, age_s: float | None, frames: int, faces: int) -> None:
        """Take in how the gate's loop is.

        Args:
            age_s: seconds since its newest turn; None before the first.
            frames: judged since it began.
            faces: in the newest frame.
        """
        now_s = self._clock()
        self._heard_s, self._age_s = now_s, math.inf if age_s is None else age_s
        self.frames, self.faces = frames, faces
        self._frames_at.append((now_s, frames))
        while now_s - self._frames_at[0][0] > _RATE_S:
            self._frames_at.popleft()

    def add_latencies(self, latencies_s: Iterable[float]) -> None:
        """Take in the latencies of the frames since the last time."""
        self._latencies_s.extend(latencies_s)

    @property
    def is_fresh(self) -> bool:
        """Whether the gate's loop has turned a moment ago."""
        return self._age_s + self._clock() - self._heard_s < FRESH_S

    @property
    def is_starting(self) -> bool:
        """Whether the gate is heard of, but its loop has not turned yet."""
        is_heard = self._clock() - self._heard_s < FRESH_S
        return is_heard and self.reason is Reason.STARTING and self._age_s == math.inf

    @property
    def is_well(self) -> bool:
        """Whether the gate does its work."""
        return self.is_fresh and self.state is not State.FAULT

    @property
    def fps(self) -> float:
        """Frames per second in the last few seconds that the gate was heard of."""
        if len(self._frames_at) < 2:
            return 0.0
        (first_s, first), (last_s, last) = self._frames_at[0], self._frames_at[-1]
        return (last - first) / (last_s - first_s) if last_s > first_s else 0.0

    @property
    def latency_ms(self) -> float:
        """Median of the newest latencies."""
        newest = sorted(self._latencies_s)
        return 1000 * newest[len(newest) // 2] if newest else 0.0
