#!/usr/bin/env python3
r"""A USB relay of the LCUS kind: `usb_relay.py [--port /dev/ttyUSB0] [--channel 1] allow|deny`.

Needs pyserial (pip install pyserial) and the right to use the port (group dialout). Try it:

    mask-gate --on-allow "python3 assets/relay/usb_relay.py --port /dev/ttyUSB0" \
              --on-deny  "python3 assets/relay/usb_relay.py --port /dev/ttyUSB0"

These boards (LCUS-1 to LCUS-8, CH340 chip) take four bytes at 9600 baud: A0, channel, 01 on or 00
off, and the sum of the three. They keep their state while they have power, and have no timer of
their own: without the `deny` that follows every opening they would stay on. Use a port name that
stays the same (/dev/serial/by-id/...). How to wire the lock so that no power means locked: see
pulse.py.
"""

from __future__ import annotations

import argparse

from pulse import Relay, run

BAUD = 9600
WRITE_TIMEOUT_S = 1.0


def message(channel: int, on: bool) -> bytes:
    """The four bytes that switch one channel."""
    head = bytes((0xA0, channel, int(on)))
    return head + bytes((sum(head) & 0xFF,))


class UsbRelay:
    """One channel of the board, released from the moment the port is ours."""

    def __init__(self, port: str, channel: int) -> None:
        try:
            import serial
        except ImportError:
            raise OSError("pyserial is not installed: pip install pyserial") from None
        # Its errors are OSErrors already. Nobody else may talk to the board meanwhile.
        self._port = serial.Serial(port, BAUD, write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        self._channel = channel
        self._switch(on=False)

    def unlock(self) -> None:
        """Energise."""
        self._switch(on=True)

    def lock(self) -> None:
        """Release, and give the port back."""
        self._switch(on=False)
        self._port.close()

    def _switch(self, *, on: bool) -> None:
        self._port.write(message(self._channel, on))
        self._port.flush()


def main() -> int:
    """Read the command line and do what the decision says."""
    parser = argparse.ArgumentParser(description="USB relay of the LCUS kind.")
    parser.add_argument("--port", default="/dev/ttyUSB0", help="serial port of the board")
    parser.add_argument("--channel", type=int, default=1, choices=range(1, 9), metavar="1..8")
    parser.add_argument("decision", choices=("allow", "deny"))
    options = parser.parse_args()

    def open_relay() -> Relay:
        return UsbRelay(options.port, options.channel)

    return run(options.decision, open_relay)


if __name__ == "__main__":
    raise SystemExit(main())
