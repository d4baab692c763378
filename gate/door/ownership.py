"""Ownership: one process at a time keeps a door; whoever else comes is told which one it is.

The owner holds a lock (flock) on files named after the door. The kernel lets go of it when the
last process that has a file open from the owner is gone, however it ended, so a file left behind
never blocks, and a guardian that was given the descriptors keeps the door until it has locked it.

A guardian that lost its gate and does not end is ended, and so is everything that an owner has
left running, before the door is ours.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import signal
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from mask_gate.gate.clock import Clock
from mask_gate.gate.errors import OutputError, OwnedError
from mask_gate.gate.system import leftovers

log = logging.getLogger(__name__)

WAIT_S = 5.0
"""How long the guardian of a gate that was killed may take to lock the door and end."""

SILENT_S = 13.0
"""A gate that has not beaten for so long does not answer; one that starts takes up to ten."""

BEAT_S = 1.0
"""How often an owner says that it works, at most."""

MARK = "MASK_GATE_DOOR"
"""Variable of the environment of all that works at a door: the files by which it is owned."""

_LOOK_S = 0.05
_FOLDER = "mask-gate"
_NOTE = re.compile(rb"([1-9]\d{0,8}) ([0-9T:+-]{1,40})\n")


def runtime_folders(
    environment: Mapping[str, str], run: Path = Path("/run"), everybodys: Path = Path("/tmp")
) -> tuple[Path, ...]:
    """Where the locks of this machine's doors are; they need not exist yet.

    One of them is the same for all processes of a user, whatever their environment. Gates of users
    who share no such folder do not see each other. A folder that is given and not below `run` is
    for those who want to be apart.
    """
    own = everybodys / f"{_FOLDER}-{os.geteuid()}"
    if given := environment.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        folder = Path(given)  # from systemd, which has made it
        return (folder, own) if folder.is_relative_to(run) else (folder,)
    shared = run / _FOLDER
    if os.access(shared if shared.exists() else run, os.W_OK):
        return shared, own
    return (own,)


class _Owner(NamedTuple):
    """Somebody else who has the door.

    Attributes:
        pid: of the gate; None where it is not known.
        since: when it came to have the door.
        beaten_ns: changes while the gate works.
        lives: whether the gate itself has the door, and not only what it has left.
        file: identity of the file by which it has it.
    """

    pid: int | None
    since: str
    beaten_ns: int
    lives: bool
    file: str

    def __str__(self) -> str:
        """What it does, as the end of a sentence."""
        if self.pid is None:
            return (
                "is kept by another process; stop that one, or give this gate another --gate name"
            )
        if self.lives:
            return (
                f"is kept by process {self.pid} since {self.since}; stop that one, or give this "
                "gate another --gate name"
            )
        return (
            f"is still being locked by a child that process {self.pid} left when it ended; end "
            "that child if it hangs (pgrep -f mask_gate.gate.relays.guardian)"
        )


class Ownership:
    """A door that is ours, from construction until `close` or the end of the process.

    Args:
        gate: name of the door.
        folders: where the locks are (see `runtime_folders`); made when they are missing.
        wait_s: how long another owner may take to let go, and what a gate has left to end.
        silent_s: a gate that does not answer for so long is ended; None: it never is.
        clock: monotonic seconds.
        wall: the time of day, for whoever is turned away.

    Raises:
        OwnedError: another process keeps the door.
        OutputError: no folder can be trusted or used.
    """

    def __init__(
        self,
        gate: str,
        folders: Sequence[Path],
        *,
        wait_s: float = WAIT_S,
        silent_s: float | None = None,
        clock: Clock = time.monotonic,
        wall: Callable[[], datetime] = lambda: datetime.now().astimezone(),
    ) -> None:
        self._files: tuple[int, ...] = ()
        self._gate = gate
        self._clock = clock
        self._beaten_s = clock()
        with contextlib.ExitStack() as stack:
            places = _open_places(folders, stack)
            self._files = self._wait(places, wait_s, silent_s)
            note = f"{os.getpid()} {wall().isoformat(timespec='seconds')}\n"
            for file, inside in zip(self._files, places.values(), strict=True):
                _sign(file, inside, note)
        self._end_what_was_left()

    @property
    def descriptors(self) -> tuple[int, ...]:
        """A child that inherits them (`pass_fds`) keeps the door too."""
        return self._files

    @property
    def marks(self) -> dict[str, str]:
        """What is in the environment of a child that works at the door, so that it is found."""
        return {MARK: os.pathsep.join(map(_identity, self._files))}

    def beat(self) -> None:
        """Say that the owner works; may be called as often as one likes."""
        now_s = self._clock()
        if now_s - self._beaten_s >= BEAT_S:
            self._beaten_s = now_s
            for file in self._files:
                with contextlib.suppress(OSError):
                    os.utime(file)

    def close(self) -> None:
        """Let go of the door, unless a child has it too; may be called twice."""
        files, self._files = self._files, ()
        for file in files:
            os.close(file)  # unlocking would take it from the child as well

    def _wait(
        self, places: Mapping[Path, int], wait_s: float, silent_s: float | None
    ) -> tuple[int, ...]:
        """The locked files, as soon as nobody else has any of them."""
        began_s = self._clock()
        until_s = began_s + wait_s
        first: _Owner | None = None
        ended: set[bool] = set()  # the gate, and what one has left
        while isinstance(found := _try(self._gate, places), _Owner):
            if first is None:
                first = found
                log.warning("door %r %s; waiting for it", self._gate, found)
            now_s = self._clock()
            if now_s >= until_s:
                works = found.lives and (silent_s is None or found != first)
                if works or found.lives in ended:
                    raise OwnedError(f"door {self._gate!r} {found}", works=works)
                if not found.lives or now_s - began_s >= (silent_s or 0.0):
                    ended.add(found.lives)
                    self._end(found)
                    until_s = self._clock() + wait_s
            time.sleep(_LOOK_S)
        return found

    def _end(self, owner: _Owner) -> None:
        """What does not answer keeps nobody from locking."""
        if not owner.lives:
            leftovers.end(lambda: leftovers.marked(MARK, [owner.file]))
        elif owner.pid is not None:
            log.error("door %r: process %d does not answer: killed", self._gate, owner.pid)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(owner.pid, signal.SIGKILL)

    def _end_what_was_left(self) -> None:
        """Whoever had the door is gone: what it has started may not open it any more."""
        files = list(map(_identity, self._files))
        if left := leftovers.end(lambda: leftovers.marked(MARK, files)):
            processes = ", ".join(map(str, left))
            log.error("door %r: what cannot be ended may open it: %s", self._gate, processes)


def _try(gate: str, places: Mapping[Path, int]) -> tuple[int, ...] | _Owner:
    """The locked files, or who else has one of them."""
    files: list[int] = []
    with contextlib.ExitStack() as stack:
        for folder, inside in places.items():
            path = folder / f"{gate}.lock"
            with _told(path):
                file = _open_file(inside, path)
                stack.callback(os.close, file)
                if not (_is_free(file) and _is_at(inside, path.name, file)):
                    return _owner(file)
            files.append(file)
        stack.pop_all()
    return tuple(files)


def _owner(file: int) -> _Owner:
    """Who keeps the door, by what the owner wrote into the file."""
    found = _NOTE.fullmatch(os.pread(file, 100, 0))
    beaten_ns, identity = os.fstat(file).st_mtime_ns, _identity(file)
    if found is None:
        return _Owner(None, "", beaten_ns, lives=True, file=identity)
    pid = int(found[1])
    lives = _is_alive(pid) and leftovers.has_open(pid, file)
    return _Owner(pid, found[2].decode(), beaten_ns, lives, identity)


def _identity(file: int) -> str:
    """What an open file is, whatever its name here."""
    found = os.fstat(file)
    return f"{found.st_dev}-{found.st_ino}"


def _sign(file: int, inside: int, note: str) -> None:
    """Say whose door it is. The lock holds without it, so a full disk does no harm."""
    with contextlib.suppress(OSError):
        # The sticky bit keeps the file from those who tidy such folders.
        os.fchmod(file, 0o600 | stat.S_ISVTX)
    folder = os.fstat(inside)
    with contextlib.suppress(OSError):
        if os.geteuid() == 0 != folder.st_uid:
            os.fchown(file, folder.st_uid, folder.st_gid)  # its user comes back later
    with contextlib.suppress(OSError):
        os.ftruncate(file, 0)
        os.pwrite(file, note.encode(), 0)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What goes wrong in here is one sentence about a path."""
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        why = os.strerror(error.errno or 0)
        raise OutputError(
            f"{path}: cannot be used to keep the door ({why}); check its rights"
        ) from None


def _open_places(folders: Sequence[Path], stack: contextlib.ExitStack) -> dict[Path, int]:
    """Descriptors of those folders that can be used, closed with the stack.

    Raises:
        OutputError: none can be.
    """
    places: dict[Path, int] = {}
    faults: list[OutputError] = []
    for folder in folders:
        try:
            with _told(folder):
                places[folder] = _open_folder(folder)
        except OutputError as error:
            faults.append(error)
        else:
            stack.callback(os.close, places[folder])
    if not places:
        raise faults[0]
    for fault in faults:
        log.warning("%s", fault)
    return places


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
            f"{folder}: others may write there, so it cannot say who keeps a door; remove it"
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


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
