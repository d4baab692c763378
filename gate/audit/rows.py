"""Audit rows made from events of the gate: safe to print, bounded in size."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from mask_gate.gate.audit.chain import Row
from mask_gate.gate.domain import Reason, SignalKind
from mask_gate.gate.events import Event
from mask_gate.gate.guard_order import GuardAct, GuardWord

LABEL_LETTERS = 40
NAME_LETTERS = 200
DETAIL_LETTERS = 1000
MAX_TRACKS = 100
MAX_CLASSES = 10
"""What is longer is cut, so that a row stays far below 64 kB whatever it is made of."""

SEEN = "seen"
"""In `Row.detail`, before the tracks that votes were cast for, each with what most were for."""

_LARGEST = 2**53
_DETAIL_FIELDS = ("type", "state", "door", "until_s", "latency_ms")


def printable(text: str, most: int = NAME_LETTERS) -> str:
    r"""The text with everything that could fool a terminal or a log as its code, such as `\x1b`.

    A backslash is doubled, so that no text can pass for another one.
    """
    start = text[: most + 1]
    if not start.isprintable() or "\\" in start:
        start = "".join(_code(letter) for letter in start)
    return start if len(start) <= most else f"{start[: most - 3]}..."


def row_of_event(event: Event, kind: str = "event") -> Row:
    """What the audit keeps of an event (see `gate.events`); whatever is in it, this works."""
    tracks = event.get("tracks")
    listed = tracks[:MAX_TRACKS] if isinstance(tracks, (list, tuple)) else ()
    seen = [track for track in listed if isinstance(track, Mapping)]
    labels = Counter(_name(track.get("label"), LABEL_LETTERS) for track in seen)
    labels.pop(None, None)
    scores = [_number(track.get("score")) for track in seen]
    parts = [(name, event.get(name)) for name in _DETAIL_FIELDS]
    parts.append(("guard", _guard(event.get("guard"))))
    parts.append((SEEN, " ".join(filter(None, map(_leading, seen))) or None))
    return Row(
        kind=kind,
        signal_id=_name(event.get("id")),
        decision=_name(event.get("signal") or event.get("state")),
        reason=_name(event.get("reason")),
        faces=_count(event.get("faces")),
        classes=_json(dict(labels.most_common(MAX_CLASSES))),
        confidences=_json([None if score is None else round(score, 3) for score in scores]),
        model=_name(event.get("model")),
        detail=detail(", ".join(f"{name} {value}" for name, value in parts if value is not None)),
    )


def guard_row(act: GuardAct, word: GuardWord) -> Row:
    """What the audit keeps of a lockdown that a guard begins or ends."""
    return Row("guard", decision=act.value, detail=detail(str(word)))


def refusal_of(intent: Row) -> Row:
    """What must follow the row of an opening that came to nothing."""
    return Row(
        "result",
        signal_id=intent.signal_id,
        decision=SignalKind.DENY.value,
        reason=Reason.AUDIT_UNAVAILABLE.value,
        outcome="not opened",
        detail="the row of the intent was not on the disk in time",
    )


def start_detail(process: int) -> str:
    """What `Row.detail` begins with in the row that a gate begins with; the time follows it."""
    return f"process {process};"


def detail(text: str) -> str:
    """Texts for `Row.detail`."""
    return printable(text, DETAIL_LETTERS)


def _leading(track: Mapping[str, object]) -> str:
    """A track with what most of its votes are for, as `3=with_mask`; empty without votes."""
    votes = track.get("votes")
    if not isinstance(votes, Mapping) or not votes:
        return ""
    label = max(votes, key=lambda label: _number(votes[label]) or 0.0)
    return f"{_count(track.get('id'))}={_name(label, LABEL_LETTERS)}"


def _guard(guard: object) -> str | None:
    """Who did it by hand, and why; semicolons for commas, which part what a detail tells."""
    if not isinstance(guard, Mapping):
        return None
    said = f"{guard.get('name')}: {guard.get('reason')}"
    return said[:NAME_LETTERS].replace(",", ";")


def _code(letter: str) -> str:
    if letter.isprintable() and letter != "\\":
        return letter
    return letter.encode("unicode_escape").decode("ascii")


def _name(value: object, most: int = NAME_LETTERS) -> str | None:
    return None if value is None else printable(str(value), most)


def _number(value: object) -> float | None:
    """A finite number, or None: JSON and the chain know no NaN."""
    if isinstance(value, (int, float)) and abs(value) <= _LARGEST:
        return float(value)
    return None


def _count(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
