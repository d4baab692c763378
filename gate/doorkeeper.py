"""Doorkeeper: hands decisions to the door, and keeps it locked while its outputs have failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from gate.domain import Decision, Reason, State
from gate.door import Door
from gate.events import Scene
from gate.policy import Policy
from gate.reporter import Reporter

log = logging.getLogger(__name__)


class Doorkeeper:
    """What the loop decides and what the outputs complain of, one at a time.

    Args:
        door: may have been started, or not.
        policy: ends its grant when a decision is overruled.
        reporter: told of each scene that the door has acted on.
        clock: the monotonic clock of frames and door.
        fault_hold_s: after an output failed, OUTPUT_FAULT for so long.
    """

    def __init__(
        self,
        door: Door,
        policy: Policy,
        reporter: Reporter,
        clock: Callable[[], float],
        *,
        fault_hold_s: float,
    ) -> None:
        self.door = door
        self.policy = policy
        self.reporter = reporter
        self.clock = clock
        self._fault_hold_s = fault_hold_s
        self._acting = threading.Lock()
        self._distrusted_until_s: float | None = None

    def act(self, scene: Scene) -> Scene:
        """Let the door act on the scene, unless its outputs cannot be relied on; what it took."""
        with self._acting:
            if self._distrusts_outputs():
                fault = self.policy.fault(Reason.OUTPUT_FAULT, scene.decision.time_s)
                scene = Scene(fault, scene.tracks, scene.latency_s)
            self.reporter.look(scene)
            self.door.apply(scene.decision)
        self.reporter.decided(scene, self.door.is_open)
        return scene

    def output_failed(self, what: str) -> None:
        """Lock now, and allow nothing for a while; outputs call this from threads of their own."""
        with self._acting:
            if not self._distrusts_outputs():
                log.error("out of order: %s", what)
            now_s = self.clock()
            self._distrusted_until_s = now_s + self._fault_hold_s
            self.door.apply(Decision(State.FAULT, Reason.OUTPUT_FAULT, now_s))

    def _distrusts_outputs(self) -> bool:
        until_s = self._distrusted_until_s
        return until_s is not None and self.clock() < until_s
