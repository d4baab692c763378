"""The chart: well-formed, true to its numbers, readable, and told apart without colour."""

import itertools
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.console.chart import NARROWEST_PX, WIDEST_PX, Bar, draw_chart
from mask_gate.gate.display.texts import language_codes, load_texts
from mask_gate.models.labels import CLASS_NAMES

TEXTS = load_texts("en")
SVG = "{http://www.w3.org/2000/svg}"
FIRST, SECOND, _ = CLASS_NAMES


def chart(*bars, texts=TEXTS, width_px=720):
    return ElementTree.fromstring(draw_chart(bars, "People seen", texts, width_px))


def bar(label, **people):
    return Bar(label, {name: people.get(name, 0) for name in CLASS_NAMES})


def boxes(root):
    return [box for box in root.iter(f"{SVG}rect") if box.find(f"{SVG}title") is not None]


@pytest.mark.parametrize("code", language_codes())
@pytest.mark.parametrize("count", [0, 1, 24])
def test_nobody_is_an_empty_chart(code, count):
    assert boxes(chart(*[bar("x")] * count, texts=load_texts(code))) == []


def test_bars_are_as_high_as_their_numbers_and_stand_on_one_another():
    drawn = boxes(chart(bar("08:00", **{FIRST: 10, SECOND: 5}), bar("09:00", **{FIRST: 5})))
    heights = {box.find(f"{SVG}title").text: float(box.get("height")) for box in drawn}
    assert heights["08:00 Mask 10"] == pytest.approx(2 * heights["09:00 Mask 5"], abs=0.2)
    tops = [float(box.get("y")) for box in drawn]
    assert tops[1] == pytest.approx(tops[0] - heights["08:00 No mask 5"], abs=0.2)


def test_each_class_has_a_pattern_of_its_own():
    lines = {p.find(f"{SVG}path").get("d") for p in chart().iter(f"{SVG}pattern")}
    assert len(lines) == len(CLASS_NAMES)


@pytest.mark.parametrize("count", [7, 12, 24, 28])
@pytest.mark.parametrize("width_px", [NARROWEST_PX, 350, 720, WIDEST_PX])
def test_what_is_written_below_the_bars_has_room_at_every_width(count, width_px):
    root = chart(*[bar(f"{n:02}:00") for n in range(count)], width_px=width_px)
    assert root.get("viewBox").startswith(f"0 0 {width_px} ")
    below = [float(t.get("x")) for t in root.iter(f"{SVG}text") if (t.text or "").endswith(":00")]
    assert below
    assert all(b - a >= 40 for a, b in itertools.pairwise(below))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.integers(280, 1400))
def test_no_bar_leaves_the_sheet(counts, width_px):
    for box in boxes(chart(*[bar("x", **{FIRST: n}) for n in counts], width_px=width_px)):
        assert float(box.get("y")) >= 0
        assert float(box.get("x")) + float(box.get("width")) <= width_px
