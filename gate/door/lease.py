"""Door: turns decisions into edges; open is a lease that ends by itself, never a level."""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self
from uuid import uuid4

from pydantic import Field

from mask_gate.gate.clock import Clock
from mask_gate.gate.domain import Decision, Reason, Signal, SignalKind, State
from mask_gate.gate.errors import AuditError, GateError
from mask_gate.gate.system.threads import DoorThread
from mask_gate.models.section import Section

_log = logging.getLogger(__name__)


class DoorConfig(Section):
    """How long the door may be open, and how often it says no; all in seconds."""

    renamed: ClassVar = {"max_age_s": "decision_max_age_s"}

    max_open_s: float = Field(
        default=5.0,
        gt=0,
        le=10,
        description="hard cap: an opening ends here even while the policy still allows; at least "
        "the policy's `hold_s` + `lease_s`, or the cap cuts grants short",
    )
    decision_max_age_s: float = Field(
        default=0.5, gt=0, le=2, description="a decision from an older frame never opens or renews"
    )
    deny_repeat_s: float = Field(
        default=2.0, ge=0, le=60, description="least time between two denials, or two faults, told"
    )
    tick_s: float = Field(
        default=0.02, gt=0, le=0.2, description="how often the door's own timer looks at the lease"
    )


@dataclass(slots=True)
class _Opening:
    """The door as it stands open: the cap never moves, the lease does."""

    cap_s: float
    until_s: float
    reason: Reason


def _new_signal_id() -> str:
    return uuid4().hex


