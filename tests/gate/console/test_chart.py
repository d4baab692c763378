"""The chart: well-formed, true to its numbers, and told apart without colour."""

import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.console.chart import draw_chart
from mask_gate.gate.display.texts import language_codes, load_texts
from mask_gate.models.labels import CLASS_NAMES

TEXTS = load_texts("en")
SVG = "{http://www.w3.org/2000/svg}"


def bars(text):
    root = ElementTree.fromstring(text)
    return [bar for bar in root.iter(f"{SVG}rect") if bar.find(f"{SVG}title") is not None]


def day(**hours):
    return {name: [hours.get(name, {}).get(hour, 0) for hour in range(24)] for name in CLASS_NAMES}


@pytest.mark.parametrize("code", language_codes())
def test_a_day_with_nobody_is_an_empty_chart(code):
    assert bars(draw_chart(day(), load_texts(code))) == []


def test_bars_are_as_high_as_their_numbers_and_stand_on_one_another():
    first, second, _ = CLASS_NAMES
    drawn = bars(draw_chart(day(**{first: {8: 10, 9: 5}, second: {8: 5}}), TEXTS))
    heights = {bar.find(f"{SVG}title").text: float(bar.get("height")) for bar in drawn}
    assert heights["08:00 Mask 10"] == pytest.approx(2 * heights["09:00 Mask 5"], abs=0.2)
    tops = [float(bar.get("y")) for bar in drawn]
    assert tops[1] == pytest.approx(tops[0] - heights["08:00 No mask 5"], abs=0.2)


def test_each_class_has_a_pattern_of_its_own():
    root = ElementTree.fromstring(draw_chart(day(), TEXTS))
    lines = {pattern.find(f"{SVG}path").get("d") for pattern in root.iter(f"{SVG}pattern")}
    assert len(lines) == len(CLASS_NAMES)


@given(st.lists(st.integers(0, 10**6), min_size=24, max_size=24))
def test_no_bar_leaves_the_sheet(counts):
    for bar in bars(draw_chart({**day(), CLASS_NAMES[0]: counts}, TEXTS)):
        assert float(bar.get("y")) >= 0
