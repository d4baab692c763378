"""Recorded event: the event of a row, as far as the audit has kept it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from mask_gate.gate.audit.chain import Value
from mask_gate.gate.audit.rows import SEEN
from mask_gate.gate.domain import Reason, SignalKind, State
from mask_gate.gate.events import Event
from mask_gate.models.labels import CLASS_NAMES

_PERSON = re.compile(rf"(\d{{1,9}})=({'|'.join(CLASS_NAMES)})\b")


def recorded_event(row: Mapping[str, Value]) -> Event:
    """The event of a row.

    Args:
        row: values by the names of `COLUMNS`.

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
