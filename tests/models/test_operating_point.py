"""The operating point: what travels in a file comes back whole, or is refused in a sentence."""

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.operating_point import OperatingPoint, OperatingPointError
from mask_gate.models.rate import Rate

NUMBERS = ("min_margin", "face_score", "min_face")
SCORES = [("classes", name, "min_score") for name in CLASS_NAMES]
WRONG = [math.nan, math.inf, -math.inf, -0.1, 1.1, None, "0.5", True, [0.5]]


def changed(point, path, value):
    """Its plain values, one of them another."""
    values = copy.deepcopy(point.to_plain())
    *above, last = path
    place = values
    for part in above:
        place = place[part]
    place[last] = value
    return values


def test_it_comes_back_from_a_file_as_it_was(operating_point):
    assert OperatingPoint.from_plain(operating_point.to_plain()) == operating_point
    told = json.loads(json.dumps(operating_point.to_plain()))
    assert OperatingPoint.from_plain(told) == operating_point


def test_a_model_may_bring_none():
    assert OperatingPoint.from_plain(None) is None


@pytest.mark.parametrize("path", [*[(name,) for name in NUMBERS], *SCORES], ids=".".join)
def test_a_number_that_cannot_be_is_refused_by_its_name(operating_point, path):
    for value in WRONG:
        with pytest.raises(OperatingPointError, match=r"operating_point\." + r"\.".join(path)):
            OperatingPoint.from_plain(changed(operating_point, path, value))


def test_a_missing_class_is_refused(operating_point):
    for name in CLASS_NAMES:
        values = copy.deepcopy(operating_point.to_plain())
        del values["classes"][name]
        with pytest.raises(OperatingPointError, match="classes: expected"):
            OperatingPoint.from_plain(values)


def test_a_fourth_class_is_refused(operating_point):
    values = copy.deepcopy(operating_point.to_plain())
    values["classes"]["hat"] = values["classes"]["with_mask"]
    with pytest.raises(OperatingPointError, match="classes: expected"):
        OperatingPoint.from_plain(values)


def test_each_missing_or_unknown_value_is_refused(operating_point):
    for name in operating_point.to_plain():
        values = {k: v for k, v in operating_point.to_plain().items() if k != name}
        with pytest.raises(OperatingPointError, match=f"operating_point.{name}"):
            OperatingPoint.from_plain(values)
    with pytest.raises(OperatingPointError, match=r"operating_point\.extra"):
        OperatingPoint.from_plain({**operating_point.to_plain(), "extra": 1})


@pytest.mark.parametrize("score", [0.51, 0.99])
def test_a_model_that_would_see_few_faces_is_refused(operating_point, score):
    with pytest.raises(OperatingPointError, match="face_score"):
        OperatingPoint.from_plain(changed(operating_point, ("face_score",), score))


def test_a_vote_is_never_less_than_a_face(operating_point):
    with pytest.raises(OperatingPointError, match="at least face_score"):
        OperatingPoint.from_plain(
            changed(operating_point, ("classes", "with_mask", "min_score"), 0.05)
        )


@pytest.mark.parametrize(
    "rate", [{"wrong": 2, "of": 1}, {"wrong": -1, "of": 1}, {"wrong": 0.5, "of": 1}, {"wrong": 0}]
)
def test_counts_that_cannot_be_are_refused(operating_point, rate):
    with pytest.raises(OperatingPointError, match="missed_faces"):
        OperatingPoint.from_plain(changed(operating_point, ("missed_faces",), rate))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=10,
)


@settings(deadline=None)
@given(values=anything.filter(lambda values: values is not None))
def test_nothing_else_is_taken_for_one(values):
    with pytest.raises(OperatingPointError):
        OperatingPoint.from_plain(values)


def test_a_rate_says_what_it_leaves_open():
    assert str(Rate(wrong=2, of=55)) == "2 of 55 (3.6%, 1.0 to 12.3)"
    assert Rate(wrong=0, of=0).bounds == (0.0, 1.0)
    assert math.isnan(Rate(wrong=0, of=0).value)
