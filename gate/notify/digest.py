"""Digest: what happened at the doors since the last message, a line each."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from mask_gate.gate.domain import DENIALS, FAULTS, Reason, SignalKind, State
from mask_gate.gate.events import Event, tells_of_parts

MOST_LINES = 20
"""Of one message; what else there was is counted."""

_NO_NEWS = frozenset({Reason.STARTING, Reason.STOPPING})


@dataclass
class _Fault:
    since_s: float
    line: str
    is_told: bool = False


class Digest:
    """Collects lines until a message is made of them.

    Args:
        kinds: what is told: fault, recovery, denial, opening.
        words: for each of these, and for each reason.
        fault_s: a fault that is over sooner is not told, nor is its end.
    """

    def __init__(self, kinds: Collection[str], words: Mapping[str, str], fault_s: float) -> None:
        self._kinds = kinds
        self._words = words
        self._fault_s = fault_s
        self._faults: dict[str, _Fault] = {}  # by gate
        self._lines: list[str] = []
        self._more = 0

    def take(self, event: Event, now_s: float) -> None:
        """Take in an event."""
        gate, reason = str(event["gate"]), str(event["reason"])
        if reason in _NO_NEWS:
            return
        if reason in FAULTS or event["state"] == State.FAULT:
            detail = f" ({event['detail']})" if event.get("detail") else ""
            line = self._line(event, "fault", f": {self._words[reason]}{detail}")
            self._faults.setdefault(gate, _Fault(now_s, line))
            return
        fault = self._faults.pop(gate, None) if tells_of_parts(event) else None
        if fault is not None and (fault.is_told or "fault" not in self._kinds):
            self._add("recovery", self._line(event, "recovery"))
        if event["type"] == "signal" and event["signal"] == SignalKind.ALLOW:
            self._add("opening", self._line(event, "opening"))
        elif event["type"] == "signal" and reason in DENIALS:
            self._add("denial", self._line(event, "denial", f": {self._words[reason]}"))

    def lines(self, now_s: float) -> list[str]:
        """What is to be told now; nothing of it comes a second time."""
        for fault in self._faults.values():
            if not fault.is_told and now_s - fault.since_s >= self._fault_s:
                fault.is_told = True
                self._add("fault", fault.line)
        lines, self._lines = self._lines, []
        more, self._more = self._more, 0
        return [*lines, f"+ {more}"] if more else lines

    def put_back(self, lines: list[str]) -> None:
        """Keep what could not be told for the next message."""
        kept = [*lines, *self._lines]
        self._lines, self._more = kept[:MOST_LINES], self._more + len(kept[MOST_LINES:])

    def _line(self, event: Event, kind: str, more: str = "") -> str:
        when = datetime.fromisoformat(str(event["ts"])).astimezone().strftime("%H:%M:%S")
        return f"{when} {event['gate']}: {self._words[kind]}{more}"

    def _add(self, kind: str, line: str) -> None:
        if kind not in self._kinds:
            return
        if len(self._lines) < MOST_LINES:
            self._lines.append(line)
        else:
            self._more += 1
