"""Reporter: tells the outputs, the event log and the terminal what the gate does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mask_gate.gate.domain import DENIALS, Signal, SignalKind
from mask_gate.gate.door.event_order import EventOrder
from mask_gate.gate.door.output import Output
from mask_gate.gate.events import STARTING, Event, EventMaker, Scene


class EventSink(Protocol):
    """Where events are kept."""

    def write(self, event: Event) -> None:
        """Take an event; returns at once."""


class OpeningRecord(Protocol):
    """What records an opening before it happens."""

    def intend(self, signal: Signal, event: Event) -> None:
        """Record that the door is about to open; returns when that is safe on the disk.

        Raises:
            AuditError: it cannot be recorded in time; the door must not open.
        """


class Reporter:
    """Holds the scene of the moment, and passes on what changes.

    Args:
        maker: words for events.
        tell: called with scene and door whenever state, reason, door or `is_slow` have changed.
    """

    def __init__(
        self,
        maker: EventMaker,
        tell: Callable[[Scene, bool], None],
    ) -> None:
        self._maker = maker
        self._tell = tell
        self._sinks: list[EventSink] = []
        self._order = EventOrder(self._write)
        self._record: OpeningRecord | None = None
        self._outputs: list[Output] = []
        self._told_id: str | None = None  # of the newest signal
        self._pending: list[Output] = []  # who has not taken it
        self._scene = STARTING
        self._told: tuple[object, ...] = ()
        self.openings = 0
        self.denials = 0

    def __str__(self) -> str:
        openings = "1 opening" if self.openings == 1 else f"{self.openings} openings"
        denials = "1 denial" if self.denials == 1 else f"{self.denials} denials"
        return f"{openings}, {denials}"

    def add(self, output: Output) -> None:
        """From now on, tell this output too."""
        self._outputs.append(output)

    def add_event_sink(self, sink: EventSink) -> None:
        """From now on, write events there too."""
        self._sinks.append(sink)

    def require_record(self, record: OpeningRecord) -> None:
        """From now on, nothing opens before it is recorded there."""
        self._record = record

    def signal(self, signal: Signal) -> None:
        """The door's `emit`: an opening is recorded first; event sinks come after the outputs.

        An opening stops at the first output that refuses it, for the door is then locked again. A
        lock is told to every output, whatever the others do, and when it is offered again, only to
        those that refused it.

        Raises:
            OutputError: an output refused; or what else it raised.
        """
        allows = signal.kind is SignalKind.ALLOW
        line = self._order.begin(lambda: self._maker.of_signal(signal, self._scene))
        try:
            if self._record is not None and allows:
                self._record.intend(signal, line.event)
            is_new = signal.id != self._told_id
            if is_new:
                self._told_id, self._pending = signal.id, list(self._outputs)
            failures = self._send(signal, line.event)
            if is_new and not (allows and failures):
                line.is_kept = True
                self.openings += allows
                self.denials += signal.reason in DENIALS
        finally:
            self._order.end(line)
        if failures:
            raise failures[0]

    def _send(self, signal: Signal, event: Event) -> list[Exception]:
        """Tell the outputs that have not taken the signal; an opening ends with the first no."""
        failures: list[Exception] = []
        for output in tuple(self._pending):
            try:
                output.send(signal, event)
            except Exception as error:  # noqa: BLE001 - told on when all have been told
                failures.append(error)
                if signal.kind is SignalKind.ALLOW:
                    break
            else:
                self._pending.remove(output)
        return failures

    def look(self, scene: Scene) -> None:
        """Take the scene that the next signals come from."""
        self._scene = scene

    def decided(self, scene: Scene, is_open: bool) -> None:
        """Pass on a decision that the door has taken, if it is not the same as the last."""
        decision = scene.decision
        news = (decision.state, decision.reason, scene.is_slow)
        if self._sinks and self._told[:3] != news:
            line = self._order.begin(lambda: self._maker.of_decision(scene, is_open))
            line.is_kept = True
            self._order.end(line)
        if self._told != (*news, is_open):
            self._told = (*news, is_open)
            self._tell(scene, is_open)

    def _write(self, event: Event) -> None:
        for sink in self._sinks:
            sink.write(event)
