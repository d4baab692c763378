"""The terminal: what the gate says to the person who started it, one line at a time."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from datetime import datetime

from mask_gate.gate.domain import State
from mask_gate.gate.events import Scene
from mask_gate.gate.system.line_writer import LineWriter
from mask_gate.gate.system.threads import DOOR


def local_now() -> datetime:
    """The time of day where the machine stands."""
    return datetime.now().astimezone()


class Terminal(logging.Handler):
    """Lines on standard error, written by a thread of their own: a stalled pipe stops nothing.

    As a logging handler it takes the warnings of all parts; `status` is for the reporter. A line
    from a thread of one of several doors begins with that door's name.

    Args:
        wall: the time of day, for display.
        descriptor: where to write.
    """

    def __init__(self, wall: Callable[[], datetime] = local_now, descriptor: int = 2) -> None:
        super().__init__()
        self._wall = wall
        with contextlib.suppress(OSError):  # without a free descriptor it is this one
            descriptor = os.dup(descriptor)
        self._lines = LineWriter(descriptor, lambda why: None, lambda lost: None)

    def say(self, text: str) -> None:
        """One line, with the time of day before it, and the door whose thread this is."""
        door = DOOR.get()
        self._lines.put(f"{self._wall():%H:%M:%S}  {door}{'  ' if door else ''}{text}")

    def status(self, scene: Scene, is_open: bool) -> None:
        """What the gate decided, and how the door stands."""
        self.say(status_line(scene, is_open))

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log, in the same form."""
        self.say(f"{record.levelname.lower():<8}  {self.format(record)}")

    def close(self) -> None:
        """Write what is left, for a bounded time."""
        self._lines.close()
        super().close()


def status_line(scene: Scene, is_open: bool) -> str:
    """A decision, how the door stands, and what was seen."""
    decision = scene.decision
    door = "door OPEN  " if is_open else "door locked"
    parts = [decision.reason.value.replace("_", " ")]
    if scene.faces:
        parts.append("1 face" if scene.faces == 1 else f"{scene.faces} faces")
    if scene.is_slow:
        parts.append("slow")
    if decision.state is not State.FAULT:
        parts.append(f"{1000 * scene.latency_s:.0f} ms")
    return f"{decision.state.value.upper():<8}  {door}  {', '.join(parts)}"
