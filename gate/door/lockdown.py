"""Lockdown: keeps a door locked down, in a file too, so that no end of the gate ends it.

The file is there from before a lockdown is acknowledged until a guard has ended it. One that cannot
be read, or says anything but that it is over, is a lockdown; only where there is none, there is
none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mask_gate.gate.door.controller import DoorController
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.events import utc_now
from mask_gate.gate.guard_order import GuardAct, GuardWord, in_print
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

SUFFIX = ".lockdown"
"""Of the file, after the name of the door's record."""

LOOK_S = 1.0
"""How often a door that is locked down looks whether that was ended from the command line."""

_MOST_BYTES = 8192

_Words = Annotated[str, Field(max_length=200), AfterValidator(in_print)]


class LockdownRecord(BaseModel):
    """What the file says.

    Attributes:
        locked_down: False only after an end from the command line, until a gate has seen it.
        name: of the guard.
        reason: in the guard's own words.
        since: time of day, UTC, ISO 8601.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    locked_down: bool
    name: _Words
    reason: _Words
    since: _Words

    @property
    def word(self) -> GuardWord:
        """Whose word it was, and why."""
        return GuardWord(self.name, self.reason)


class LockdownFile:
    """The file of one door.

    Args:
        path: of the file; its folder is that of the door's record.
        wall: the time of day, which is only shown.
    """

    def __init__(self, path: Path, wall: Callable[[], datetime] = utc_now) -> None:
        self.path = path
        self._wall = wall

    def read(self) -> LockdownRecord | None:
        """What it says; None where there is none."""
        try:
            # Not blocking, so that a pipe put in its place cannot hold up the start.
            flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
            with os.fdopen(os.open(self.path, flags), "rb") as file:
                return LockdownRecord.model_validate_json(file.read(_MOST_BYTES))
        except FileNotFoundError:
            return None
        except OSError as error:
            why = f"its file cannot be read ({error.strerror})"
        except (ValidationError, ValueError):
            why = "its file is damaged"
        return LockdownRecord(locked_down=True, name="-", reason=why, since="-")

    def write(self, word: GuardWord, *, locked_down: bool) -> None:
        """Say that the door is locked down, or is so no longer; on return, it survives a crash.

        Raises:
            OutputError: it cannot be written; what it said before may stand.
        """
        text = json.dumps(
            LockdownRecord(
                locked_down=locked_down,
                name=word.name,
                reason=word.why,
                since=self._wall().isoformat(timespec="seconds"),
            ).model_dump()
        )
        part = self.path.with_name(f"{self.path.name}.part")
        try:
            part.unlink(missing_ok=True)
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
            with os.fdopen(descriptor, "w") as file:
                _give_to_owner_of(self.path.parent, descriptor)
                file.write(f"{text}\n")
                file.flush()
                os.fsync(descriptor)
            part.replace(self.path)
            _sync_folder(self.path.parent)
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise OutputError(f"{self.path}: cannot be written ({why})") from None

    def remove(self) -> None:
        """Say that there is no lockdown; on return, that survives a crash.

        Raises:
            OutputError: it cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be removed ({error.strerror})") from None


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


def lockdown_file(audit: Path) -> Path:
    """Where the lockdown of a door lies: beside its record, which is no other door's."""
    return audit.absolute().with_name(f"{audit.name}{SUFFIX}")


def end_by_hand(path: Path, name: str) -> None:
    """End a lockdown from the command line; a gate that runs sees it within `LOOK_S`.

    Args:
        path: of the file, as the gate says it.
        name: of whoever does so.

    Raises:
        ConfigError: this is no lockdown.
        OutputError: the file cannot be written.
    """
    if path.suffix != SUFFIX:
        raise ConfigError(f"--end-lock-down: expected a file named *{SUFFIX}, got {path}")
    file = LockdownFile(path)
    record = file.read()
    if record is None or not record.locked_down:
        raise ConfigError(f"--end-lock-down: {path}: there is no lockdown")
    file.write(GuardWord(name, "ended from the command line"), locked_down=False)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    """What root writes must be the gate's to read, or the door would stay locked down."""
    if os.geteuid() == 0:
        about = folder.stat()
        os.fchown(descriptor, about.st_uid, about.st_gid)
