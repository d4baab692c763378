"""A year of an audit: how long verify, report, export and the console's history take.

    .venv/bin/python tests/benchmarks/audit_year.py --file year.sqlite [--rows 3000000]

The file is made first, where it is missing: a year up to now, the rows spread evenly over it, each
sealed as the gate seals it. `s` is the time on the wall, `processor_s` that of the processor alone,
which hardly depends on what else runs. The commands are called in this process; what they print
goes nowhere.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mask_gate.gate.audit.audit import Audit
from mask_gate.gate.audit.chain import COLUMNS, START, Row, Tip, Value, seal, tip_of
from mask_gate.gate.audit.clock import iso_time
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.record_time import TimeNote
from mask_gate.gate.audit.rows import row_of_event, start_detail
from mask_gate.gate.audit.schema import prepare
from mask_gate.gate.audit.tally import begin_of, tally_of
from mask_gate.gate.commands.audit import main as audit_command
from mask_gate.gate.console.door_history import read_past_days, read_today

DAYS = 365
PER_PERSON = 8  # rows: four changes of state, intent, two signals, what the relay did
_BATCH = 20_000


def event(person: int, part: int) -> dict[str, object]:
    """One of the events of a passage; each fifth person wears no mask."""
    label = "without_mask" if person % 5 == 0 else "with_mask"
    kind, state, reason = (
        ("decision", "checking", "uncertain"),
        ("decision", "deny", "no_mask")
        if label == "without_mask"
        else ("signal", "allow", "compliant"),
        ("signal", "checking", "cool_down"),
        ("decision", "idle", "no_face"),
    )[part % 4]
    opens = kind == "signal" and state == "allow"
    return {
        "id": f"{person:024x}{part:08x}",
        "type": kind,
        **({"signal": "allow" if opens else "deny"} if kind == "signal" else {}),
        "state": state,
        "reason": reason,
        "door": "open" if opens else "locked",
        "tracks": [{"id": person, "label": label, "score": 0.912, "votes": {label: 9}}],
        "faces": 1,
        "latency_ms": 41.9,
        "model": "sha256:" + "0" * 64,
    }


def sealed_rows(count: int, end: datetime) -> Iterator[tuple[Value, ...]]:
    """The rows of a year that ends now, each day with one that says what time it is."""
    begin, tip, day = end - timedelta(days=DAYS), START, -1
    span_s = DAYS * 86400.0 / count
    for number in range(count):
        at = begin + timedelta(seconds=span_s * number)
        if int(span_s * number // 86400) > day:
            day = int(span_s * number // 86400)
            note = str(TimeNote(iso_time(at), 400.0))
            kind = "start" if day == 0 else "clock"
            row = Row(kind, detail=f"{start_detail(1)} {note}" if day == 0 else note)
        else:
            row = row_of_event(event(*divmod(number, PER_PERSON)))
        object.__setattr__(row, "wall", iso_time(at))
        object.__setattr__(row, "mono_s", 1000.0 + span_s * number)
        object.__setattr__(row, "boot_id", "00000000-0000-0000-0000-000000000000")
        object.__setattr__(row, "gate", "lobby")
        sealed = seal(row, tip)
        tip = Tip(*tip_of(sealed))
        yield sealed


def make(path: Path, count: int) -> None:
    """The file, complete or not there."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    insert = f"INSERT INTO rows ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    with contextlib.closing(sqlite3.connect(part, isolation_level=None)) as connection:
        prepare(connection)
        connection.execute("PRAGMA synchronous = OFF")
        batch: list[tuple[Value, ...]] = []
        for sealed in sealed_rows(count, datetime.now(UTC)):
            batch.append(sealed)
            if len(batch) == _BATCH:
                insert_all(connection, insert, batch)
                batch = []
        insert_all(connection, insert, batch)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    part.replace(path)


def insert_all(connection: sqlite3.Connection, insert: str, batch: list[tuple[Value, ...]]) -> None:
    connection.execute("BEGIN")
    connection.executemany(insert, batch)
    connection.execute("COMMIT")


def timed(what: str, call: Callable[[], object]) -> None:
    """Do it once; a line with how long it took."""
    began_s, used_s = time.perf_counter(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = call()
    taken_s, worked_s = time.perf_counter() - began_s, time.process_time() - used_s
    line = {"what": what, "s": round(taken_s, 2), "processor_s": round(worked_s, 2)}
    print(json.dumps(line | ({"code": code} if isinstance(code, int) and code else {})), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--brief", action="store_true", help="only what is of a day")
    options = parser.parse_args()
    path = options.file
    if not path.exists():
        timed("make", lambda: make(path, options.rows))
    print(json.dumps({"mb": path.stat().st_size // 2**20, "load": os.getloadavg()[0]}), flush=True)
    with AuditReader(path) as reader:
        newest = dict(zip(COLUMNS, reader.newest(1)[0], strict=True))
    now = datetime.fromisoformat(str(newest["wall"])).astimezone()
    today, yesterday, old, older = (
        str((now - timedelta(days=back)).date()) for back in (0, 1, 99, 100)
    )
    print(json.dumps({"rows": newest["seq"], "today": today}), flush=True)
    where = ["--file", str(path)]
    export = ["export", *where, "--out", os.devnull]
    some = ["--from", yesterday, "--to", today]
    for _ in range(options.rounds):
        timed("console: today", lambda: len(read_today(path, now, 1)) * 0)
        timed("report, today", lambda: count_since(path, today))
        timed("report, today and yesterday", lambda: count_since(path, yesterday))
        timed("export, yesterday", lambda: audit_command([*export, *some]))
        timed("tail", lambda: audit_command(["tail", *where]))
    if not options.brief:
        measure_the_rest(path, now, export, ["--from", older, "--to", old])
    timed("a gate's first row, nothing of the file in memory", lambda: first_row(path))


def measure_the_rest(path: Path, now: datetime, export: list[str], old: list[str]) -> None:
    """What walks a large part of the file, or all of it."""
    timed("console: 84 days before", lambda: read_past_days(path, now.date()) and 0)
    timed("export, a day 100 days ago", lambda: audit_command([*export, *old]))
    timed("verify, all", lambda: audit_command(["verify", "--file", str(path)]))
    timed("export, all", lambda: audit_command(export))


def first_row(path: Path) -> None:
    """What a gate does with its record after the machine was switched on."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with contextlib.closing(Audit(path, "lobby")) as audit:
        audit.check(600.0)


def count_since(path: Path, day: str) -> int:
    """What `mask-gate-audit report` does, for days up to the newest of the file."""
    with AuditReader(path) as reader:
        check = reader.check(from_seq=reader.place_of(begin_of(day)))
        with contextlib.closing(reader.rows(begin_of(day))) as rows:
            tally_of(rows)
    return check.broken


if __name__ == "__main__":
    main()
