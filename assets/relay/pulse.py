"""One pulse of a relay: unlock, wait, lock again; shared by the sample scripts beside it.

How the gate calls a relay script:

    SCRIPT [options] allow     when the door may open; MASK_GATE_HOLD_S says for how many seconds,
                               MASK_GATE_UNTIL until when (CLOCK_BOOTTIME): the sooner counts
    SCRIPT [options] deny      when it must lock: at start and end of the gate, when an opening
                               ends or is revoked, and for every person turned away

`allow` stays alive while the door is open and locks by itself when the hold is over. If the gate
wants to lock earlier it sends SIGTERM, on which the script locks at once, and then runs `deny`.
Should the gate itself die (MASK_GATE_PID is its process), the script locks within `WATCH_S`. Should
a script be killed in the middle of a pulse (SIGKILL), the `deny` that always follows locks.
Ending with another code than 0 tells the gate that the relay failed: it then stays locked and out
of order for a while, and repeats a failed `deny` until one works.

Wiring, for every relay: its resting state must be "locked", so that a power cut, a crash or a
pulled cable never opens.

    strike, fail-secure (locked without current)     supply -> NO contact of the relay -> strike
    maglock, fail-safe (free without current)        supply -> NC contact of the relay -> maglock

The way OUT must never depend on this relay: wire the exit button and the fire-alarm contact in
front of it, so that they free the door whatever the software does.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

MAX_HOLD_S = 10.0
"""No pulse is longer, whatever the environment says."""


WATCH_S = 0.1
"""How often a pulse looks whether the gate is still there."""


class Relay(Protocol):
    """A relay that can be told twice what it already does."""

    def unlock(self) -> None:
        """Energise: the door can be opened."""

    def lock(self) -> None:
        """Release: the door is locked."""


def uptime_s() -> float:
    """Seconds since the machine was started; they go on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def hold_s() -> float:
    """Seconds a pulse may last, from the environment.

    Raises:
        ValueError: the gate did not say, or said nonsense.
    """
    said = os.environ.get("MASK_GATE_HOLD_S", "")
    try:
        seconds = float(said)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:  # NaN is not either
        raise ValueError(f"MASK_GATE_HOLD_S: expected seconds above 0, got {said!r}")
    return min(seconds, MAX_HOLD_S)


def until_s() -> float:
    """Time of `uptime_s` at which the pulse must be over, from the environment.

    Raises:
        ValueError: the gate did not say, or said nonsense.
    """
    by_hold_s = uptime_s() + hold_s()
    return min(float(os.environ.get("MASK_GATE_UNTIL", by_hold_s)), by_hold_s)


def gate_lives(parent: int) -> bool:
    """Whether the gate is still there, and who started this script (the gate, or a wrapper)."""
    try:
        os.kill(int(os.environ.get("MASK_GATE_PID", parent)), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs as another user
        pass
    return os.getppid() == parent


def run(decision: str, open_relay: Callable[[], Relay]) -> int:
    """Do what `decision` says; returns the exit code.

    Args:
        decision: `allow` or `deny`.
        open_relay: gets hold of the relay, locked; raises OSError where there is none.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    parent = os.getppid()

    def may_be_open() -> bool:
        return uptime_s() < end_s and gate_lives(parent) and not ended.is_set()

    try:
        end_s = until_s() if decision == "allow" else -math.inf
        relay = open_relay()
        try:
            if may_be_open():
                relay.unlock()
            while may_be_open():
                ended.wait(min(WATCH_S, max(end_s - uptime_s(), 0.0)))
        finally:
            relay.lock()
    except (OSError, ValueError) as error:
        print(f"relay: {error}", file=sys.stderr)
        return 1
    return 0
