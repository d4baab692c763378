"""Signals: SIGTERM and its like lock every door at once, and end what does not end by itself."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from mask_gate.gate.errors import OutputError
from mask_gate.gate.runtime.entrance import DoorAction
from mask_gate.gate.system.shutdown import Shutdown
from mask_gate.gate.system.threads import DOOR, DoorThread


class _HeldDoor(NamedTuple):
    """A door that is ours now, and what a signal does to it."""

    name: str
    lock: DoorAction
    let_go: DoorAction


class Signals:
    """What a signal does to all doors, as a context around the run.

    Args:
        ending: set by a signal, and by whatever else ends the gate.
        heeds_hangup: see `gate.system.shutdown.Shutdown`.
    """

    def __init__(self, ending: threading.Event, heeds_hangup: Callable[[], bool]) -> None:
        self._ending = ending
        self._shutdown = Shutdown(self._lock_all, self._let_go_of_all, heeds_hangup=heeds_hangup)
        self._guarding = threading.Lock()  # what follows
        self._held: list[_HeldDoor] = []
        self._busy: set[str] = set()  # doors whose loop has yet to end

    def __enter__(self) -> Self:
        self._shutdown.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shutdown.__exit__(kind, error, trace)

    @property
    def exit_code(self) -> int:
        """130 after SIGINT, else 0."""
        return self._shutdown.exit_code

    @contextlib.contextmanager
    def holding(self, lock: DoorAction, let_go: DoorAction) -> Iterator[None]:
        """While this lasts, a signal locks the door of this thread too."""
        held = _HeldDoor(DOOR.get(), lock, let_go)
        with self._guarding:
            self._held.append(held)
        if self._ending.is_set():  # perhaps it came a moment ago
            lock()
        try:
            yield
        finally:
            with self._guarding:
                self._held.remove(held)

    def wait_for(self, name: str) -> None:
        """From now on, the end of the gate waits for the loop of this door, for a while."""
        with self._guarding:
            self._busy.add(name)

    def loop_ended(self, name: str) -> None:
        """The thread of a door is not stuck; when none is, an end leaves the rest to them."""
        with self._guarding:
            self._busy.discard(name)
            nobody = not self._busy
        if nobody and self._ending.is_set():
            self._shutdown.loop_ended()

    def all_loops_ended(self) -> None:
        """No thread of any door is stuck."""
        self._shutdown.loop_ended()

    # ------------------------------------------------------------------ in the thread of signals

    def _lock_all(self) -> None:
        self._ending.set()
        with self._guarding:
            locks = [(held.name, held.lock) for held in self._held]
        _at_once(locks)

    def _let_go_of_all(self) -> None:
        with self._guarding:
            actions = [(held.name, held.let_go) for held in self._held]
        if faults := _at_once(actions):
            raise OutputError("; ".join(faults))


def _at_once(actions: Sequence[tuple[str, DoorAction]]) -> list[str]:
    """Do something for all doors, so that none waits for another; what did not work at which."""
    faults: list[str] = []

    def do(name: str, action: DoorAction) -> None:
        DOOR.set(name)
        try:
            action()
        except OutputError as error:
            faults.append(f"door {name}: {error}" if name else str(error))

    threads = [DoorThread(do, action) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults
