"""AuditReader: the rows of one moment, in order, from a file that may be in use or damaged."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from collections.abc import Generator, Iterator
from datetime import datetime
from pathlib import Path

from mask_gate.gate.audit.chain import COLUMNS, Tip, Value
from mask_gate.gate.audit.chain_check import ChainCheck
from mask_gate.gate.audit.schema import TIMED_ROWS
from mask_gate.gate.errors import OutputError

SealedRow = tuple[Value, ...]

_BUSY_S = 5.0
_STRIDE = 1000  # of 3 million rows, a year's, 3,000 are looked at: some 20 ms
_MOST_PLACES = 20_000

_ALL = f"SELECT {', '.join(COLUMNS)} FROM rows"
_PRUNED = (
    "SELECT anchor_seq, anchor_hash FROM rows WHERE kind = 'pruned' AND typeof(anchor_seq) = "
    "'integer' ORDER BY anchor_seq DESC LIMIT 1"
)

# Both at once, `SELECT min(seq), max(seq)`, would read the whole table.
_FIRST_AND_LAST = "SELECT (SELECT min(seq) FROM rows), (SELECT max(seq) FROM rows)"


class AuditReader:
    """What the file holds at the moment of opening; a gate may write to it meanwhile.

    To be used in a `with` block.

    Args:
        path: the file.

    Raises:
        OutputError: it cannot be read, or is not an audit; from every method.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._as_output_error():
            # Without a log beside it, nobody has the file open; then nothing is made beside it
            # either, which a gate of another user could not write to.
            self._idle = not path.with_name(f"{path.name}-wal").exists()
            self._began = self._state()
            self._connection = _connected(path, self._idle)

    def __enter__(self) -> AuditReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def check(
        self, anchor: Tip | None = None, now: datetime | None = None, *, from_seq: int = 1
    ) -> ChainCheck:
        """Walk the chain: all of it, or from a row on to its end.

        Args:
            anchor: number and hash of a row, as noted elsewhere.
            now: the time of day, that of the machine unless given.
            from_seq: the rows before this one need not be walked; some of them are, for the walk
                begins where the record says what time it is.
        """
        with self._as_output_error():
            pruned = self._connection.execute(_PRUNED).fetchone()
            after = self._row_before(from_seq)
            tips = [None if found is None else Tip(*found) for found in (pruned, after)]
            check = ChainCheck(tips[0], anchor, now, tips[1])
            begin_seq = 0 if after is None else after[0] + 1
            for row in self._connection.execute(
                f"{_ALL} WHERE seq >= ? ORDER BY seq", (begin_seq,)
            ):
                check.take(row)
            check.end()
            if self._idle and self._state() != self._began:
                raise self._unreadable("a gate began to write to it meanwhile; try again")
        return check

    def place_of(self, since: str) -> int:
        """The number of a row before which none is of this wall time or later (`rows` says more).

        Args:
            since: as in `Row.wall`; empty is the first row.
        """
        with self._as_output_error():
            return self._places(since, "")[0]

    def rows(self, since: str = "", until: str = "") -> Generator[SealedRow, None, None]:
        """Rows in the order of the chain, one value for each of `COLUMNS`.

        They are looked for where every 1,000th row tells of such a time: rows of a clock that was
        set wrong for a few moments may be left out.

        Args:
            since: the earliest wall time, as in `Row.wall`; empty is all.
            until: the first wall time that is too late; empty is none.
        """
        with self._as_output_error():
            yield from self._connection.execute(
                f"{_ALL} WHERE seq >= ? AND seq <= ? AND wall >= ? AND (? = '' OR wall < ?) "
                "ORDER BY seq",
                (*self._places(since, until), since, until, until),
            )

    def newest(self, count: int) -> list[SealedRow]:
        """The last `count` rows, oldest first."""
        with self._as_output_error():
            rows = self._connection.execute(f"{_ALL} ORDER BY seq DESC LIMIT ?", (count,))
            return list(rows)[::-1]

    def after(self, seq: int) -> Generator[SealedRow, None, None]:
        """The rows that follow the one of this number, in the order of the chain."""
        with self._as_output_error():
            yield from self._connection.execute(f"{_ALL} WHERE seq > ? ORDER BY seq", (seq,))

    def backwards(self) -> Generator[SealedRow, None, None]:
        """Every row, the newest first."""
        with self._as_output_error():
            yield from self._connection.execute(f"{_ALL} ORDER BY seq DESC")

    def _places(self, since: str, until: str) -> tuple[int, int]:
        """Numbers of rows, before and after which no row is of these times."""
        low, high = self._connection.execute(_FIRST_AND_LAST).fetchone()
        if low is None or not (since or until):
            return low or 0, high or 0
        stride = max(_STRIDE, (high - low) // _MOST_PLACES)  # numbers may be forged
        one = "SELECT seq, wall FROM rows WHERE seq >= ? ORDER BY seq LIMIT 1"
        begins = (*range(low, high, stride), high)
        places = [self._connection.execute(one, (seq,)).fetchone() for seq in begins]
        seqs, walls = [seq for seq, _ in places], [str(wall) for _, wall in places]
        after = [place for place, wall in enumerate(walls) if wall >= since]
        before = [place for place, wall in enumerate(walls) if not until or wall < until]
        first, last = min(after, default=len(seqs) - 1), max(before, default=0)
        return seqs[max(first - 1, 0)], seqs[min(last + 1, len(seqs) - 1)]

    def _row_before(self, seq: int) -> tuple[int, str] | None:
        """The row before that which says what time it is and is the newest up to `seq`."""
        found = self._connection.execute(
            f"{TIMED_ROWS} AND seq <= ? ORDER BY seq DESC LIMIT 1", (seq,)
        ).fetchone()
        if found is None:
            return None
        one = "SELECT seq, hash FROM rows WHERE seq = ?"
        before: tuple[int, str] | None = self._connection.execute(one, (found[0] - 1,)).fetchone()
        return before

    @contextlib.contextmanager
    def _as_output_error(self) -> Iterator[None]:
        try:
            yield
        except OutputError:
            raise
        except (sqlite3.Error, OSError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise self._unreadable(why) from None

    def _state(self) -> tuple[int, int, int]:
        """What is not the same any more when somebody wrote to the file."""
        found = self._path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise self._unreadable("it is not a file")
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _unreadable(self, why: str) -> OutputError:
        return OutputError(f"{self._path}: cannot be read as an audit ({why})")


def _connected(path: Path, idle: bool) -> sqlite3.Connection:
    """A connection in a transaction of its own, so that all it reads is of one moment."""
    address = f"{path.resolve().as_uri()}?mode=ro" + ("&immutable=1" if idle else "")
    connection = sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        # What somebody put there instead of text must not end the walk through the chain.
        connection.text_factory = lambda data: data.decode("utf-8", "backslashreplace")
        connection.execute("BEGIN")
        connection.execute("SELECT max(seq) FROM rows").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
