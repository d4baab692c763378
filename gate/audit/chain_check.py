"""ChainCheck: says where a chain of rows is broken, and where rows were taken away too soon."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from mask_gate.gate.audit.chain import COLUMNS, START, Tip, Value, row_hash, tip_of
from mask_gate.gate.audit.clock import iso_time
from mask_gate.gate.audit.config import LEAST_KEEP_DAYS, MOST_KEEP_DAYS
from mask_gate.gate.audit.record_time import (
    MOST_OFF_S,
    SET_WITHIN_S,
    TIMED_KINDS,
    Pruning,
    TimeNote,
    read_note,
    read_pruning,
    seconds,
)
from mask_gate.gate.events import utc_now

MAX_LISTED_BREAKS = 20
"""So many breaks of one chain are described; more are only counted."""

_PREVIOUS, _HASH = len(COLUMNS) - 2, len(COLUMNS) - 1
_KIND, _DETAIL, _MONO_S, _BOOT_ID, _ANCHOR_SEQ = map(
    COLUMNS.index, ("kind", "detail", "mono_s", "boot_id", "anchor_seq")
)
_ROUNDING_S = 2.0
_OTHER_CLOCKS_S = 86400.0  # the clock of the machine that checks may differ by so much


class ChainCheck:
    """Walks a chain from its oldest row to its newest and says where it is broken.

    It finds any row that was changed, deleted, inserted or moved by somebody who did not seal all
    later rows anew. Against somebody who did, and against rows cut off at the end, only an anchor
    helps: number and hash of a row, kept where he cannot reach. That somebody added a row which
    says that old rows were deleted does not make them old: what is kept must begin with a row that
    tells that all before it were.

    Args:
        pruned: number and hash of the last row deleted, as the newest `pruned` row names it.
        anchor: a row that must be there, as it was noted elsewhere.
        now: the time of day; nothing can have been deleted later.
        after: the row before the first one taken, where the walk does not begin with the oldest;
            it is taken as it is, and nothing is said of what was deleted before it.

    Attributes:
        pruning: what the newest `pruned` row says.
        shortened: where it says that rows are kept for less than before. Who may configure the
            gate may do that, and so may who forges a row: it is to be told.
    """

    def __init__(
        self,
        pruned: Tip | None = None,
        anchor: Tip | None = None,
        now: datetime | None = None,
        after: Tip | None = None,
    ) -> None:
        self._pruned = pruned if after is None else None
        self._after = after
        self._anchor = anchor
        self._now = iso_time((now or utc_now()) + timedelta(seconds=_OTHER_CLOCKS_S))
        self._clock = _ClockCheck()
        self._first_kept: TimeNote | None = None  # of the row that follows the last one deleted
        self.pruning: Pruning | None = None
        self.shortened: list[str] = []
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
        self._take_time(tip.seq, sealed)
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
            when = f" as older than {self.pruning.before}" if self.pruning else ""
            self._break(
                f"row {anchor.seq}: was deleted{when}; give an anchor that is not so old, or if it "
                "is not, rows were taken away"
            )

    # ------------------------------------------------------------------------ the chain

    def _begin(self, seq: int, previous: Value) -> None:
        before = self._after or (START if seq == 1 else self._pruned)
        if before is None or seq > before.seq + 1:
            self._missing(1 if before is None else before.seq + 1, seq - 1)
        elif seq == before.seq + 1 and previous != before.hash:
            how = " as it was pruned" if self._after is None else "; one was replaced"
            self._break(f"row {seq}: does not follow row {before.seq}{how}")

    def _compare(self, tip: Tip) -> None:
        """Hold a row against what is known of it from elsewhere."""
        if self._anchor is not None and self._anchor.seq == tip.seq and self._anchor != tip:
            self._break(f"row {tip.seq}: is not the row the anchor names; it was replaced")
        if self._pruned is not None and self._pruned.seq == tip.seq and self._pruned != tip:
            self._break(f"row {tip.seq}: is not the row that was pruned; it was replaced")

    # ------------------------------------------------------------------------ the times

    def _take_time(self, seq: int, sealed: Sequence[Value]) -> None:
        """Look whether a row could be written at that time, and deleted rows were old."""
        self._clock.saw(sealed)
        kind = sealed[_KIND]
        if kind in TIMED_KINDS and (note := read_note(kind, sealed[_DETAIL])) is not None:
            self._check_advance(seq, note)
            if self._pruned is not None and seq == self._pruned.seq + 1:
                self._first_kept = note
        elif kind == "pruned":
            self._check_pruning(seq, sealed)

    def _check_advance(self, seq: int, note: TimeNote) -> None:
        before = self._clock.noted
        if not LEAST_KEEP_DAYS <= note.keep_days <= MOST_KEEP_DAYS:
            self._break(f"row {seq}: says what no gate is configured to; it was forged")
        if before is not None and note.keep_days < before.keep_days:
            days = f"{note.keep_days:g} days, before it for {before.keep_days:g}"
            self.shortened.append(f"from row {seq} on, rows are kept for {days}")
        if not self._clock.may_be(note):
            self._break(f"row {seq}: says a time that is later than it can be")

    def _check_pruning(self, seq: int, sealed: Sequence[Value]) -> None:
        said, before = read_pruning(sealed[_DETAIL]), self.pruning
        if said is None or said.last_seq != sealed[_ANCHOR_SEQ] or said.last_seq + 1 >= seq:
            self._break(f"row {seq}: does not say which rows were deleted, and why; it was forged")
            return
        self.pruning = said
        if before is not None and said.last_seq != before.last_seq + said.rows:
            self._break(f"row {seq}: counts other rows than were there; rows were taken away")
        note, noted = said.note, self._clock.noted
        age_s = seconds(note.time) - seconds(said.before)
        if noted is None or note.keep_days != noted.keep_days:
            self._break(f"row {seq}: rows were not kept for as long as they had to be")
        elif age_s < 86400 * note.keep_days - _ROUNDING_S:
            self._break(f"row {seq}: deleted rows before they were old")
        elif not self._clock.may_be(note) or note.time > self._now:
            self._break(f"row {seq}: deleted rows by a time that had not come")
        if self._pruned is not None and said.last_seq == self._pruned.seq:
            kept = self._first_kept
            if kept is None or kept.time > said.before:
                self._break(
                    f"row {said.last_seq + 1}: does not tell that the rows before it were older "
                    f"than {said.before}; rows were taken away"
                )

    def _missing(self, first: int, last: int) -> None:
        rows = f"row {first}" if first == last else f"rows {first} to {last}"
        self._break(f"{rows}: missing")

    def _break(self, what: str) -> None:
        self.broken += 1
        if len(self.breaks) < MAX_LISTED_BREAKS:
            self.breaks.append(what)


class _ClockCheck:
    """What time it can be by the record, after the last row that said it.

    Attributes:
        noted: what that row said.
    """

    def __init__(self) -> None:
        self.noted: TimeNote | None = None
        self._noted_s = 0.0  # of the machine's clock, at that row
        self._since_s = 0.0  # from that row to the newest of its boot
        self._row: tuple[float, str] = (0.0, "")  # the newest row: machine's clock, boot
        self._noted_boot = ""

    def saw(self, sealed: Sequence[Value]) -> None:
        """Take in the times of a row."""
        mono_s, boot = sealed[_MONO_S], str(sealed[_BOOT_ID])
        self._row = (float(mono_s) if isinstance(mono_s, (int, float)) else 0.0), boot
        if boot == self._noted_boot:
            self._since_s = max(self._since_s, self._row[0] - self._noted_s)

    def may_be(self, note: TimeNote) -> bool:
        """Whether the newest row may say this; what it says is known from then on."""
        noted, (mono_s, boot) = self.noted, self._row
        is_possible = noted is None or (
            seconds(note.time) - seconds(noted.time) <= self._most_s(mono_s, boot) + _ROUNDING_S
        )
        self.noted, self._noted_s, self._since_s, self._noted_boot = note, mono_s, 0.0, boot
        return is_possible

    def _most_s(self, mono_s: float, boot: str) -> float:
        """How much later it can be than at the last row that said it."""
        if boot == self._noted_boot and mono_s >= self._noted_s:
            set_s = MOST_OFF_S if self._noted_s < SET_WITHIN_S else 0.0
            return mono_s - self._noted_s + set_s
        return self._since_s + MOST_OFF_S + mono_s
