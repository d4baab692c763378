"""Ownership: one process at a time keeps a door; whoever else comes is told which one it is.

The owner holds a lock (flock) on a file named after the door. The kernel lets go of it when the
last process that has the file open from the owner is gone, however it ended, so a file left behind
never blocks, and a guardian that was given the descriptor keeps the door until it has locked it.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import stat
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError, OwnedError

log = logging.getLogger(__name__)

WAIT_S = 5.0
"""How long the guardian of a gate that was killed may take to lock the door and end."""

_LOOK_S = 0.05
_FOLDER = "mask-gate"
_NOTE = re.compile(rb"([1-9]\d{0,8}) ([0-9T:+-]{1,40})\n")


def runtime_folder(environment: Mapping[str, str], run: Path = Path("/run")) -> Path:
    """Where the locks of this machine's doors are; it need not exist yet.

    Gates that run as users who do not share such a folder do not see each other.
    """
    if given := environment.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(given)  # from systemd, which has made it
    shared = run / _FOLDER
    if os.access(shared if shared.exists() else run, os.W_OK):
        return shared
    own = environment.get("XDG_RUNTIME_DIR", "")
    if own and Path(own).is_dir():
        return Path(own) / _FOLDER
    return Path(tempfile.gettempdir()) / f"{_FOLDER}-{os.geteuid()}"


class Ownership:
    """A door that is ours, from construction until `close` or the end of the process.

    Args:
        gate: name of the door.
        folder: where the locks are (see `runtime_folder`); made when it is missing.
        wait_s: how long another owner may take to let go.
        clock: monotonic seconds.
        wall: the time of day, for whoever is turned away.

    Raises:
        OwnedError: another process keeps the door.
        OutputError: the folder cannot be trusted or used.
    """

    def __init__(
        self,
        gate: str,
        folder: Path,
        *,
        wait_s: float = WAIT_S,
        clock: Clock = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._file = -1
        self._gate = gate
        self._path = folder / f"{gate}.lock"
        try:
            with contextlib.ExitStack() as stack:
                inside = _open_folder(folder)
                stack.callback(os.close, inside)
                self._file = self._wait(inside, clock() + wait_s, clock)
                self._sign(inside, f"{os.getpid()} {wall().isoformat(timespec='seconds')}\n")
        except OSError as error:
            self.close()
            if isinstance(error, OutputError):
                raise
            why = os.strerror(error.errno or 0)
            raise OutputError(
                f"{self._path}: cannot be used to keep the door ({why}); check its rights"
            ) from None

    def fileno(self) -> int:
        """The descriptor; a child that inherits it (`pass_fds`) keeps the door too."""
        return self._file

    def close(self) -> None:
        """Let go of the door, unless a child has it too; may be called twice."""
        if self._file >= 0:
            os.close(self._file)  # unlocking would take it from the child as well
            self._file = -1

    def _wait(self, inside: int, until_s: float, clock: Clock) -> int:
        """The locked file, as soon as nobody else has it."""
        told = False
        while True:
            file = _open_file(inside, self._path)
            with contextlib.ExitStack() as stack:
                stack.callback(os.close, file)
                if _is_free(file) and _is_at(inside, self._path.name, file):
                    stack.pop_all()
                    return file
                owner = _owner(os.pread(file, 100, 0))
                if clock() >= until_s:
                    raise OwnedError(f"door {self._gate!r} {owner}")
                if not told:
                    log.warning("door %r %s; waiting for it", self._gate, owner)
                told = True
            time.sleep(_LOOK_S)

    def _sign(self, inside: int, note: str) -> None:
        """Say whose door it is. The lock holds without it, so a full disk does no harm."""
        with contextlib.suppress(OSError):
            # The sticky bit keeps the file from those who tidy such folders.
            os.fchmod(self._file, 0o600 | stat.S_ISVTX)
        folder = os.fstat(inside)
        with contextlib.suppress(OSError):
            if os.geteuid() == 0 != folder.st_uid:
                os.fchown(self._file, folder.st_uid, folder.st_gid)  # its user comes back later
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, note.encode(), 0)


def _open_folder(folder: Path) -> int:
    """A descriptor of a folder in which nobody else can have laid a trap."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    inside = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(inside)
    # Where everybody may make folders, only one's own is to be trusted.
    anybody = bool(folder.parent.stat().st_mode & stat.S_IWOTH)
    if found.st_mode & stat.S_IWOTH or (anybody and found.st_uid != os.geteuid()):
        os.close(inside)
        raise OutputError(
            f"{folder}: others may write there, so it cannot say who keeps a door; remove it, or "
            "set XDG_RUNTIME_DIR to a folder of your own"
        )
    return inside


def _open_file(inside: int, path: Path) -> int:
    """A descriptor of the lock file, which is made when it is missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(path.name, flags, 0o600, dir_fd=inside)
    found = os.fstat(file)
    owners = (os.geteuid(), os.fstat(inside).st_uid, 0)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid not in owners:
        os.close(file)
        raise OutputError(f"{path}: is not a file of this gate; remove it")
    return file


def _is_free(file: int) -> bool:
    """Whether nobody else had the file locked; then it is locked by us."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(inside: int, name: str, file: int) -> bool:
    """Whether a file is still the one of that name, and not one that was removed meanwhile."""
    try:
        return os.path.samestat(os.stat(name, dir_fd=inside, follow_symlinks=False), os.fstat(file))
    except FileNotFoundError:
        return False


def _owner(note: bytes) -> str:
    """Who keeps the door, as the end of a sentence, by what the owner wrote into the file."""
    found = _NOTE.fullmatch(note)
    if found is None:
        return "is kept by another process; stop that one, or give this gate another --gate name"
    pid, since = int(found[1]), found[2].decode()
    if _is_alive(pid):
        return (
            f"is kept by process {pid} since {since}; stop that one, or give this gate another "
            "--gate name"
        )
    return (
        f"is still being locked by a child that process {pid} left when it ended; end that child "
        "if it hangs (pgrep -f mask_gate.gate.relays.guardian)"
    )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
