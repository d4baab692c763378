"""Supervisor: tells systemd that the gate is ready, what it does, and that its loop still turns.

The words go over the socket that NOTIFY_SOCKET names, as sd_notify(3) describes them; where there
is none, nothing happens. A gate that a supervisor watches is restarted when its loop hangs, never
because the camera is away: a loop that truthfully reports a lost camera makes progress.
"""

from __future__ import annotations

import logging
import math
import os
import re
import socket
import threading
import time
from collections.abc import MutableMapping

from mask_gate.gate.clock import Clock
from mask_gate.gate.events import Scene

log = logging.getLogger(__name__)

PING_S = 1.0
"""The watchdog is told of progress this often, or four times in its own limit if that is less."""

STATUS_S = 0.2
"""A status changes no sooner than this after the words before it; a later one takes its place."""

_RETRY_S = 0.1
_MAX_STATUS = 200
_MICROSECONDS = re.compile("[1-9][0-9]{0,17}")


class Supervisor:
    """What the gate says to whatever started it. Every call returns at once and never raises.

    Args:
        environment: NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID are taken out of it, so that no
            child speaks in the gate's name.
        clock: monotonic seconds.

    Attributes:
        ping_s: pings are this far apart, and one turn of the loop more; None when nobody watches.
    """

    def __init__(
        self, environment: MutableMapping[str, str], clock: Clock = time.monotonic
    ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        limit_s = _limit_s(
            environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
        )
        self.ping_s = None if limit_s is None else min(PING_S, limit_s / 4)
        self._clock = clock
        self._speaking = threading.Lock()
        self._unsent: dict[str, str] = {}
        self._told = ""
        self._refused = False
        self._said_s = -math.inf
        self._next_s = -math.inf
        self._socket: socket.socket | None = None
        if address[:1] in ("/", "@") and len(address) > 1:
            # A name that begins with a null byte is one without a file; @ stands for it.
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.setblocking(False)
        elif address:
            log.warning(
                "NOTIFY_SOCKET: expected a path or @name, got %.80r; nothing is told", address
            )

    @property
    def is_there(self) -> bool:
        """Whether somebody started the gate who listens to it, and starts it again."""
        return self._socket is not None

    def ready(self) -> None:
        """The gate watches the entrance from now on; the watchdog's time begins to run."""
        self._tell("READY", "1")

    def stopping(self) -> None:
        """The gate ends by itself or was told to; what follows takes bounded time."""
        self._tell("STOPPING", "1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`; may come from any thread, as often as it likes."""
        words = "".join(c if c.isprintable() else " " for c in text[:_MAX_STATUS])
        if self._socket is None or words == self._told:
            return
        with self._speaking:
            self._told = words
            self._unsent["STATUS"] = words
            if self._clock() - self._said_s >= STATUS_S:
                self._send()
            else:
                self._next_s = min(self._next_s, self._said_s + STATUS_S)

    def decided(self, scene: Scene, is_open: bool) -> None:
        """The status that goes with a decision, and with how the door stands."""
        self.status(status_words(scene, is_open))

    def progress(self) -> None:
        """The loop has dealt with a frame, or with its absence; called by the loop, at each turn.

        Nothing else pings: where this is not reached, the watchdog's time runs out.
        """
        if self._socket is None or self._clock() < self._next_s:
            return
        with self._speaking:
            sent = self._send(ping=self.ping_s is not None)
            pause_s = PING_S if self.ping_s is None else self.ping_s
            self._next_s = self._clock() + (pause_s if sent else min(_RETRY_S, pause_s))

    def close(self) -> None:
        """Say nothing any more; may be called twice."""
        with self._speaking:
            if self._socket is not None:
                self._socket.close()
                self._socket = None

    def _tell(self, word: str, value: str) -> None:
        with self._speaking:
            self._unsent[word] = value
            if not self._send():
                self._next_s = -math.inf  # the loop says it again

    def _send(self, *, ping: bool = False) -> bool:
        """Say all that is unsaid; a ping is said now or never, for it is true only now."""
        words = [f"{word}={value}" for word, value in self._unsent.items()]
        words += ["WATCHDOG=1"] * ping
        if self._socket is None or not words:
            return True
        try:
            self._socket.sendto("\n".join(words).encode("utf-8", "replace"), self._address)
        except OSError as error:  # also when it does not listen just now: never wait for it
            if not self._refused:
                log.warning("the supervisor cannot be told how the gate fares: %s", error)
            self._refused = True
            return False
        self._refused = False
        self._unsent.clear()
        self._said_s = self._clock()
        return True


def status_words(scene: Scene, is_open: bool) -> str:
    """A decision, and how the door stands, in a few words."""
    decision = scene.decision
    door = "OPEN" if is_open else "locked"
    reason = decision.reason.value.replace("_", " ")
    slow = ", slow" if scene.is_slow else ""
    return f"{decision.state.value.upper()}, door {door}: {reason}{slow}"


def _limit_s(limit_us: str, pid: str) -> float | None:
    """After how long without a ping the supervisor restarts this process; None when it does not."""
    if pid and pid != str(os.getpid()):
        return None  # it watches another process, of which this one is a child
    if not limit_us:
        return None
    if not _MICROSECONDS.fullmatch(limit_us):
        log.warning("WATCHDOG_USEC: expected microseconds, got %.80r; nothing is told", limit_us)
        return None
    return int(limit_us) / 1e6
