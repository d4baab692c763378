"""GuardDesk: judges what guards order for one door, by the gate's own rules, and has it done.

The console's process is not trusted: what it may pass on, for whom, how often and how late is
decided here. Nothing waits here for a better moment: an order is done now, or refused.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lockdown import Lockdown
from mask_gate.gate.errors import OutputError
from mask_gate.gate.guard_order import ORDER_S, GuardAct, GuardOrder, Verdict
from mask_gate.gate.system.threads import DOOR

log = logging.getLogger(__name__)

LET_IN_PAUSE_S = 10.0
"""From one letting in to the next: no opening lasts longer, so that two never make one."""

HOUR_S = 3600.0

_IDS_KEPT = 1000
_TRIED = frozenset({Verdict.DONE, Verdict.OUTPUT_FAULT, Verdict.AUDIT_UNAVAILABLE})
"""Verdicts after which a lock may have moved, so that they count against the caps."""


class GuardDesk:
    """Where the orders for one door come, from any thread, while the gate runs.

    Args:
        name: of the door; empty where it is the only one.
        may: what guards may have done here.
        guards: names of those who may.
        let_in_per_h: how often somebody may be let in within an hour.
        clock: seconds since the machine booted, as orders have them.
    """

    def __init__(
        self,
        name: str,
        may: frozenset[GuardAct],
        guards: frozenset[str],
        let_in_per_h: int,
        clock: Clock = uptime_s,
    ) -> None:
        self._name = name
        self._may = may
        self._guards = guards
        self._let_in_per_h = let_in_per_h
        self._clock = clock
        self._busy = threading.Lock()  # guards what follows
        self._ids: deque[str] = deque(maxlen=_IDS_KEPT)
        self._let_in_s: deque[float] = deque(maxlen=let_in_per_h)
        self._held: tuple[DoorController, Lockdown] | None = None

    def remember(self, let_in_since: Callable[[float], Iterable[float]]) -> None:
        """Count who was let in before this gate was started, for a restart is no new hour.

        Args:
            let_in_since: when somebody was let in since a time, oldest first. Not called where
                nobody may be let in, or what was done here is known. An OutputError of it counts
                as an hour in which all that is allowed was done.
        """
        with self._busy:
            if GuardAct.LET_IN_ONCE not in self._may or self._let_in_s:
                return
            now_s = self._clock()
            try:
                self._let_in_s.extend(let_in_since(now_s - HOUR_S))
            except OutputError as error:
                log.error("%s; so nobody is let in by hand for an hour", error)
                self._let_in_s.extend([now_s] * self._let_in_per_h)

    @contextlib.contextmanager
    def open_for(self, controller: DoorController, lockdown: Lockdown) -> Iterator[None]:
        """While this lasts the door is held, and orders are taken."""
        with self._busy:
            self._held = controller, lockdown
        try:
            yield
        finally:
            with self._busy:
                self._held = None

    def take(self, order: GuardOrder) -> Verdict:
        """Do what is ordered, or say why not; never later than now."""
        DOOR.set(self._name)
        with self._busy:  # whoever waited here too long is late
            verdict = self._refusal(order)
            if verdict is None:
                self._ids.append(order.id)
                verdict = self._done(order)
        if verdict is not Verdict.DONE:
            log.warning("%s refused (%s), asked by %s", order.act, verdict, order.word)
        return verdict

    def _refusal(self, order: GuardOrder) -> Verdict | None:
        """Why an order is not even tried."""
        if order.act not in self._may or order.name not in self._guards:
            return Verdict.NOT_ALLOWED
        if not 0.0 <= self._clock() - order.asked_s <= ORDER_S:
            return Verdict.TOO_LATE
        if order.id in self._ids:
            return Verdict.REPEATED
        return Verdict.NOT_HELD if self._held is None else None

    def _done(self, order: GuardOrder) -> Verdict:
        assert self._held is not None
        controller, lockdown = self._held
        word = order.word
        match order.act:
            case GuardAct.LOCK_DOWN:
                return Verdict.DONE if lockdown.begin(word) is None else Verdict.NOT_KEPT
            case GuardAct.END_LOCK_DOWN:
                if controller.lockdown is None:
                    return Verdict.NOT_LOCKED_DOWN
                return Verdict.DONE if lockdown.end(word) is None else Verdict.LOCKED_DOWN
            case GuardAct.LET_IN_ONCE:
                return self._let_in(controller, order)

    def _let_in(self, controller: DoorController, order: GuardOrder) -> Verdict:
        now_s, before = self._clock(), self._let_in_s
        if before and now_s - before[-1] < LET_IN_PAUSE_S:
            return Verdict.TOO_SOON
        if len(before) == self._let_in_per_h and now_s - before[0] < HOUR_S:
            return Verdict.TOO_MANY
        verdict = controller.let_in(order.word)
        if verdict in _TRIED:
            before.append(now_s)
        if verdict is Verdict.DONE:
            log.warning("let in once by %s", order.word)
        return verdict
