"""What a detector says is held against what is possible; one impossible number spoils it all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mask_gate.gate.detector.answer import refuse_nonsense
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections

SIZE_HW = (48, 64)
odd = st.sampled_from([np.nan, np.inf, -np.inf, -0.001, 1.001, 1e30, -1e30])


def faces(count):
    return Detections(
        np.array([[0, 0, 64, 48]] * count, np.float32).reshape(-1, 4),
        np.linspace(0, 1, count, dtype=np.float32),
        np.arange(count) % 3,
        np.linspace(1, 0, count, dtype=np.float32),
    )


@pytest.mark.parametrize("count", [0, 1, 5])
def test_numbers_up_to_the_very_edge_pass(count):
    refuse_nonsense(faces(count), SIZE_HW)


@given(name=st.sampled_from(["scores", "margins"]), row=st.integers(0, 4), value=odd)
def test_one_score_or_margin_that_is_none_is_refused(name, row, value):
    found = faces(5)
    getattr(found, name)[row] = value
    with pytest.raises(ModelError, match=f"a {name[:-1]} outside 0..1"):
        refuse_nonsense(found, SIZE_HW)


@given(
    row=st.integers(0, 4),
    column=st.integers(0, 3),
    value=st.sampled_from([np.nan, np.inf, -np.inf, -0.01, 64.01, 1e30]),
)
def test_one_corner_that_is_none_is_refused(row, column, value):
    found = faces(5)
    found.boxes_xyxy[row, column] = value
    with pytest.raises(ModelError, match="the model gave a box"):
        refuse_nonsense(found, SIZE_HW)


@given(row=st.integers(0, 4), value=st.one_of(st.integers(-(2**62), -1), st.integers(3, 2**62)))
def test_one_class_that_is_none_is_refused(row, value):
    found = faces(5)
    found.labels[row] = value
    with pytest.raises(ModelError, match=r"a class outside 0\.\.2"):
        refuse_nonsense(found, SIZE_HW)


@given(npst.arrays(np.float32, (3, 4), elements=st.floats(width=32)))
def test_what_passes_is_a_box_with_area_inside_the_picture(boxes_xyxy):
    found = faces(3)
    found.boxes_xyxy[:] = boxes_xyxy
    try:
        refuse_nonsense(found, SIZE_HW)
    except ModelError:
        return
    for x1, y1, x2, y2 in boxes_xyxy.tolist():
        assert 0 <= x1 < x2 <= 64
        assert 0 <= y1 < y2 <= 48
