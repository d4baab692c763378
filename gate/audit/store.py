"""AuditStore: rows that are only ever added, in SQLite, each batch durable on return.

What is damaged is set aside, never repaired and never deleted, and a file of its own begins.
"""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import stat
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from mask_gate.gate.audit.chain import COLUMNS, START, Row, Tip, seal, tip_of
from mask_gate.gate.audit.damaged_file import last_readable_row, set_aside
from mask_gate.gate.audit.record_time import LastRows, read_note
from mask_gate.gate.audit.schema import (
    TIMED_ROWS,
    check_pages,
    is_damage,
    last_row,
    last_rows,
    prepare,
)
from mask_gate.gate.errors import OutputError

log = logging.getLogger(__name__)

Connect = Callable[..., sqlite3.Connection]

MAX_SET_ASIDE = 5
"""A disk that damages more files than this in one run is not asked for another."""

PRUNE_ROWS = 500
"""So many rows are deleted in one transaction."""

_PRUNE_LOOK = 20_000
_FILE_MODE, _FOLDER_MODE = 0o640, 0o750

_INSERT = f"INSERT INTO rows ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"


class AuditStore:
    """One audit file and the end of its chain. Used by one thread; any call may take long.

    A failed call leaves the file closed; `open` begins again from what is on the disk.

    Args:
        path: the file; its folder is made when it is missing.
        busy_s: how long another process may keep it locked.
        wall: the time of day, for the names of files set aside.
        connect: `sqlite3.connect`, or what a test puts in its place.
    """

    def __init__(
        self,
        path: Path,
        *,
        busy_s: float,
        wall: Callable[[], datetime],
        connect: Connect = sqlite3.connect,
    ) -> None:
        self.path = path
        self.tip: Tip | None = None
        self._busy_s = busy_s
        self._wall = wall
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None  # device and inode of what is open
        self._uncertain_tip: Tip | None = None  # of a failed batch that may be there
        self._damage = ""
        self._is_new = False  # made by this run, and not used yet
        self._is_checked = False
        self._aside_count = 0
        self._alarm: Row | None = None

    def open(self) -> Row | None:
        """Open the file, or begin one.

        Returns:
            An alarm that must be the next row, when rows known to have been written are not there.

        Raises:
            sqlite3.Error: it cannot be opened now.
            OSError: it cannot be made, or is not a file.
            OutputError: it is the database of another program.
        """
        self.close()
        if self._damage:
            self._set_aside_damaged()
        try:
            found = self._open()
        except sqlite3.DatabaseError:
            if not self._damage:
                raise
            self._set_aside_damaged()
            found = self._open()
        differs = self._compare(found)
        alarm, self._alarm = self._alarm or differs, None
        return alarm

    @property
    def is_open(self) -> bool:
        """Whether the file is open, and still the one that lies at its path."""
        if self._connection is None:
            return False
        try:
            there = self.path.stat()
        except OSError:
            return False
        return self._file == (there.st_dev, there.st_ino)

    def took_failed_batch(self) -> bool:
        """Whether the batch whose `append` failed last is there after all; to ask after `open`."""
        doubt, self._uncertain_tip = self._uncertain_tip, None
        return doubt is not None and doubt == self.tip

    def append(self, rows: Sequence[Row]) -> None:
        """Add rows in one transaction; on return, they survive a power loss.

        Raises:
            sqlite3.Error: they were not added; whether they are there is known after `open`.
        """
        connection = self._open_connection()
        self._uncertain_tip = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            tip = last_row(connection)
            if tip != self.tip:
                raise sqlite3.OperationalError("somebody else wrote to the file")
            sealed = []
            for row in rows:
                sealed.append(seal(row, tip))
                tip = tip_of(sealed[-1])
            self._uncertain_tip = tip
            connection.executemany(_INSERT, sealed)
            connection.execute("COMMIT")
        except BaseException as error:
            self._failed(error)
            raise
        self.tip, self._uncertain_tip = tip, None

    def last_rows(self) -> LastRows | None:
        """What the end of the file tells of time; None where there are no rows.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        try:
            return last_rows(self._open_connection())
        except BaseException as error:
            self._failed(error)
            raise

    def prune(self, before: str, note: Callable[[int, Tip, str], Row]) -> bool:
        """Delete some of the rows older than `before`; call again while it says True.

        What is kept begins with a row that says what time it was by the record, so that anybody can
        see that all before it were old.

        Args:
            before: time of the record, as in `Row.wall`.
            note: makes the `pruned` row that must be written before rows may go, of their number,
                the last of them, and `before`.

        Raises:
            sqlite3.Error: nothing was deleted by this call.
        """
        connection = self._open_connection()
        try:
            if self._delete_pruned(connection):
                return True
            old = _old_rows(connection, before)
        except BaseException as error:
            self._failed(error)
            raise
        if old is None:
            return False
        self.append([note(*old, before)])
        return True

    def close(self) -> None:
        """Let go of the file; may be called twice."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                log.warning("audit %s: could not be closed: %s", self.path, error)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            raise sqlite3.OperationalError("the file is not open")
        return self._connection

    def _failed(self, error: BaseException) -> None:
        if isinstance(error, sqlite3.DatabaseError) and is_damage(error):
            self._damage = str(error)
        self.close()  # which rolls back

    def _make_file(self) -> None:
        """See that there is a file to open, with rights for its group to read."""
        make_folder(self.path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, _FILE_MODE)
        except FileExistsError:
            if not stat.S_ISREG(self.path.stat().st_mode):
                raise OutputError("it is not a file; give another path") from None
            # SQLite would open it for reading, and leave files beside it that stay so for ever.
            for each in (self.path, self.path.parent):
                if not os.access(each, os.W_OK):
                    raise PermissionError(errno.EACCES, f"no right to write to {each}") from None
            return
        with os.fdopen(descriptor) as file:
            os.fchmod(file.fileno(), _FILE_MODE)
        self._is_new = True

    def _open(self) -> Tip:
        """Connect to the file, made when it is missing, and see that it is an audit; its end."""
        self._make_file()
        connection = self._connect(self.path, timeout=self._busy_s, isolation_level=None)
        self._connection = connection
        try:
            there = self.path.stat()
            self._file = (there.st_dev, there.st_ino)
            prepare(connection)
            if not self._is_checked:
                check_pages(connection)
                self._is_checked = True
            return last_row(connection)
        except BaseException as error:
            self._failed(error)
            raise

    def _compare(self, found: Tip) -> Row | None:
        """Hold the end of the chain on the disk against the one in memory."""
        known, self.tip = self.tip, found
        is_new, self._is_new = self._is_new, False
        if found == self._uncertain_tip or (known is None and (is_new or found != START)):
            return None
        if known is None:
            return Row("alarm", detail="the file was there already, but empty")
        if found == known:
            return None
        what = "the file was gone" if is_new else "the last rows are not those that were written"
        log.error("audit %s: %s; the last one written was %s", self.path, what, known)
        return Row("alarm", detail=what, anchor_seq=known.seq, anchor_hash=known.hash)

    def _set_aside_damaged(self) -> None:
        """Make room for a file in place of the damaged one, and an alarm to be its first row."""
        if self._aside_count >= MAX_SET_ASIDE:
            said = f"{self._aside_count} damaged files were set aside already; check the disk"
            raise OutputError(f"{self._damage}; {said}")
        aside = set_aside(self.path, self._wall())
        known = last_readable_row(aside) if self.tip is None else self.tip
        log.error("audit %s: damaged (%s); set aside as %s", self.path, self._damage, aside.name)
        self._alarm = Row(
            "alarm",
            detail=f"the file before is damaged ({self._damage}); it was set aside as {aside.name}",
            anchor_seq=None if known is None else known.seq,
            anchor_hash=None if known is None else known.hash,
        )
        self._aside_count += 1
        self._damage, self.tip = "", None

    def _delete_pruned(self, connection: sqlite3.Connection) -> bool:
        """Delete some of the rows that a `pruned` row names; False when none is left."""
        some = (
            "SELECT seq FROM rows WHERE seq <= (SELECT max(anchor_seq) FROM rows "
            "WHERE kind = 'pruned') ORDER BY seq LIMIT ?"
        )
        if connection.execute(some, (1,)).fetchone() is None:
            return False
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"DELETE FROM rows WHERE seq IN ({some})", (PRUNE_ROWS,))
        connection.execute("COMMIT")
        return True


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, with the same rights for each that was missing."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        each.mkdir(_FOLDER_MODE, exist_ok=True)
        each.chmod(_FOLDER_MODE)


def _old_rows(connection: sqlite3.Connection, before: str) -> tuple[int, Tip] | None:
    """How many of the oldest rows are too old, and the last of these; None where none is."""
    (first,) = connection.execute("SELECT min(seq) FROM rows").fetchone()
    if first is None:
        return None
    some = f"{TIMED_ROWS} AND seq > ? AND seq <= ? ORDER BY seq"
    timed = connection.execute(some, (first, first + _PRUNE_LOOK)).fetchall()
    if not timed:  # a day of many rows; the next one is looked for, however far it is
        one = f"{TIMED_ROWS} AND seq > ? ORDER BY seq LIMIT 1"
        timed = connection.execute(one, (first,)).fetchall()
    kept = None
    for seq, kind, detail in timed:
        note = read_note(kind, detail)
        if note is not None and note.time > before:
            break
        kept = kept if note is None else seq
    if kept is None:
        return None
    last = connection.execute("SELECT seq, hash FROM rows WHERE seq = ?", (kept - 1,)).fetchone()
    return None if last is None else (kept - first, Tip(*last))
