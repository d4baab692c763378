"""A head is read from landmarks: its frame, how far it is turned, what cloth spans."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.training.drawing.head import BRIDGE, CHIN, MIDDLE, Head


@settings(max_examples=25)
@given(
    yaw_deg=st.floats(-60, 60), unit=st.floats(20, 400), x=st.floats(-50, 600),
    y=st.floats(-50, 600),
)  # fmt: skip
def test_places_on_the_head_are_found_in_the_picture_again(face, yaw_deg, unit, x, y):
    points = face(yaw_deg, unit, (x, y))
    head = Head(points)
    in_picture = head.to_picture(head.local)
    assert np.allclose(in_picture, points * [1, 1, -1], atol=1e-2)
    assert np.allclose(head.local[BRIDGE], 0, atol=1e-4)
    assert head.local[CHIN, 1] == pytest.approx(1, abs=1e-4)


@settings(max_examples=25)
@given(yaw_deg=st.floats(-60, 60), unit=st.floats(20, 400))
def test_the_yaw_is_that_of_the_head_at_any_size(face, yaw_deg, unit):
    assert abs(Head(face(yaw_deg, unit)).yaw_deg) == pytest.approx(abs(yaw_deg), abs=0.1)
    assert Head(face(-yaw_deg, unit)).yaw_deg == pytest.approx(-Head(face(yaw_deg, unit)).yaw_deg)


@settings(max_examples=25)
@given(top=st.floats(-0.3, 0.9), length=st.floats(0.1, 0.6))
def test_cloth_lies_on_the_face_and_spans_its_hollows(face, top, length):
    head = Head(face())
    heights, depths = head.middle(top, top + length, 17)
    assert np.all(np.diff(heights) > 0)
    assert heights[[0, -1]] == pytest.approx([top, top + length])
    line = head.local[MIDDLE]
    inside = line[(line[:, 1] > top) & (line[:, 1] < top + length)]
    assert np.all(np.interp(inside[:, 1], heights, depths) >= inside[:, 2] - 0.02)
    slopes = np.diff(depths) / np.diff(heights)
    assert np.all(np.diff(slopes) < 0.05)


@pytest.mark.parametrize("side", [-1, 1])
def test_a_cheek_reaches_from_the_inner_ring_to_the_outline(face, side):
    head = Head(face())
    inner, outer = (head.cheek(0.5, outward, side, 0.92) for outward in (0, 1))
    assert side * outer[0] > side * inner[0] > 0
    assert outer[2] < inner[2]
