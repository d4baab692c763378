"""A damaged audit file: set aside under another name, and read as far as it can be.

It is never repaired and never deleted.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from mask_gate.gate.audit.chain import Tip
from mask_gate.gate.audit.schema import last_row


def set_aside(path: Path, wall: datetime) -> Path:
    """Rename a file with what SQLite keeps beside it; nothing is ever written over."""
    stamp = wall.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    aside, count = path.with_name(f"{path.name}.corrupt-{stamp}"), 1
    while aside.exists():
        count += 1
        aside = path.with_name(f"{path.name}.corrupt-{stamp}-{count}")
    # The file itself last: a log left beside an empty file would be deleted by SQLite.
    for ending in ("-wal", "-shm", "-journal", ""):
        source = path.with_name(path.name + ending)
        if source.exists():
            source.rename(aside.with_name(aside.name + ending))
    return aside


def last_readable_row(path: Path) -> Tip | None:
    """The last row of a damaged file, where it can still be read."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    if not path.with_name(f"{path.name}-wal").exists():
        address += "&immutable=1"  # or SQLite would leave files beside it
    try:
        connection = sqlite3.connect(address, uri=True)
        try:
            return last_row(connection)
        finally:
            connection.close()
    except (sqlite3.Error, OSError, TypeError):
        return None
