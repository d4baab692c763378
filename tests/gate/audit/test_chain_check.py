"""Rows that somebody took away, with a `pruned` row of his own to explain it, are missed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mask_gate.gate.audit.chain import COLUMNS, START, Row, Tip, seal, tip_of
from mask_gate.gate.audit.chain_check import ChainCheck
from mask_gate.gate.audit.clock import iso_time
from mask_gate.gate.audit.record_time import Pruning, TimeNote

DAY_S = 86400.0
BIRTH = datetime(2026, 5, 1, 8, 0, 0, tzinfo=UTC)
KEEP_DAYS = 30.0
DAYS, EVENTS = 40, 3
NOW = BIRTH + timedelta(days=DAYS)


def time_of(day):
    return iso_time(BIRTH + timedelta(days=day))


def note_of(day, keep_days=KEEP_DAYS):
    return TimeNote(time_of(day), keep_days)


def row(kind, day, detail=None, **more):
    return Row(kind, detail=detail, mono_s=1000.0 + day * DAY_S, boot_id="b", gate="lobby", **more)


def add(chain, *rows):
    chain = list(chain)
    for each in rows:
        chain.append(seal(each, tip_of(chain[-1]) if chain else START))
    return chain


def record(days=DAYS):
    """A run of a gate: a row a day that says what time it is, and what happened."""
    chain = add([], row("start", 0, f"process 1; {note_of(0)}"))
    for day in range(1, days + 1):
        events = [row("event", day - 0.5, f"e{day}-{n}") for n in range(EVENTS)]
        chain = add(chain, *events, row("clock", day, str(note_of(day))))
    return chain


def last_before(chain, day):
    """The last row before the one that says that this day has come."""
    said = str(note_of(day))
    place = next(n for n, each in enumerate(chain) if said in str(each[COLUMNS.index("detail")]))
    return tip_of(chain[place - 1])


def pruned(last, rows, day, before_day, keep_days=KEEP_DAYS):
    said = Pruning(rows, last.seq, time_of(before_day), note_of(day, keep_days))
    return row("pruned", day, str(said), anchor_seq=last.seq, anchor_hash=last.hash)


def breaks(chain, last, anchor=None, now=NOW):
    check = ChainCheck(last, anchor, now)
    for each in chain:
        check.take(each)
    check.end()
    return check.breaks


WHOLE = record()
HONEST = last_before(WHOLE, 10)


def without(chain, last):
    return [each for each in chain if each[0] > last.seq]


def test_rows_deleted_when_they_were_old_are_not_missed():
    chain = add(WHOLE, pruned(HONEST, HONEST.seq, DAYS, DAYS - KEEP_DAYS))
    assert breaks(without(chain, HONEST), HONEST) == []
    assert breaks(chain, HONEST) == []  # not deleted yet
    assert breaks(without(chain, Tip(HONEST.seq - 2, "")), HONEST) == []  # half of them


def forged(last, **change):
    """What somebody leaves who takes away rows up to `last`, and explains it."""
    told = {"last": last, "rows": last.seq, "day": DAYS, "before_day": DAYS - KEEP_DAYS} | change
    return without(add(WHOLE, pruned(**told)), last)


YOUNG = last_before(WHOLE, 35)


@pytest.mark.parametrize(
    ("chain", "last", "told"),
    [
        (forged(YOUNG), YOUNG, "does not tell that the rows before it were older than"),
        (forged(YOUNG, before_day=35), YOUNG, "deleted rows before they were old"),
        (forged(YOUNG, before_day=35, keep_days=5), YOUNG, "not kept for as long as they had"),
        (forged(YOUNG, day=70, before_day=40), YOUNG, "by a time that had not come"),
        (forged(Tip(HONEST.seq + 1, "0" * 64)), Tip(HONEST.seq + 1, "0" * 64), "as it was pruned"),
        (
            without(add(WHOLE, row("pruned", DAYS, "rows up to 35 are older than 2025-11-26",
                                   anchor_seq=YOUNG.seq, anchor_hash=YOUNG.hash)), YOUNG),
            YOUNG,
            "does not say which rows were deleted",
        ),
        (
            [add(WHOLE, pruned(tip_of(WHOLE[-1]), len(WHOLE), DAYS, DAYS - KEEP_DAYS))[-1]],
            tip_of(WHOLE[-1]),
            "does not say which rows were deleted",
        ),
    ],
    ids=["young", "too soon", "kept for less", "in the future", "wrong row", "no reason", "all"],
)  # fmt: skip
def test_rows_taken_away_too_soon_are_missed(chain, last, told):
    found = breaks(chain, last)
    assert any(told in each for each in found), found


def test_a_day_added_to_the_time_of_the_record_is_seen():
    """Whoever wants rows to be old has to say that time passed that did not."""
    chain = add(
        WHOLE,
        row("clock", DAYS, str(note_of(DAYS + 25))),
        pruned(YOUNG, YOUNG.seq, DAYS + 25, 35),
    )
    late = NOW + timedelta(days=90)
    assert any(
        "later than it can be" in each for each in breaks(without(chain, YOUNG), YOUNG, now=late)
    )


def test_the_count_goes_on_from_one_deletion_to_the_next():
    first = pruned(HONEST, HONEST.seq, DAYS, DAYS - KEEP_DAYS)
    chain = add(WHOLE, first, row("clock", DAYS + 1, str(note_of(DAYS + 1))))
    last = last_before(chain, 11)
    for rows, is_whole in ((last.seq - HONEST.seq, True), (last.seq, False), (1, False)):
        then = add(chain, pruned(last, rows, DAYS + 1, 11))
        assert (breaks(without(then, last), last, now=NOW + timedelta(days=1)) == []) is is_whole


def test_an_anchor_among_the_rows_that_are_gone_says_when_they_were_to_go():
    chain = add(WHOLE, pruned(HONEST, HONEST.seq, DAYS, DAYS - KEEP_DAYS))
    told = breaks(without(chain, HONEST), HONEST, anchor=tip_of(WHOLE[4]))
    assert told == [
        f"row 5: was deleted as older than {time_of(10)}; give an anchor that is not so old, or if "
        "it is not, rows were taken away"
    ]


def test_a_machine_that_was_off_for_long_may_go_on_by_four_days_at_most():
    for off_days, is_whole in ((4, True), (5, False)):
        start = row("start", 0, f"process 2; {note_of(DAYS + off_days)}")
        chain = add(WHOLE, replace(start, boot_id="another", mono_s=20.0))
        assert (breaks(chain, None) == []) is is_whole


def shortened(keep_days):
    """Somebody says that rows are kept for less, and takes away what is older."""
    start = row("start", DAYS, f"process 2; {note_of(DAYS, keep_days)}")
    last = last_before(WHOLE, DAYS - int(keep_days)) if keep_days >= 1 else tip_of(WHOLE[-1])
    later = DAYS + (0 if keep_days >= 1 else 0.01)
    told = pruned(last, last.seq, later, later - keep_days, keep_days)
    return without(add(WHOLE, start, told), last), last


def test_rows_taken_away_because_they_are_kept_for_less_from_now_on_are_told():
    chain, last = shortened(5.0)
    check = ChainCheck(last, None, NOW)
    for each in chain:
        check.take(each)
    assert check.shortened == [
        f"from row {len(WHOLE) + 1} on, rows are kept for 5 days, before it for 30"
    ]
    assert check.breaks == []


def test_rows_kept_for_less_than_can_be_configured_are_missed():
    chain, last = shortened(0.001)
    assert any("no gate is configured" in each for each in breaks(chain, last))
