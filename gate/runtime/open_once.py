"""OpenOnce: what all doors share is opened when one of them asks for it first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from mask_gate.gate.system.threads import DOOR

T = TypeVar("T")


class OpenOnce(Generic[T]):
    """A thing that is opened at most once, and is then the same for every thread.

    Args:
        open_thing: gives the thing as a context; what it raises is raised at everybody who asks.
    """

    def __init__(self, open_thing: Callable[[], AbstractContextManager[T]]) -> None:
        self._open_thing = open_thing
        self._opened = contextlib.ExitStack()
        self._opening = threading.Lock()
        self._outcome: Future[T] | None = None

    def get(self) -> T:
        """The thing; waits while another thread opens it.

        Raises:
            GateError: it could not be opened, as for everybody who asked before.
        """
        with self._opening:
            if self._outcome is None:
                self._outcome = Future()
                door = DOOR.set("")  # it is of all doors, and so is what it logs
                try:
                    self._outcome.set_result(self._opened.enter_context(self._open_thing()))
                except BaseException as error:
                    self._outcome.set_exception(error)
                    raise
                finally:
                    DOOR.reset(door)
        return self._outcome.result()

    def close(self) -> None:
        """Close it, if it was opened."""
        self._opened.close()
