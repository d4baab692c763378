"""Orders of guards: what comes through the pipe is one, or is refused as a whole."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.guard_order import MOST_ORDER_BYTES, GuardAct, order_of

RIGHT = {
    "id": "0123456789abcdef" * 2,
    "door": 0,
    "act": "let_in_once",
    "name": "kim",
    "why": "parcel",
    "asked_s": 12.5,
}


def order(**changes):
    return order_of(json.dumps(RIGHT | changes).encode())


def test_one_that_is_right_is_read():
    found = order()
    assert (found.act, found.door, found.word.name) == (GuardAct.LET_IN_ONCE, 0, "kim")


def test_the_longest_one_there_is_fits():
    why = "\U0001f6aa" * 120
    assert order(name="가" * 40, why=why).why == why


@pytest.mark.parametrize(
    "changes",
    [{"id": "0" * 31}, {"id": "G" * 32}, {"id": 7}, {"door": -1}, {"door": "0"}, {"door": 0.5},
     {"door": True}, {"door": 10**9}, {"act": "open"}, {"act": None}, {"name": ""},
     {"name": "k" * 41}, {"name": "k\nim"}, {"why": ""}, {"why": " "}, {"why": "x" * 121},
     {"why": "a\x00b"}, {"why": "a\u202eb"}, {"why": ["x"]}, {"asked_s": -1.0},
     {"asked_s": float("nan")}, {"asked_s": float("inf")}, {"asked_s": "1"}, {"more": 1}],
)  # fmt: skip
def test_one_that_is_wrong_in_one_thing_is_none(changes):
    assert order(**changes) is None


@pytest.mark.parametrize("key", RIGHT)
def test_one_that_lacks_something_is_none(key):
    assert order_of(json.dumps({k: v for k, v in RIGHT.items() if k != key}).encode()) is None


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 2000, b"null", b"\xff", b" " * 9999])
def test_what_is_no_order_is_none(text):
    assert order_of(text) is None


def test_one_that_is_too_long_is_not_even_read():
    padded = json.dumps(RIGHT).encode() + b" " * MOST_ORDER_BYTES
    assert order_of(padded) is None


@given(text=st.binary(max_size=200))
def test_anything_is_none(text):
    assert order_of(text) is None
