"""Door history: what the audit knows of today, read for a console that has just begun.

It is read by the console's process, never by the gate's, newest row first, for a bounded time and
number of rows; what cannot be understood is left out.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from mask_gate.gate.audit.chain import COLUMNS, Value
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.rows import SEEN, start_detail
from mask_gate.gate.domain import Reason, SignalKind, State
from mask_gate.gate.events import Event
from mask_gate.models.labels import CLASS_NAMES

MOST_ROWS = 20_000
MOST_S = 3.0
"""Of a day that takes longer to read, or has more rows, only the newest ones are known."""

_PERSON = re.compile(rf"(\d{{1,9}})=({'|'.join(CLASS_NAMES)})\b")


class RecordedEvent(NamedTuple):
    """An event of the audit.

    Attributes:
        event: as far as the audit has kept it.
        run: of the gate; 0 is the present one, -1 the one before.
    """

    event: Event
    run: int


def read_today(
    path: Path,
    now: datetime,
    gate_pid: int,
    clock: Callable[[], float] = time.monotonic,
    *,
    most_s: float = MOST_S,
    most_rows: int = MOST_ROWS,
) -> list[RecordedEvent]:
    """Today's events, oldest first.

    Args:
        path: the audit.
        now: the time of day where the machine stands.
        gate_pid: process id of the gate, by which the present run is known.
        clock: monotonic seconds.
        most_s: how long it may take.
        most_rows: how many rows may be read.

    Raises:
        OutputError: the audit cannot be read, or not to its end.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)
    since, end_s = midnight.isoformat(timespec="milliseconds")[:23], clock() + most_s
    starts, is_ours = 0, True  # where no start is met, the present run is older than the day
    found: list[RecordedEvent] = []
    with AuditReader(path) as reader, contextlib.closing(reader.backwards()) as rows:
        for number, sealed in enumerate(rows):
            row = dict(zip(COLUMNS, sealed, strict=True))
            if number >= most_rows or clock() >= end_s or str(row["wall"]) < since:
                break
            if row["kind"] == "start":
                said = str(row["detail"])
                is_ours = is_ours if starts else said.startswith(start_detail(gate_pid))
                starts += 1
            elif row["kind"] == "event":
                with contextlib.suppress(ValueError, TypeError, KeyError):
                    found.append(RecordedEvent(_event(row), -starts))
    earlier = 0 if is_ours else 1
    return [RecordedEvent(event, run - earlier) for event, run in reversed(found)]


def _event(row: Mapping[str, Value]) -> Event:
    """The event of a row, as far as the audit has kept it.

    Raises:
        ValueError, TypeError, KeyError: the row is not about an event of ours.
    """
    parts = str(row["detail"]).split(", ")
    detail = dict(part.split(" ", 1) for part in parts if " " in part)
    people = _PERSON.findall(detail.get(SEEN, ""))
    tracks = [{"id": int(track), "label": label, "votes": {label: 1}} for track, label in people]
    event: dict[str, object] = {
        "ts": datetime.fromisoformat(str(row["wall"])).isoformat(),
        "id": str(row["signal_id"]),
        "gate": str(row["gate"]),
        "type": detail["type"],
        "state": State(detail["state"]).value,
        "reason": Reason(str(row["reason"])).value,
        "door": detail["door"],
        "faces": int(row["faces"] or 0),
        "latency_ms": float(detail.get("latency_ms", "0")),
        "model": row["model"],
        "tracks": tracks,
    }
    if detail["type"] == "signal":
        event["signal"] = SignalKind(str(row["decision"])).value
    return event
