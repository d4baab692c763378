"""Relay: the contact that holds a door, as the drivers of all kinds of it offer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from mask_gate.gate.domain import SignalKind


@dataclass(frozen=True, slots=True)
class Order:
    """What a relay is to do, and everything that may be told about it.

    Attributes:
        unlocks: True unlocks, False locks.
        id: of the door's signal; the same in events, hooks and audit.
        reason: of the door's signal, such as `compliant` or `no_mask`.
        time_s: the moment of `gate.clock` at which the door asked for it.
        until_s: with an opening, the moment of `gate.clock` at which the relay must have locked
            by itself; else 0.
        hold_s: the same in seconds from the moment the driver is called; 0 with a lock.
        event_json: the event of the signal, on one line.
    """

    unlocks: bool
    id: str
    reason: str
    time_s: float = 0.0
    until_s: float = 0.0
    hold_s: float = 0.0
    event_json: str = "{}"

    @property
    def decision(self) -> SignalKind:
        """The decision behind it: the last argument of a hook, and its MASK_GATE_DECISION."""
        return SignalKind.ALLOW if self.unlocks else SignalKind.DENY


class Relay(Protocol):
    """A driver. One thread calls it; each call ends within a few seconds, whatever the device does.

    A driver keeps no queue, repeats no opening, and never reports success that the device has not
    confirmed where it can confirm. It holds the locking level from its construction on, and leaves
    it behind when it is closed. A driver whose device went away reconnects in `lock`, not in
    `unlock`, so that whatever comes back is locked before anything else.

    Attributes:
        name: for messages and audit, without secrets, such as `gpio pin 17`.
    """

    name: str

    def unlock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """Bring the relay to its unlocking level; a device with a timer gets `order.hold_s`.

        Args:
            order: what may be told about it.
            cancelled: turns True when a lock waits; a call that takes long looks at it and returns.

        Raises:
            OutputError: it did not work, or cannot be shown to have worked; the relay is locked
                next.
        """

    def lock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """Bring the relay to its locking level.

        Args:
            order: what may be told about it.
            cancelled: turns True when time is up at the gate's end.

        Raises:
            OutputError: it did not work; it will be asked again until it does.
        """

    def close(self) -> None:
        """Leave the device at its locking level and let go of it; may be called twice."""


_DRIVERS = {
    "command": "mask_gate.gate.relays.command:CommandRelay",
    "gpio": "mask_gate.gate.relays.gpio:GpioRelay",
    "serial": "mask_gate.gate.relays.serial_board:SerialRelay",
    "mqtt": "mask_gate.gate.relays.mqtt:MqttRelay",
    "webhook": "mask_gate.gate.relays.webhook:WebhookRelay",
    "recording": "mask_gate.gate.relays.recording:RecordingRelay",
    "plugin": "mask_gate.gate.relays.plugin:PluginRelay",
}


def open_relay(settings: Mapping[str, object]) -> Relay:
    """The driver of one entry of `relays` (see `gate.relays.config`), as plain values.

    Raises:
        OutputError: the device, or a package its driver needs, is not there.
        ConfigError: the driver of a plug-in cannot be loaded, or does not take its settings.
    """
    arguments = dict(settings)
    arguments.pop("pulse_s", None)  # kept by whoever drives the relay, not by its driver
    module, name = _DRIVERS[str(arguments.pop("kind"))].split(":")
    return cast(Relay, getattr(import_module(module), name)(**arguments))
