"""Lockdown: keeps a door locked down on the word of a guard, whatever ends meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable

from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.door.lockdown_file import LockdownFile, LockdownRecord
from mask_gate.gate.errors import OutputError
from mask_gate.gate.guard_order import GuardAct, GuardWord
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

LOOK_S = 1.0
"""How often a door that is locked down looks whether that was ended from the command line."""


class Lockdown:
    """Locks a door down and ends that, on the word of a guard; goes on with what the file says.

    Args:
        file: where it outlives the gate.
        controller: of the door, which has been started.
        note: takes each beginning and end, for the record.
        on_change: takes on whose word the door is locked down now; None when it is not.
        look_s: how often the file is looked at while the door is locked down.
    """

    def __init__(
        self,
        file: LockdownFile,
        controller: DoorController,
        note: Callable[[GuardAct, GuardWord], None],
        on_change: Callable[[GuardWord | None], None] = lambda word: None,
        look_s: float = LOOK_S,
    ) -> None:
        self._file = file
        self._controller = controller
        self._note = note
        self._on_change = on_change
        self._look_s = look_s
        self._changing = threading.Lock()
        self._closing = threading.Event()
        self._begin_with(file.read())
        self._thread = DoorThread(target=self._watch, name="lockdown")
        self._thread.start()

    def begin(self, word: GuardWord) -> str | None:
        """Lock now, and write that down.

        Returns:
            Why it could not be written: the door is locked down, but only until the gate ends.
        """
        with self._changing:
            self._controller.lock_down(word)
            self._on_change(word)
            self._note(GuardAct.LOCK_DOWN, word)
            log.warning("locked down by %s; %s", word, self._how_to_end())
            try:
                self._file.write(word, locked_down=True)
            except OutputError as error:
                log.error("the lockdown would not survive a restart: %s", error)
                return str(error)
        return None

    def end(self, word: GuardWord) -> str | None:
        """Let the door be opened again, once the file is gone.

        Returns:
            Why not: the file cannot be removed, and the door stays locked down.
        """
        with self._changing:
            try:
                self._file.remove()
            except OutputError as error:
                log.error("the lockdown goes on: %s", error)
                return str(error)
            self._ended(word)
        return None

    def close(self) -> None:
        """Look at the file no more; the door stays as it is."""
        self._closing.set()
        self._thread.join(2 * self._look_s)

    def _begin_with(self, record: LockdownRecord | None) -> None:
        """Go on with a lockdown of a run before, or note its end."""
        self._on_change(None)
        if record is None:
            return
        if not record.locked_down:
            self._end_by_hand(record)
            return
        self._controller.lock_down(record.word)
        self._on_change(record.word)
        log.warning(
            "the door is LOCKED DOWN since %s by %s; %s",
            record.since,
            record.word,
            self._how_to_end(),
        )

    def _watch(self) -> None:
        """See whether somebody has ended it from the command line."""
        while not self._closing.wait(self._look_s):
            if self._controller.lockdown is None:
                continue
            with self._changing:
                record = self._file.read()
                if record is not None and not record.locked_down:
                    self._end_by_hand(record)

    def _end_by_hand(self, record: LockdownRecord) -> None:
        with contextlib.suppress(OutputError):  # it says that it is over, whether it goes or not
            self._file.remove()
        self._ended(record.word)

    def _ended(self, word: GuardWord) -> None:
        self._note(GuardAct.END_LOCK_DOWN, word)
        self._controller.end_lock_down(word)
        self._on_change(None)
        log.warning("the lockdown was ended by %s", word)

    def _how_to_end(self) -> str:
        return (
            "it stays locked until a guard ends it at the console, or "
            f"mask-gate --end-lock-down {self._file.path}"
        )
