"""Notifier: sends messages from a thread and a process of their own; nothing ever waits for it.

The process (`gate.notify.sender`) lives for one message, with the lowest rank, and is killed when
it takes too long: what a service or the library that speaks to it does is no matter of the door's.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.events import Event
from mask_gate.gate.notify.config import NotifyConfig
from mask_gate.gate.notify.digest import Digest
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

SEND_S = 60.0
"""A message that is not out by then is given up, and tried again with the next."""

LONGEST_PAUSE_S = 900.0
"""While nobody can be reached, the pause from one try to the next grows to this."""

_POLL_S = 0.5
_BACKLOG = 1000
_SENDER = tuple(module_command("gate.notify.sender"))


class Notifier:
    """A keeper of events that tells people of some of them.

    Args:
        config: who is told what.
        title: of every message.
        words: see `Digest`.
        clock: monotonic seconds.
        command: starts the process that sends one message.
    """

    def __init__(
        self,
        config: NotifyConfig,
        title: str,
        words: Mapping[str, str],
        *,
        clock: Clock = time.monotonic,
        command: Sequence[str] = _SENDER,
    ) -> None:
        self._urls_file = config.urls_file
        self._pause_s = config.pause_s
        self._title = title
        self._clock = clock
        self._command = command
        self._digest = Digest(config.events, words, config.fault_s)
        self._events: deque[Event] = deque(maxlen=_BACKLOG)
        self._changed = threading.Condition()
        self._closing = False
        self._child: subprocess.Popen[bytes] | None = None
        self._told_failed = ""
        self._thread = DoorThread(target=self._work, name="notify")
        self._thread.start()

    def write(self, event: Event) -> None:
        """Take an event; returns at once."""
        with self._changed:
            self._events.append(event)
            self._changed.notify()

    def close(self) -> None:
        """End without waiting for a message that is on its way; may be called twice."""
        with self._changed:
            self._closing = True
            self._changed.notify()
            if self._child is not None:
                self._child.kill()
        self._thread.join(2.0)

    def _work(self) -> None:
        pause_s, next_s = self._pause_s, -math.inf
        while not self._closing:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self._closing, _POLL_S)
                events = list(self._events)
                self._events.clear()
            now_s = self._clock()
            for event in events:
                self._digest.take(event, now_s)
            if now_s < next_s or self._closing or not (lines := self._digest.lines(now_s)):
                continue
            is_out = self._send(lines)
            pause_s = self._pause_s if is_out else min(2 * pause_s, LONGEST_PAUSE_S)
            next_s = self._clock() + max(pause_s, self._pause_s)
            if not is_out:
                self._digest.put_back(lines)

    def _send(self, lines: list[str]) -> bool:
        """Send a message; whether anybody has it. A service that cannot be reached is told once."""
        order = {"urls_file": self._urls_file, "title": self._title, "body": "\n".join(lines)}
        try:
            child = start(self._command)
            with self._changed:
                self._child = child
                if self._closing:
                    child.kill()
            answer = _answer(child, order)
        except OSError as error:
            answer = {"trouble": f"no process can be started ({error.strerror})"}
        self._child = None
        if self._closing:
            return True
        failed = str(
            answer.get("trouble") or answer.get("fault") or ", ".join(answer.get("failed", []))
        )
        if failed and failed != self._told_failed:
            log.warning("notify: a message could not be sent: %s; tried again later", failed)
        elif self._told_failed and not failed:
            log.warning("notify: messages can be sent again")
        self._told_failed = failed
        return bool(answer.get("delivered"))


def check_notify(config: NotifyConfig | None) -> None:
    """See that every address of the file is one that can be sent to; nothing is sent.

    A machine that is too slow to find out is no fault of the file: the gate goes on.

    Raises:
        ConfigError: one is not, the file is no secret, or the library is missing.
    """
    if config is None:
        return
    if importlib.util.find_spec("apprise") is None:
        raise ConfigError("notify: needs apprise; run pip install 'mask-gate[notify]'")
    try:
        answer = _answer(start(_SENDER), {"urls_file": config.urls_file})
    except OSError as error:
        answer = {"trouble": f"no process can be started ({error.strerror})"}
    if answer.get("fault"):
        raise ConfigError(f"notify.urls_file: {answer['fault']}")
    if answer.get("trouble"):
        log.warning("notify: the addresses could not be checked: %s", answer["trouble"])


def _answer(child: subprocess.Popen[bytes], order: Mapping[str, str]) -> dict[str, Any]:
    """What the process says of an order; it is gone afterwards."""
    try:
        said, _ = child.communicate(json.dumps(order).encode(), SEND_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return {"trouble": f"it took longer than {SEND_S:g} s"}
    try:
        answer = json.loads(said)
    except ValueError:
        return {"trouble": f"the process that sends it has ended ({child.returncode})"}
    return answer if isinstance(answer, dict) else {"trouble": "it talks nonsense"}
