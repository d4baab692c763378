"""DoorController: hands decisions and a guard's word to the door; locks it while a part fails."""

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
from mask_gate.gate.guard_order import GuardWord, Verdict

log = logging.getLogger(__name__)

_VERDICTS = {
    Reason.STARTING: Verdict.NOT_READY,
    Reason.STOPPING: Verdict.NOT_READY,
    Reason.COOL_DOWN: Verdict.ALREADY_OPEN,
    Reason.OUTPUT_FAULT: Verdict.OUTPUT_FAULT,
    Reason.AUDIT_UNAVAILABLE: Verdict.AUDIT_UNAVAILABLE,
}
"""Why a guard could not let somebody in, by what the door or a fault said."""


class DoorController:
    """What the loop decides, a guard orders and the outputs complain of, one at a time.

    What is out of order comes first, then a lockdown, then what a guard let in, then the policy.

    Args:
        door: may have been started, or not.
        reporter: told of each scene that the door has acted on.
        clock: the monotonic clock of frames and door.
        fault_hold_s: after an output failed, OUTPUT_FAULT for so long.
        audit_fault: why nothing can be recorded now, if that is so: AUDIT_UNAVAILABLE meanwhile.
        alarm: told of an output that failed, in one sentence, when none had failed just before.

    Attributes:
        lockdown: on whose word the door is locked down; None while it is not.
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
        self._newest: Scene | None = None  # as the loop gave it, before anything overruled it
        self._let_in_by: GuardWord | None = None
        self.lockdown: GuardWord | None = None

    def act(self, scene: Scene) -> Scene:
        """Let the door act on the scene, unless what it needs cannot be relied on.

        Returns:
            The scene itself, or another with what the door took instead.
        """
        with self._acting:
            self._newest = scene
            scene = self._judged(scene)
            self.reporter.look(scene)
            refused = self.door.apply(scene.decision)
            if refused is not None:  # the grant is over: whoever stands there is judged anew
                scene = self._overruled(scene, refused)
                self.reporter.look(scene)
        self.reporter.decided(scene, self.door.is_open)
        return scene

    def lock_down(self, word: GuardWord) -> None:
        """Lock now, and open to nobody until `end_lock_down`."""
        with self._acting:
            self.lockdown = word
            locked = Scene(Decision(State.DENY, Reason.LOCKED_DOWN, self.clock()), guard=word)
            self.reporter.look(locked)
            self.door.apply(locked.decision)
            scene = self._judged(self._newest or locked)  # a fault that lasts is still told
            self.reporter.look(scene)
        self.reporter.decided(scene, self.door.is_open)

    def end_lock_down(self, word: GuardWord) -> None:
        """Judge again whoever stands there; nothing opens by this."""
        with self._acting:
            self.lockdown = None
            anew = Scene(Decision(State.CHECKING, Reason.UNCERTAIN, self.clock()), guard=word)
            is_out_of_order = self._judged(self._newest or anew).decision.state is State.FAULT
        if not is_out_of_order:
            self.reporter.decided(anew, self.door.is_open)

    def let_in(self, word: GuardWord) -> Verdict:
        """Open once, for the hard cap, whatever the camera shows, or not at all.

        It is recorded first, as every opening is, and ends as every opening does.
        """
        with self._acting:
            if self._newest is None:  # nobody watches the door yet
                return Verdict.NOT_READY
            if (fault := self._fault()) is not None:
                return _VERDICTS[fault[0]]
            if self.lockdown is not None:
                return Verdict.LOCKED_DOWN
            before, self._let_in_by = self._let_in_by, word
            scene = Scene(Decision(State.ALLOW, Reason.LET_IN, self.clock()), guard=word)
            self.reporter.look(scene)
            refused = self.door.let_in()
            if refused is not None:
                self._let_in_by = before
                self.reporter.look(self._judged(self._newest))
                return _VERDICTS[refused]
        self.reporter.decided(scene, self.door.is_open)
        return Verdict.DONE

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

    def _judged(self, scene: Scene) -> Scene:
        """The scene, or what overrules it."""
        decision = scene.decision
        if (fault := self._fault()) is not None:
            return self._overruled(scene, *fault)
        if self.lockdown is not None:
            if decision.state is State.FAULT:  # which locks, too
                return scene
            locked = replace(decision, state=State.DENY, reason=Reason.LOCKED_DOWN, until_s=None)
            return replace(scene, decision=locked, guard=self.lockdown)
        if (until_s := self.door.let_in_until_s) is not None:
            let_in = replace(decision, state=State.ALLOW, reason=Reason.LET_IN, until_s=until_s)
            return replace(scene, decision=let_in, detail="", guard=self._let_in_by)
        return scene

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
