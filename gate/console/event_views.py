"""Event views: which events a request asks for, and how pages and exports show them."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from starlette.requests import Request

from mask_gate.gate.console.chart import NARROWEST_PX, WIDEST_PX, WIDTH_PX
from mask_gate.gate.console.periods import Period
from mask_gate.gate.console.recent_events import EventFilter, local_time
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


def requested_filter(request: Request) -> EventFilter:
    """The filter that the query of a request describes.

    Raises:
        BadRequestError: a value of the query is not known.
    """
    query = request.query_params
    for key, known in (("type", EVENT_TYPES), ("state", tuple(State)), ("reason", tuple(Reason))):
        if query.get(key) and query[key] not in known:
            raise BadRequestError(f"{key}: expected one of {', '.join(known)}")
    for key in ("from", "to"):
        if query.get(key) and not _LOCAL_TIME.fullmatch(query[key]):
            raise BadRequestError(f"{key}: expected a time as 2026-05-01T08:00")
    until = query.get("to", "")
    return EventFilter(
        since=query.get("from", ""),
        until=until + "~" if until else "",  # up to the end of that minute, or of that day
        type=query.get("type", ""),
        state=query.get("state", ""),
        reason=query.get("reason", ""),
    )


def requested_period(request: Request) -> Period:
    """The period that the query of a request names; today unless it does.

    Raises:
        BadRequestError: there is no such period.
    """
    try:
        return Period(request.query_params.get("period") or Period.TODAY)
    except ValueError:
        raise BadRequestError(f"period: expected one of {', '.join(Period)}") from None


def requested_width(request: Request) -> int:
    """The width of a chart that the query of a request names, in bounds.

    Raises:
        BadRequestError: it is no number.
    """
    text = request.query_params.get("width") or str(WIDTH_PX)
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise BadRequestError("width: expected a number of pixels")
    return min(max(int(text), NARROWEST_PX), WIDEST_PX)


def state_changes(newest_first: Iterable[Event]) -> Iterator[Event]:
    """The first event of each run of events with the same state and reason, newest run first."""
    for _, run in itertools.groupby(newest_first, lambda event: (event["state"], event["reason"])):
        *_, first = run
        yield first


def event_json(event: Event, texts: Texts) -> dict[str, object]:
    """An event as the guard's page shows it."""
    state, reason = State(str(event["state"])), Reason(str(event["reason"]))
    detail = event.get("detail")
    return {
        "id": event.get("id"),
        "time": local_time(event).replace("T", " "),
        "type": event.get("type"),
        "type_text": texts.page.get(str(event.get("type")), ""),
        "state": state,
        "state_text": texts.states[state],
        "reason_text": texts.reasons[reason]
        + (f": {detail}" if detail else f" ({texts.page['slow']})" if "slow" in event else ""),
        "door_text": texts.page[door_state(event.get("door") == "open")],
        "faces": event.get("faces"),
    }


def as_csv(events: Iterable[Event]) -> str:
    """Events for a spreadsheet, a row each."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for event in events:
        row = {**event, "labels": json.dumps(_label_counts(event))}
        writer.writerow([_cell(row.get(column)) for column in _COLUMNS])
    return file.getvalue()


def _label_counts(event: Event) -> dict[str, int]:
    tracks = event.get("tracks")
    listed: Iterable[Mapping[str, object]] = tracks if isinstance(tracks, list) else ()
    return dict(Counter(str(track.get("label")) for track in listed if track.get("label")))


def _cell(value: object) -> object:
    """A value with an apostrophe before it where a spreadsheet would take it for a formula."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
