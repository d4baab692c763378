"""Outputs: what reacts to the door's signals, without ever holding up the gate."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import Protocol

from mask_gate.gate.domain import Signal, SignalKind
from mask_gate.gate.events import Event


class Output(Protocol):
    """One thing that reacts to the door: it is told every signal, in order."""

    def send(self, signal: Signal, event: Event) -> None:
        """Take note of a signal; returns at once, whatever the world behind it does.

        Raises:
            OutputError: it cannot; a lock is offered again until it can.
        """

    def close(self) -> None:
        """Finish in bounded time and leave no process or thread behind; may be called twice.

        Raises:
            OutputError: the last lock could not be carried out.
        """


_WHICH = ("pin", "topic", "url", "path", "port", "driver")
"""What tells two relays of a kind apart."""


class PrintedRelay:
    """Stands in for a relay where none may move: says what would have been done.

    Args:
        settings: of the relay (see `gate.relays.config`), as plain values.
        say: takes one line.
    """

    def __init__(self, settings: Mapping[str, object], *, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say
        which = next((settings[key] for key in _WHICH if settings.get(key) is not None), "")
        self._name = f"{settings['kind']} {which}".rstrip()

    def send(self, signal: Signal, event: Event) -> None:
        """Print what the relay would be told."""
        unlocks = signal.kind is SignalKind.ALLOW
        hold_s = 0.0 if signal.until_s is None else signal.until_s - signal.time_s
        if self._settings["kind"] != "command":
            held = f" for {hold_s:.1f} s at most" if unlocks else ""
            self._say(f"would {'unlock' if unlocks else 'lock'}: {self._name}{held}")
            return
        command = self._settings["on_allow" if unlocks else "on_deny"]
        if command is not None:
            words = shlex.join((*shlex.split(str(command)), signal.kind.value))
            self._say(f"would run: {words}  (MASK_GATE_HOLD_S={hold_s:.3f})")

    def close(self) -> None:
        """Nothing was moved, so nothing is left."""
