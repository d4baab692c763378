#!/usr/bin/env python3
r"""A relay on a pin of a Raspberry Pi: `gpio.py [--pin 17] [--active-low] allow|deny`.

Needs gpiozero, which Raspberry Pi OS brings along (elsewhere: pip install gpiozero lgpio). Try it:

    mask-gate --on-allow "python3 assets/relay/gpio.py --pin 17" \
              --on-deny  "python3 assets/relay/gpio.py --pin 17"

Between two calls the pin is an input and floats. Use a relay board whose own resistor holds it
released then, or add one (10 kOhm from the pin to ground; to 3.3 V for a board that switches on
low level, with --active-low). How to wire the lock so that no power means locked: see pulse.py.
"""

from __future__ import annotations

import argparse

from pulse import Relay, run


class GpioRelay:
    """The relay, released from the moment the pin is ours."""

    def __init__(self, pin: int, active_high: bool) -> None:
        try:
            from gpiozero import GPIOZeroError, OutputDevice
        except ImportError:
            raise OSError("gpiozero is not installed: pip install gpiozero lgpio") from None
        try:
            self._device = OutputDevice(pin, active_high=active_high, initial_value=False)
        except GPIOZeroError as error:
            raise OSError(f"pin {pin} cannot be used: {error}") from error

    def unlock(self) -> None:
        """Energise."""
        self._device.on()

    def lock(self) -> None:
        """Release, and give the pin back."""
        self._device.off()
        self._device.close()


def main() -> int:
    """Read the command line and do what the decision says."""
    parser = argparse.ArgumentParser(description="Relay on a Raspberry Pi pin.")
    parser.add_argument("--pin", type=int, default=17, help="BCM number (default 17)")
    parser.add_argument("--active-low", action="store_true", help="the board switches on low level")
    parser.add_argument("decision", choices=("allow", "deny"))
    options = parser.parse_args()

    def open_relay() -> Relay:
        return GpioRelay(options.pin, active_high=not options.active_low)

    return run(options.decision, open_relay)


if __name__ == "__main__":
    raise SystemExit(main())
