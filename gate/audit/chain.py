"""The audit's chain of hashes: what a row holds, and how it is sealed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

Value = str | int | float | None

START_HASH = "0" * 64
"""What the first row of a file names as the hash before it."""

_TIP = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


class Tip(NamedTuple):
    """One row, known by number and hash: the end of a chain, or an anchor kept elsewhere."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


START = Tip(0, START_HASH)
"""Before the first row."""


def parse_tip(text: str) -> Tip | None:
    """`SEQ:HASH` as a tip; None when it is not of this form."""
    match = _TIP.fullmatch(text.strip())
    return Tip(int(match[1]), match[2]) if match else None


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says; its number and hashes come with its place in the chain.

    Attributes:
        kind: `start intent result event guard clock clock_step stop alarm pruned`.
        signal_id: of the door's signal or of the event; the same in events and at relays.
        decision: `allow` or `deny` of a signal, what a guard did, else the state decided on.
        faces: how many were seen in the frame.
        classes: JSON object, how many tracks last looked like which class.
        confidences: JSON array, the score of each of these tracks.
        model: fingerprint of the detector.
        config: fingerprint of the configuration.
        relay: which relay a result is of.
        outcome: what the relay did.
        detail: anything else, in words.
        anchor_seq: with `pruned`, the last row deleted; with an alarm, the last one known.
        anchor_hash: the hash of that row.
        wall: time of day, UTC, ISO 8601 with milliseconds.
        mono_s: seconds since the machine booted, asleep or awake (CLOCK_BOOTTIME).
        boot_id: which boot of the machine that was.
        gate: name of the door.
    """

    kind: str
    signal_id: str | None = None
    decision: str | None = None
    reason: str | None = None
    faces: int | None = None
    classes: str | None = None
    confidences: str | None = None
    model: str | None = None
    config: str | None = None
    relay: str | None = None
    outcome: str | None = None
    detail: str | None = None
    anchor_seq: int | None = None
    anchor_hash: str | None = None
    wall: str = ""
    mono_s: float = 0.0
    boot_id: str = ""
    gate: str = ""


_ROW_FIELDS = tuple(field.name for field in fields(Row))

COLUMNS = ("seq", *_ROW_FIELDS, "previous", "hash")
"""Names of what a sealed row holds, in its order."""

_SEQ, _PREVIOUS, _HASH = 0, len(COLUMNS) - 2, len(COLUMNS) - 1


def seal(row: Row, tip: Tip) -> tuple[Value, ...]:
    """The row in its place after `tip`: one value for each of `COLUMNS`."""
    values = (tip.seq + 1, *(getattr(row, name) for name in _ROW_FIELDS), tip.hash)
    return (*values, row_hash(values))


def row_hash(values: Sequence[object]) -> str:
    """SHA-256 over the canonical JSON of everything before `hash`, the hash before included."""
    named = dict(zip(COLUMNS, values, strict=False))
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def tip_of(sealed: Sequence[Value]) -> Tip:
    """Number and hash of a sealed row."""
    return Tip(int(sealed[_SEQ] or 0), str(sealed[_HASH]))
