"""EventLog: one JSON object a line, written beside the loop."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from mask_gate.gate.errors import OutputError
from mask_gate.gate.events import Event
from mask_gate.gate.system.line_writer import LineWriter

log = logging.getLogger(__name__)

_APPEND = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC


def _opened(path: str) -> int:
    """A descriptor to append to; opening a pipe waits for no reader.

    Raises:
        OSError: there is none to be had.
    """
    if not Path(path).is_fifo():
        return os.open(path, _APPEND, 0o640)
    reader = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)  # as if somebody read
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(reader)
    os.set_blocking(descriptor, True)
    return descriptor


class EventLog:
    """Writes events to a file or pipe; neither a slow nor a full disk stops the gate.

    While writing fails, events are lost: one warning says so, and one line when it works again. So
    it is while nobody reads a pipe, at the start too.

    Args:
        path: the file to append to; `-` is standard output.

    Raises:
        OutputError: the file cannot be opened.
    """

    def __init__(self, path: str) -> None:
        name = "standard output" if path == "-" else path
        try:
            descriptor = os.dup(1) if path == "-" else _opened(path)
        except OSError as error:
            raise OutputError(
                f"events file {path}: cannot be written ({error.strerror}); choose another one"
            ) from None
        self._lines = LineWriter(
            descriptor,
            lambda why: log.warning("events cannot be written to %s: %s; they are lost", name, why),
            lambda lost: log.warning("events are written again; %d were lost", lost),
        )

    def write(self, event: Event) -> None:
        """Take an event; returns at once."""
        self._lines.put(json.dumps(event, ensure_ascii=False))

    def close(self) -> None:
        """Write what is left, for a bounded time; may be called twice."""
        self._lines.close()
