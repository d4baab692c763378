"""The tables and rules of an audit's file: made in a new one, looked for in any other."""

from __future__ import annotations

import sqlite3
import threading

from mask_gate.gate.audit.chain import START, Tip
from mask_gate.gate.audit.record_time import TIMED_KINDS, LastRows, read_note, seconds
from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.threads import DoorThread

APPLICATION_ID = 0x4D474155
"""In the header of every audit, so that no other program's database is taken for a damaged one."""

VERSION = 1

_CHECK_S = 1.0
_WAL_BYTES = 4 * 1024 * 1024
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_TABLE = """\
CREATE TABLE rows (
  seq INTEGER PRIMARY KEY CHECK (seq > 0),
  kind TEXT NOT NULL,
  signal_id TEXT,
  decision TEXT,
  reason TEXT,
  faces INTEGER,
  classes TEXT,
  confidences TEXT,
  model TEXT,
  config TEXT,
  relay TEXT,
  outcome TEXT,
  detail TEXT,
  anchor_seq INTEGER,
  anchor_hash TEXT,
  wall TEXT NOT NULL,
  mono_s REAL NOT NULL,
  boot_id TEXT NOT NULL,
  gate TEXT NOT NULL,
  previous TEXT NOT NULL CHECK (length(previous) = 64),
  hash TEXT NOT NULL CHECK (length(hash) = 64)
) STRICT"""

_RULES = (
    "CREATE INDEX pruned_rows ON rows (anchor_seq) WHERE kind = 'pruned'",
    """\
CREATE TRIGGER rows_are_only_added BEFORE INSERT ON rows
WHEN NEW.seq <= (SELECT max(seq) FROM rows)
  OR NEW.previous <> (SELECT hash FROM rows ORDER BY seq DESC LIMIT 1)
BEGIN SELECT RAISE(ABORT, 'rows of the audit are only added, at the end of the chain'); END""",
    """\
CREATE TRIGGER rows_never_change BEFORE UPDATE ON rows
BEGIN SELECT RAISE(ABORT, 'rows of the audit never change'); END""",
    # Whoever prunes says so first, in the chain itself.
    """\
CREATE TRIGGER rows_stay BEFORE DELETE ON rows
WHEN OLD.seq > (SELECT coalesce(max(anchor_seq), 0) FROM rows WHERE kind = 'pruned')
BEGIN SELECT RAISE(ABORT, 'rows of the audit are deleted by pruning only'); END""",
)


_IS_TIMED = f"kind IN ({', '.join(repr(kind) for kind in TIMED_KINDS)})"

TIMED_ROWS = f"SELECT seq, kind, detail FROM rows WHERE {_IS_TIMED}"
"""Rows that may say what time it is by the record."""


class WrongSchemaError(sqlite3.DatabaseError):
    """The file is a sound database, and an audit by its header, but not by its tables."""


def is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether an error tells of a damaged file, not of one that cannot be read just now."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return isinstance(error, WrongSchemaError) or code & 0xFF in _DAMAGED


def prepare(connection: sqlite3.Connection) -> None:
    """Make the file an audit, or see that it is one, and have every commit synced.

    Raises:
        OutputError: it is the database of another program, or lies where SQLite has no log.
        sqlite3.Error: it cannot be read, or is damaged.
    """
    for pragma in ("trusted_schema = OFF", "cell_size_check = ON", "secure_delete = ON"):
        connection.execute(f"PRAGMA {pragma}")
    schema = _schema(connection)
    if schema and _pragma(connection, "application_id") != APPLICATION_ID:
        raise OutputError("it is a database of another program; give another path")
    mode = _pragma(connection, "journal_mode = WAL")
    if mode != "wal":
        raise OutputError(f"it cannot keep a WAL, only {mode}; put it on a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
    if not schema:
        _create(connection)
    elif schema != {_TABLE, *_RULES} or _pragma(connection, "user_version") != VERSION:
        raise WrongSchemaError("its tables are not those of an audit")


def check_pages(connection: sqlite3.Connection) -> None:
    """Look for damage, for a bounded time: a file of years must not keep the gate from starting.

    Raises:
        sqlite3.DatabaseError: the file is damaged.
    """
    ended = threading.Event()

    def interrupt_if_long() -> None:
        if not ended.wait(_CHECK_S):
            connection.interrupt()

    # Within one step of its own the check may read for minutes, so no progress handler is asked.
    watch = DoorThread(target=interrupt_if_long, name="audit-check")
    watch.start()
    try:
        answer = _pragma(connection, "quick_check(1)")
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        return
    finally:
        ended.set()
        watch.join()  # else it might interrupt what comes next
    if answer != "ok":
        raise WrongSchemaError(str(answer).replace("\n", " "))


def _pragma(connection: sqlite3.Connection, text: str) -> object:
    answer = connection.execute(f"PRAGMA {text}").fetchone()
    return None if answer is None else answer[0]


def _schema(connection: sqlite3.Connection) -> set[str]:
    return {str(sql) for (sql,) in connection.execute("SELECT sql FROM sqlite_schema")}


def _create(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    for sql in (_TABLE, *_RULES):
        connection.execute(sql)
    connection.execute("COMMIT")


def last_row(connection: sqlite3.Connection) -> Tip:
    """Number and hash of the last row; `START` in an empty file."""
    found = connection.execute("SELECT seq, hash FROM rows ORDER BY seq DESC LIMIT 1").fetchone()
    return START if found is None else Tip(*found)


def last_rows(connection: sqlite3.Connection) -> LastRows | None:
    """What the end of the file tells of time; None where there are no rows.

    In a file that never said what time it is by the record, that is what its last row says.
    """
    columns = "SELECT kind, detail, wall, mono_s, boot_id FROM rows"
    end = connection.execute(f"{columns} ORDER BY seq DESC LIMIT 1").fetchone()
    if end is None:
        return None
    timed = connection.execute(f"{columns} WHERE {_IS_TIMED} ORDER BY seq DESC")
    noted = ((row, note) for row in timed if (note := read_note(row[0], row[1])) is not None)
    row, note = next(noted, (end, None))
    time = row[2] if note is None else note.time
    return LastRows(seconds(time), row[3], row[4], end[2], end[3], end[4])
