"""The chain: whoever changes, deletes, inserts or moves a row is found out, with its number."""

import hashlib
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.audit.chain import (
    COLUMNS,
    START,
    Row,
    Tip,
    parse_tip,
    row_hash,
    seal,
    tip_of,
)
from mask_gate.gate.audit.chain_check import MAX_LISTED_BREAKS, ChainCheck


def chain(count, begin=START):
    sealed, tip = [], begin
    for number in range(count):
        sealed.append(seal(Row("event", signal_id=f"s{number}", mono_s=number / 7), tip))
        tip = tip_of(sealed[-1])
    return sealed


def checked(rows, pruned=None, anchor=None):
    check = ChainCheck(pruned, anchor)
    for row in rows:
        check.take(row)
    check.end()
    return check


def breaks(rows, pruned=None, anchor=None):
    return checked(rows, pruned, anchor).breaks


def changed(row, column, value):
    position = COLUMNS.index(column)
    return (*row[:position], value, *row[position + 1 :])


def sealed_anew(row):
    return (*row[:-1], row_hash(row[:-1]))


WHOLE = chain(50)


def test_the_hash_is_sha256_over_canonical_json_so_that_anybody_can_check_it():
    row = seal(Row("event", gate="문", faces=2, mono_s=0.1), START)
    named = dict(zip(COLUMNS[:-1], row[:-1], strict=True))
    text = json.dumps(named, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    assert row[-1] == hashlib.sha256(text.encode()).hexdigest()


def test_a_whole_chain_is_whole():
    check = checked(WHOLE)
    assert (check.broken, check.rows, check.first_seq) == (0, 50, 1)
    assert check.tip == tip_of(WHOLE[-1])


def test_an_empty_chain_is_whole():
    check = checked([])
    assert (check.broken, check.rows, check.tip) == (0, 0, START)


@given(st.integers(0, 49), st.sampled_from(COLUMNS[1:]))
def test_any_change_of_any_column_is_found_at_its_row(place, column):
    rows = list(WHOLE)
    rows[place] = changed(rows[place], column, "f" * 64)
    assert any(f"row {place + 1}:" in told for told in breaks(rows))


@given(st.integers(0, 48))
def test_a_changed_row_that_was_sealed_anew_is_found_at_the_next(place):
    rows = list(WHOLE)
    rows[place] = sealed_anew(changed(rows[place], "decision", "deny"))
    assert breaks(rows) == [
        f"row {place + 2}: does not follow row {place + 1}; one was replaced",
    ]


@given(st.integers(0, 48))
def test_a_deleted_row_is_found(place):
    assert breaks(WHOLE[:place] + WHOLE[place + 1 :]) == [f"row {place + 1}: missing"]


@given(st.integers(0, 49), st.integers(0, 49))
def test_rows_that_changed_places_are_found(one, other):
    rows = list(WHOLE)
    first, second = rows[one], rows[other]
    rows[one] = changed(second, "seq", one + 1)
    rows[other] = changed(first, "seq", other + 1)
    told = breaks(rows)
    if one == other:
        assert told == []
    else:
        assert f"row {one + 1}: does not match its own hash; it was changed" in told
        assert f"row {other + 1}: does not match its own hash; it was changed" in told


def test_missing_rows_are_told_as_a_range():
    assert breaks(WHOLE[:3] + WHOLE[10:]) == ["rows 4 to 10: missing"]


def test_an_inserted_row_is_found():
    inserted = seal(Row("intent"), tip_of(WHOLE[9]))
    assert breaks([*WHOLE[:10], inserted, *WHOLE[10:]])


def test_many_breaks_are_counted_but_not_all_told():
    rows = [changed(row, "reason", "x") for row in WHOLE]
    check = checked(rows)
    assert (check.broken, len(check.breaks)) == (50, MAX_LISTED_BREAKS)


class TestAnAnchor:
    def test_finds_rows_cut_off_at_the_end(self):
        anchor = tip_of(WHOLE[-1])
        assert breaks(WHOLE[:40]) == []
        assert breaks(WHOLE[:40], anchor=anchor) == [
            "row 41: missing; the anchor names row 50, the last row is 40"
        ]
        assert breaks([], anchor=anchor) == [
            "row 1: missing; the anchor names row 50, the last row is 0"
        ]

    def test_finds_a_chain_that_was_written_anew(self):
        forged = []
        tip = START
        for row in WHOLE:
            forged.append(seal(Row("event", signal_id="forged"), tip))
            tip = tip_of(forged[-1])
            assert row[0] == tip.seq
        assert breaks(forged) == []
        assert breaks(forged, anchor=tip_of(WHOLE[20])) == [
            "row 21: is not the row the anchor names; it was replaced"
        ]

    @pytest.mark.parametrize("place", [0, 20, 49])
    def test_agrees_with_a_whole_chain_that_grew(self, place):
        assert breaks(WHOLE, anchor=tip_of(WHOLE[place])) == []

    def test_older_than_what_is_kept_cannot_be_confirmed(self):
        pruned = tip_of(WHOLE[9])
        assert breaks(WHOLE[10:], pruned, anchor=tip_of(WHOLE[4])) == [
            "row 5: was deleted; give an anchor that is not so old, or if it is not, rows were "
            "taken away"
        ]
        assert breaks(WHOLE[10:], pruned, anchor=pruned) == []


class TestAPrunedChain:
    PRUNED = tip_of(WHOLE[9])

    def test_begins_after_the_last_row_pruned(self):
        assert breaks(WHOLE[10:], self.PRUNED) == []

    def test_may_still_hold_rows_whose_deletion_was_interrupted(self):
        assert breaks(WHOLE[5:], self.PRUNED) == []
        assert breaks(WHOLE, self.PRUNED) == []

    def test_must_have_said_so(self):
        assert breaks(WHOLE[10:]) == ["rows 1 to 10: missing"]
        assert breaks(WHOLE[12:], self.PRUNED) == ["rows 11 to 12: missing"]

    def test_must_be_the_one_that_was_pruned(self):
        other = Tip(10, "a" * 64)
        assert breaks(WHOLE[10:], other) == ["row 11: does not follow row 10 as it was pruned"]
        assert breaks(WHOLE[5:], other) == [
            "row 10: is not the row that was pruned; it was replaced"
        ]


class TestATip:
    def test_is_read_as_it_is_written(self):
        for tip in (START, tip_of(WHOLE[7])):
            assert parse_tip(str(tip)) == tip

    @given(st.text(max_size=90))
    def test_is_nothing_else(self, text):
        tip = parse_tip(text)
        assert tip is None or str(tip).lstrip("0") == text.strip().lstrip("0")

    def test_of_another_form_is_none(self):
        for text in ["", "5", "5:", "x:" + "0" * 64, "5:" + "0" * 63, "-1:0"]:
            assert parse_tip(text) is None


def test_every_hash_of_a_chain_is_its_own():
    hashes = [row[-1] for row in WHOLE]
    assert len(set(hashes)) == len(hashes)
    assert all(row[-2] == before[-1] for before, row in itertools.pairwise(WHOLE))
