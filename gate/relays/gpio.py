"""GpioRelay: a relay board on a pin of a single-board computer, through gpiozero."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol, cast

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order

_OPEN_AT_A_LEVEL = ("gpiozero.pins.lgpio", "gpiozero.pins.rpigpio", "gpiozero.pins.mock")
"""Whose pins become outputs at the level they are to have, or drive no relay at all."""


class _PinInfo(Protocol):
    pull: str


class _Pin(Protocol):
    """As much of gpiozero's Pin as is used; gpiozero has no types."""

    info: _PinInfo


class PinFactory(Protocol):
    """As much of gpiozero's Factory as is used."""

    def pin(self, name: str | int) -> _Pin:
        """The pin of that name; the same each time."""


class _Device(Protocol):
    """As much of gpiozero's OutputDevice as is used."""

    value: float
    closed: bool

    def close(self) -> None: ...


class GpioRelay:
    """Holds the pin at its locking level from the moment it is an output.

    When the process ends, however it ends, the pin is an input again and floats: a resistor must
    hold the board locked then (10 kOhm to ground where a high level unlocks, to 3.3 V where a low
    one does). The computer's firmware sets pins before any program runs; check once, with the door
    in sight, that the relay does not click while it starts.

    Args:
        pin: as gpiozero names it: 17, GPIO17, BOARD11.
        energised: what an energised relay means, `unlocked` or `locked`.
        active_high: whether a high level energises the relay.
        pin_factory: of gpiozero; None takes the one of this machine.

    Raises:
        OutputError: gpiozero, the pin, or the right to use it is missing; or the pin has a resistor
            of its own that unlocks.
    """

    def __init__(
        self,
        pin: str | int,
        energised: str = "unlocked",
        active_high: bool = True,
        pin_factory: PinFactory | None = None,
    ) -> None:
        self.name = f"gpio pin {pin}"
        self._energised_unlocks = energised == "unlocked"
        gpiozero = _gpiozero()
        try:
            factory = pin_factory or _factory_here(gpiozero)
            physical = factory.pin(pin)
            self._check(physical, locks_high=active_high != self._energised_unlocks)
            _open_without_blip(physical)
            self._device: _Device = gpiozero.OutputDevice(
                pin,
                active_high=active_high,
                initial_value=not self._energised_unlocks,
                pin_factory=factory,
            )
        except OutputError:
            raise
        except Exception as error:  # noqa: BLE001 - each library below gpiozero has its own
            raise OutputError(
                f"{self.name}: cannot be used ({_first_line(error)}); check the pin, and that the "
                "user is in group gpio"
            ) from None
        try:
            self._switch(unlocks=False)
        except OutputError:
            self._device.close()
            raise

    def unlock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        if not cancelled():
            self._switch(unlocks=True)

    def lock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        self._switch(unlocks=False)

    def close(self) -> None:
        """Lock, and give the pin back; may be called twice."""
        if self._device.closed:
            return
        try:
            self._switch(unlocks=False)
        finally:
            self._device.close()

    def _switch(self, *, unlocks: bool) -> None:
        energise = unlocks == self._energised_unlocks
        try:
            self._device.value = energise
            energised = bool(self._device.value)
        except Exception as error:  # noqa: BLE001 - each library below gpiozero has its own
            raise OutputError(f"{self.name}: does not switch ({_first_line(error)})") from None
        if energised != energise:
            raise OutputError(
                f"{self.name}: its level is not what was written; check for a short circuit"
            )

    def _check(self, pin: _Pin, *, locks_high: bool) -> None:
        if not any(kind.__module__ in _OPEN_AT_A_LEVEL for kind in type(pin).__mro__):
            raise OutputError(
                f"{self.name}: the {type(pin).__module__} pins may unlock for a moment when they "
                f"are opened; {_INSTALL}, and unset GPIOZERO_PIN_FACTORY"
            )
        if pin.info.pull and (pin.info.pull == "up") != locks_high:
            raise OutputError(
                f"{self.name}: a resistor on the computer pulls it {pin.info.pull}, which would "
                "unlock whenever the gate does not run; use another pin"
            )


_INSTALL = 'run pip install "mask-gate[gpio]"'


def _gpiozero() -> ModuleType:
    try:
        return import_module("gpiozero")
    except ImportError:
        raise OutputError(f"a relay of kind gpio needs gpiozero; {_INSTALL}") from None


def _factory_here(gpiozero: ModuleType) -> PinFactory:
    """The pins of this machine, without gpiozero's account of all that it tried."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            gpiozero.Device.ensure_pin_factory()
        except gpiozero.BadPinFactory:
            raise OutputError(
                f"a relay of kind gpio found no pins on this machine; on a Raspberry Pi {_INSTALL} "
                "and add the user to group gpio"
            ) from None
    return cast(PinFactory, gpiozero.Device.pin_factory)


def _open_without_blip(pin: _Pin) -> None:
    """Have a pin of lgpio become an output at once at its level.

    gpiozero claims it low and then sets it (gpiozero pull request 1177): a board that energises on
    a low level would unlock for a moment at every start.
    """
    if type(pin).__module__ == "gpiozero.pins.lgpio":
        claim = import_module("lgpio").gpio_claim_output
        ours = cast(Any, pin)
        ours.output_with_state = lambda state: claim(ours.factory._handle, ours._number, int(state))


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
