"""DoorsStatus: what the supervisor hears of all doors: one line, and that every loop turns."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

from mask_gate.gate.system.systemd import Supervisor


class DoorsStatus:
    """Puts together what the loops of all doors tell, each from a thread of its own.

    Args:
        supervisor: hears of progress when every loop has turned.
        names: of the doors.
    """

    def __init__(self, supervisor: Supervisor, names: Sequence[str]) -> None:
        self._supervisor = supervisor
        self._guarding = threading.Lock()  # what follows
        self._watching: set[str] = set()  # doors whose loop turns
        self._turned: set[str] = set()
        self._words = dict.fromkeys(names, "starting")
        self._is_ready = self._is_stopping = False

    def ready(self) -> None:
        """The gate is at work from now on; said once."""
        with self._guarding:
            was_ready, self._is_ready = self._is_ready, True
        if not was_ready:
            self._supervisor.ready()

    def stopping(self) -> None:
        """The gate ends, and what follows takes bounded time; said once."""
        with self._guarding:
            was_stopping, self._is_stopping = self._is_stopping, True
        if not was_stopping:
            self._supervisor.stopping()

    @property
    def is_any_watched(self) -> bool:
        """Whether any loop turns now."""
        return bool(self._watching)

    def progress(self) -> None:
        """The gate is at work though no loop turns: it tries its doors again."""
        self._supervisor.progress()

    @contextlib.contextmanager
    def watching(self, name: str) -> Iterator[None]:
        """While this lasts, the loop of this door must turn."""
        with self._guarding:
            self._watching.add(name)
        try:
            yield
        finally:
            with self._guarding:
                self._watching.discard(name)
                self._turned.discard(name)

    def turned(self, name: str) -> None:
        """A loop has done its work once more; the watchdog hears of it when all have."""
        with self._guarding:
            self._turned.add(name)
            have_all = self._turned >= self._watching
            if have_all:
                self._turned.clear()
        if have_all:
            self._supervisor.progress()

    def say(self, name: str, words: str) -> None:
        """The supervisor's line, with this door's part of it anew."""
        with self._guarding:
            self._words[name] = words
            line = "; ".join(f"{door} {said}".strip() for door, said in self._words.items())
        self._supervisor.status(line)
