"""DoorThread: a thread is of the door whose thread started it, and so is what it logs."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import ContextVar, copy_context

DOOR: ContextVar[str] = ContextVar("door", default="")
"""Name of the door that runs here; empty where there is one, or where it is about all."""


class DoorThread(threading.Thread):
    """Runs in the context that it was made in; ends with the process.

    Args:
        target: what it does.
        args: for `target`.
        name: for those who look at a stuck process.
    """

    def __init__(
        self, target: Callable[..., object], args: tuple[object, ...] = (), name: str | None = None
    ) -> None:
        super().__init__(target=target, args=args, name=name, daemon=True)
        self._context = copy_context()

    def run(self) -> None:
        """See `threading.Thread`."""
        self._context.run(super().run)
