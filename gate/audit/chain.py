"""The audit's chain of hashes: what a row holds, how it is sealed, where a chain is broken."""

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

MAX_LISTED_BREAKS = 20
"""So many breaks of one chain are described; more are only counted."""

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
        kind: `start intent result event clock_step stop alarm pruned`.
        signal_id: of the door's signal or of the event; the same in events and at relays.
        decision: `allow` or `deny` of a signal, else the state decided on.
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
        mono_s: seconds of the monotonic clock, which starts anew with each boot.
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


class ChainCheck:
    """Walks a chain from its oldest row to its newest and says where it is broken.

    It finds any row that was changed, deleted, inserted or moved by somebody who did not seal all
    later rows anew. Against somebody who did, and against rows cut off at the end, only an anchor
    helps: number and hash of a row, kept where he cannot reach.

    Args:
        pruned: what the newest `pruned` row names, if there is one.
        anchor: a row that must be there, as it was noted elsewhere.
    """

    def __init__(self, pruned: Tip | None = None, anchor: Tip | None = None) -> None:
        self._pruned = pruned
        self._anchor = anchor
        self.rows = 0
        self.first_seq = 0
        self.tip = START
        self.broken = 0
        self.breaks: list[str] = []

    def take(self, sealed: Sequence[Value]) -> None:
        """Look at the next row.

        Args:
            sealed: one value for each of `COLUMNS`.
        """
        tip, previous = tip_of(sealed), sealed[_PREVIOUS]
        if not self.rows:
            self.first_seq = tip.seq
            self._begin(tip.seq, previous)
        elif tip.seq != self.tip.seq + 1:
            self._missing(self.tip.seq + 1, tip.seq - 1)
        elif previous != self.tip.hash:
            self._break(f"row {tip.seq}: does not follow row {self.tip.seq}; one was replaced")
        if tip.hash != row_hash(sealed[:_HASH]):
            self._break(f"row {tip.seq}: does not match its own hash; it was changed")
        self._compare(tip)
        self.rows += 1
        self.tip = tip

    def end(self) -> None:
        """Say that no row comes after the last one taken."""
        anchor = self._anchor
        if anchor is None or anchor == START:
            return
        if anchor.seq > self.tip.seq:
            said = f"the anchor names row {anchor.seq}, the last row is {self.tip.seq}"
            self._break(f"row {self.tip.seq + 1}: missing; {said}")
        elif anchor.seq < self.first_seq and anchor != self._pruned:
            self._break(f"row {anchor.seq}: was pruned; give an anchor that is not so old")

    def _begin(self, seq: int, previous: Value) -> None:
        before = START if seq == 1 else self._pruned
        if before is None or seq > before.seq + 1:
            self._missing(1 if before is None else before.seq + 1, seq - 1)
        elif seq == before.seq + 1 and previous != before.hash:
            self._break(f"row {seq}: does not follow row {before.seq} as it was pruned")

    def _compare(self, tip: Tip) -> None:
        """Hold a row against what is known of it from elsewhere."""
        if self._anchor is not None and self._anchor.seq == tip.seq and self._anchor != tip:
            self._break(f"row {tip.seq}: is not the row the anchor names; it was replaced")
        if self._pruned is not None and self._pruned.seq == tip.seq and self._pruned != tip:
            self._break(f"row {tip.seq}: is not the row that was pruned; it was replaced")

    def _missing(self, first: int, last: int) -> None:
        rows = f"row {first}" if first == last else f"rows {first} to {last}"
        self._break(f"{rows}: missing")

    def _break(self, what: str) -> None:
        self.broken += 1
        if len(self.breaks) < MAX_LISTED_BREAKS:
            self.breaks.append(what)
