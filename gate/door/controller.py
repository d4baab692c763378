"""DoorController: hands decisions to the door; locks it while something it needs fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace

from mask_gate.gate.clock import Clock
from mask_gate.gate.domain import Decision, Reason, State
from mask_gate.gate.door.lease import Door
from mask_gate.gate.door.reporter import Reporter
from mask_gate.gate.events import Scene

log = logging.getLogger(__name__)


class DoorController:
    """What the loop decides and what the outputs complain of, one at a time.

    Args:
        door: may have been started, or not.
        reporter: told of each scene that the door has acted on.
        clock: the monotonic clock of frames and door.
        fault_hold_s: after an output failed, OUTPUT_FAULT for so long.
        audit_fault: why nothing can be recorded now, if that is so: AUDIT_UNAVAILABLE meanwhile.
        alarm: told of an output that failed, in one sentence, when none had failed just before.
    """

    def __init__(
        self,
        door: Door,
        reporter: Reporter,
        clock: Clock,
        *,
        fault_hold_s: float,
        audit_fault: Callable[[], str | None] = lambda: None,
        alarm: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.door = door
        self.reporter = reporter
        self.clock = clock
        self._fault_hold_s = fault_hold_s
        self._audit_fault = audit_fault
        self._alarm = alarm
        self._acting = threading.Lock()
        self._distrusted_until_s: float | None = None
        self._output_fault = ""

    def act(self, scene: Scene) -> Scene:
        """Let the door act on the scene, unless what it needs cannot be relied on.

        Returns:
            The scene itself, or another with the fault that the door took instead.
        """
        with self._acting:
            if (fault := self._fault()) is not None:
                scene = self._overruled(scene, *fault)
            self.reporter.look(scene)
            refused = self.door.apply(scene.decision)
            if refused is not None:  # the grant is over: whoever stands there is judged anew
                scene = self._overruled(scene, refused)
                self.reporter.look(scene)
        self.reporter.decided(scene, self.door.is_open)
        return scene

    def output_failed(self, what: str) -> None:
        """Lock now, and allow nothing for a while; outputs call this from threads of their own."""
        with self._acting:
            if not self._distrusts_outputs():
                log.error("out of order: %s", what)
                self._alarm(what)
                self._output_fault = what
            now_s = self.clock()
            self._distrusted_until_s = now_s + self._fault_hold_s
            self.door.apply(Decision(State.FAULT, Reason.OUTPUT_FAULT, now_s))

    def _fault(self) -> tuple[Reason, str] | None:
        """What keeps the door locked whatever the policy says, and in a sentence."""
        if self._distrusts_outputs():
            return Reason.OUTPUT_FAULT, self._output_fault
        unrecorded = self._audit_fault()
        return None if unrecorded is None else (Reason.AUDIT_UNAVAILABLE, unrecorded)

    def _overruled(self, scene: Scene, reason: Reason, detail: str = "") -> Scene:
        fault = Decision(State.FAULT, reason, scene.decision.time_s)
        return replace(scene, decision=fault, detail=detail)

    def _distrusts_outputs(self) -> bool:
        until_s = self._distrusted_until_s
        return until_s is not None and self.clock() < until_s