class Door:
    """One door: locked unless a lease says otherwise.

    An opening begins with one ALLOW signal and ends with one DENY signal, whatever happens. Two
    things begin one: a decision, and `let_in`, which needs no frame and which nothing renews. One
    grant opens once: after an opening ended, for whatever reason, some other decision must come
    before an ALLOW opens again. A DENY that an output refuses is offered again at every tick and at
    every `close`, and nothing opens before it went through.

    `emit` is called with the door's lock held, so that edges cannot overtake each other: it must
    not block, and of the door it may read only `is_open` and `lease_until_s`. `on_tick` is called
    by the door's own timer: a heartbeat that ends with it.
    """

    def __init__(
        self,
        config: DoorConfig,
        clock: Clock,
        emit: Callable[[Signal], None],
        new_id: Callable[[], str] = _new_signal_id,
        on_tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_tick = on_tick
        self._config = config
        self._clock = clock
        self._emit = emit
        self._new_id = new_id
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._timer: threading.Thread | None = None
        self._running = False
        self._closed = False
        self._opening: _Opening | None = None
        self._armed = True  # whether an ALLOW may begin an opening
        self._unheard: Signal | None = None  # a DENY that no output took yet
        self._newest_s = -math.inf  # frame time of the newest ALLOW taken
        self._state = State.IDLE
        self._told: Reason | None = None  # what was said about the present state
        self._told_s: dict[State, float] = {}  # when a state was last spoken of

    @property
    def is_open(self) -> bool:
        """Whether a lease is running now; its end counts even before `tick` has told of it."""
        opening = self._opening
        return opening is not None and self._clock() < opening.until_s

    @property
    def let_in_until_s(self) -> float | None:
        """As `lease_until_s`, of an opening that `let_in` began; None when there is none."""
        opening = self._opening
        if opening is None or opening.reason is not Reason.LET_IN:
            return None
        return opening.until_s if self._clock() < opening.until_s else None

    @property
    def lease_until_s(self) -> float | None:
        """Monotonic time at which the running lease ends unless renewed; None when locked."""
        opening = self._opening
        return None if opening is None else opening.until_s

    def start(self, *, timer: bool = True) -> None:
        """Lock, say so (STARTING), and keep time in a thread of its own; nothing opens before.

        Args:
            timer: False leaves `tick` to the caller.
        """
        with self._lock:
            if self._running or self._closed:
                return
            self._running = True
            self._deny(Reason.STARTING, (), self._clock())
        if timer:
            self._timer = DoorThread(target=self._keep_time, name="door-timer")
            self._timer.start()

    def apply(self, decision: Decision) -> Reason | None:
        """Take in a decision: open, renew, lock, or say no.

        Returns:
            Why an opening that was due did not come about, where an output or the audit refused it.
        """
        with self._lock:
            if not self._running:
                return None
            now_s = self._clock()
            self._end_lease_in_time(now_s)
            ids = tuple(sorted(decision.votes))
            if decision.reason is Reason.LET_IN:
                return None  # what `let_in` opened runs its course: nothing renews it
            if decision.state is not State.ALLOW:
                self._armed = True
                self._withhold(decision.state, decision.reason, ids, now_s)
            elif (until_s := self._sound_until_s(decision, now_s)) is None:
                self._withhold(State.DENY, Reason.UNCERTAIN, ids, now_s)
            elif self._is_fresh(decision, now_s) and until_s > now_s:
                self._newest_s = decision.time_s
                return self._allow(until_s, ids, now_s)
            return None

    def let_in(self) -> Reason | None:
        """Open once, for the hard cap, without a frame; whoever calls answers for it.

        Returns:
            Why not: STARTING or STOPPING, COOL_DOWN where it is open already, or who refused it.
        """
        with self._lock:
            if not self._running:
                return Reason.STOPPING if self._closed else Reason.STARTING
            now_s = self._clock()
            self._end_lease_in_time(now_s)
            if self._opening is not None:
                return Reason.COOL_DOWN
            if self._unheard is not None:
                return Reason.OUTPUT_FAULT
            return self._open(Reason.LET_IN, now_s + self._config.max_open_s, (), now_s)

    def tick(self) -> None:
        """Let time pass: end a lease that is over, offer again a DENY that did not go through."""
        with self._lock:
            if not self._running:
                return
            self._end_lease_in_time(self._clock())
            self._offer_again()

    def close(self) -> None:
        """Lock for ever and say so (STOPPING); may be called again, and before `start`."""
        with self._lock:
            if not self._closed:
                self._closed, self._running = True, False
                self._deny(Reason.STOPPING, (), self._clock())
            self._offer_again()
        self._stopping.set()
        if self._timer is not None and self._timer is not threading.current_thread():
            self._timer.join(timeout=1.0)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _keep_time(self) -> None:
        while not self._stopping.wait(self._config.tick_s):
            self.tick()
            self._on_tick()

    def _sound_until_s(self, decision: Decision, now_s: float) -> float | None:
        """End of an ALLOW's lease; None for one that no sound policy gives: NaN, for one."""
        until_s = decision.until_s
        makes_sense = (
            until_s is not None
            and decision.reason is Reason.COMPLIANT
            and decision.time_s <= now_s
            and 0.0 < until_s - decision.time_s <= self._config.max_open_s
        )
        return until_s if makes_sense else None

    def _is_fresh(self, decision: Decision, now_s: float) -> bool:
        """Whether a decision is from a new frame of just now."""
        age_s = now_s - decision.time_s
        return decision.time_s > self._newest_s and age_s <= self._config.decision_max_age_s

    def _allow(self, until_s: float, ids: tuple[int, ...], now_s: float) -> Reason | None:
        self._state, self._told = State.ALLOW, None
        opening = self._opening
        if opening is None:
            if self._armed and self._unheard is None:
                return self._open(Reason.COMPLIANT, until_s, ids, now_s)
        elif opening.reason is not Reason.LET_IN:
            opening.until_s = min(until_s, opening.cap_s)
        return None

    def _open(
        self, why: Reason, until_s: float, ids: tuple[int, ...], now_s: float
    ) -> Reason | None:
        """Begin an opening; who refused it, if somebody did."""
        cap_s = now_s + self._config.max_open_s
        # Open before it is said: whatever happens in `emit`, the lease is there to end.
        self._opening = _Opening(cap_s, min(until_s, cap_s), why)
        self._armed = False
        self._state, self._told = State.ALLOW, None
        signal = Signal(SignalKind.ALLOW, why, now_s, self._new_id(), cap_s, ids)
        if (error := self._try_emit(signal)) is None:
            return None
        unrecorded = isinstance(error, AuditError)
        reason = Reason.AUDIT_UNAVAILABLE if unrecorded else Reason.OUTPUT_FAULT
        self._withhold(State.FAULT, reason, ids, now_s)
        return reason

    def _withhold(self, state: State, reason: Reason, ids: tuple[int, ...], now_s: float) -> None:
        """Lock if open; else tell a new denial or fault, though not more often than is heard."""
        if state is not self._state:
            self._state, self._told = state, None
        news = state in (State.DENY, State.FAULT) and reason is not self._told
        rested = now_s - self._told_s.get(state, -math.inf) >= self._config.deny_repeat_s
        if self._opening is not None or (news and rested):
            self._told, self._told_s[state] = reason, now_s
            self._deny(reason, ids, now_s)

    def _end_lease_in_time(self, now_s: float) -> None:
        opening = self._opening
        if opening is not None and not now_s < opening.until_s:
            capped = opening.until_s >= opening.cap_s
            self._deny(Reason.COOL_DOWN if capped else Reason.UNCERTAIN, (), now_s)

    def _deny(self, reason: Reason, ids: tuple[int, ...], now_s: float) -> None:
        self._opening = None
        signal = Signal(SignalKind.DENY, reason, now_s, self._new_id(), None, ids)
        self._unheard = None if self._try_emit(signal) is None else signal

    def _offer_again(self) -> None:
        if self._unheard is not None and self._try_emit(self._unheard) is None:
            self._unheard = None

    def _try_emit(self, signal: Signal) -> Exception | None:
        """Emit; why an output failed, logged once however often a DENY is offered again."""
        try:
            self._emit(signal)
        except Exception as error:  # noqa: BLE001 - whatever an output throws, the door locks
            if signal is not self._unheard:
                known = isinstance(error, GateError)
                _log.error(
                    "an output failed to take %s (%s): %s",
                    signal.kind,
                    signal.reason,
                    error,
                    exc_info=not known,
                )
            return error
        return None
