"""LockdownFile: where a lockdown is written down, so that no end of the gate ends it.

The file is there from before a lockdown is acknowledged until a guard has ended it. One that cannot
be read, or says anything but that it is over, is a lockdown; only where there is none, there is
none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.events import utc_now
from mask_gate.gate.guard_order import GuardWord, in_print

SUFFIX = ".lockdown"
"""Of the file, after the name of the door's record."""

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


def lockdown_file(audit: Path) -> Path:
    """Where the lockdown of a door lies: beside its record, which is no other door's."""
    return audit.absolute().with_name(f"{audit.name}{SUFFIX}")


def end_by_hand(path: Path, name: str) -> None:
    """End a lockdown from the command line; a gate that runs sees it within a second.

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
