"""PluginRelay: a relay whose driver is in another package (docs/extend.md)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.relay import Order
from mask_gate.gate.system.plugins import RELAYS, in_a_line, make_plugin


class PluginRelay:
    """Locks by the driver when it is made and before it is closed; its errors are OutputErrors.

    The driver has `unlock` and `lock` as `gate.relays.relay.Relay` does. `name` and `close` it may
    have.

    Args:
        driver: name of its entry point.
        settings: what it is made with.
        limit_s: an opening for which the driver took longer has failed, and is locked again. One
            that does not return at all is the guardian's matter.
        clock: monotonic seconds.

    Raises:
        ConfigError: there is no such driver, it cannot be loaded, or does not take the settings.
        OutputError: the driver cannot be had, or does not lock.
    """

    def __init__(
        self,
        driver: str,
        settings: Mapping[str, object] = MappingProxyType({}),
        limit_s: float = 2.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = f"plug-in {driver}"
        make = make_plugin(RELAYS, driver, settings)
        self._driver: Any = None
        self._limit_s = limit_s
        self._clock = clock
        self._locked = False
        self._driver = self._call(make)
        self.name = str(getattr(self._driver, "name", self.name))
        self.lock(_lock_order("starting"), lambda: False)

    def unlock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        self._locked = False
        began_s = self._clock()
        self._call(lambda: self._driver.unlock(order, cancelled))
        if (took_s := self._clock() - began_s) > self._limit_s and not cancelled():
            raise OutputError(
                f"{self.name}: took {took_s:.1f} s, over its limit of {self._limit_s:g}"
            )

    def lock(self, order: Order, cancelled: Callable[[], bool]) -> None:
        """See `gate.relays.relay.Relay`."""
        self._locked = False
        self._call(lambda: self._driver.lock(order, cancelled))
        self._locked = True

    def close(self) -> None:
        """Lock, unless that was the last thing done; may be called twice."""
        driver, self._driver = self._driver, None
        if driver is None:
            return
        try:
            if not self._locked:
                self._call(lambda: driver.lock(_lock_order("stopping"), lambda: False))
        finally:
            self._call(getattr(driver, "close", lambda: None))

    def _call(self, what: Callable[[], object]) -> object:
        """Call the driver; whatever it raises is told in a sentence."""
        try:
            return what()
        except OutputError:
            raise
        except Exception as error:
            raise OutputError(f"{self.name}: {in_a_line(error)}") from error


def _lock_order(reason: str) -> Order:
    return Order(unlocks=False, id="", reason=reason)
