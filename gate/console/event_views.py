"""Events of the console: which are asked for, and how pages and exports tell them."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from starlette.requests import Request

from mask_gate.gate.console.door_state import Filter, local_time
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Reason, State, door_state
from mask_gate.gate.events import Event

EVENT_TYPES = ("decision", "signal", "fault")

_COLUMNS = (
    "ts", "type", "state", "reason", "detail", "door", "faces", "labels", "latency_ms", "id",
    "gate", "model",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?)?")


class BadRequestError(Exception):
    """A request that cannot be answered, and why."""


def asked_for(request: Request) -> Filter:
    """Which events are asked for.

    Raises:
        BadRequestError: there are no such ones.
    """
    asked = request.query_params
    for key, known in (("type", EVENT_TYPES), ("state", tuple(State)), ("reason", tuple(Reason))):
        if asked.get(key) and asked[key] not in known:
            raise BadRequestError(f"{key}: expected one of {', '.join(known)}")
    for key in ("from", "to"):
        if asked.get(key) and not _LOCAL_TIME.fullmatch(asked[key]):
            raise BadRequestError(f"{key}: expected a time as 2026-05-01T08:00")
    until = asked.get("to", "")
    return Filter(
        since=asked.get("from", ""),
        until=until + "~" if until else "",  # up to the end of that minute, or of that day
        type=asked.get("type", ""),
        state=asked.get("state", ""),
        reason=asked.get("reason", ""),
    )


def stretches(events: Iterator[Event]) -> Iterator[Event]:
    """What each stretch of one state and reason began with; newest first, as they come."""
    for _, stretch in itertools.groupby(events, lambda event: (event["state"], event["reason"])):
        *_, first = stretch
        yield first


def told(event: Event, words: Texts) -> dict[str, object]:
    """An event as the guard's page shows it."""
    state, reason = State(str(event["state"])), Reason(str(event["reason"]))
    detail = event.get("detail")
    return {
        "id": event.get("id"),
        "time": local_time(event).replace("T", " "),
        "type": event.get("type"),
        "state": state,
        "state_text": words.states[state],
        "reason_text": words.reasons[reason] + (f": {detail}" if detail else ""),
        "door_text": words.page[door_state(event.get("door") == "open")],
        "faces": event.get("faces"),
    }


def _labels(event: Event) -> dict[str, int]:
    tracks = event.get("tracks")
    listed: Iterable[Mapping[str, object]] = tracks if isinstance(tracks, list) else ()
    return dict(Counter(str(track.get("label")) for track in listed if track.get("label")))


def _cell(value: object) -> object:
    """A text that a spreadsheet would take for a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def as_csv(events: Iterable[Event]) -> str:
    """Events for a spreadsheet, a row each."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for event in events:
        row = {**event, "labels": json.dumps(_labels(event))}
        writer.writerow([_cell(row.get(column)) for column in _COLUMNS])
    return file.getvalue()
