"""Detections: parallel arrays that cannot disagree, and numbers that a detector can give."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from mask_gate.models.detections import Detections, DetectionsError, TooManyFacesError

SIZE_HW, MAX_FACES = (48, 64), 5
odd = st.sampled_from([np.nan, np.inf, -np.inf, -0.001, 1.001, 1e30, -1e30])


def some(count: int) -> Detections:
    return Detections(
        np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        np.linspace(0.9, 0.1, count, dtype=np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, np.float32),
    )


def test_none_is_ordinary():
    assert len(Detections.empty()) == 0
    assert len(Detections.empty()[:5]) == 0


@pytest.mark.parametrize("index", [slice(0, 2), np.array([True, True, False]), np.array([0, 1])])
def test_rows_are_chosen_together(index):
    chosen = some(3)[index]
    assert len(chosen) == 2
    np.testing.assert_array_equal(chosen.boxes_xyxy, some(3).boxes_xyxy[:2])
    np.testing.assert_array_equal(chosen.scores, some(3).scores[:2])


@pytest.mark.parametrize("name", ["scores", "labels", "margins"])
def test_a_column_of_another_length_is_refused_with_both_shapes(name):
    columns = {n: getattr(some(3), n) for n in ("boxes_xyxy", "scores", "labels", "margins")}
    columns[name] = columns[name][:2]
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(3,\).*got \(2,\)"):
        Detections(**columns)


def test_boxes_need_four_columns():
    nothing = np.zeros(0, np.float32)
    with pytest.raises(ValueError, match=r"boxes_xyxy: expected shape \(N, 4\), got \(0, 5\)"):
        Detections(np.zeros((0, 5), np.float32), nothing, np.zeros(0, np.int64), nothing)


def faces(count):
    return Detections(
        np.array([[0, 0, 64, 48]] * count, np.float32).reshape(-1, 4),
        np.linspace(0, 1, count, dtype=np.float32),
        np.arange(count) % 3,
        np.linspace(1, 0, count, dtype=np.float32),
    )


@pytest.mark.parametrize("count", [0, 1, 5])
def test_numbers_up_to_the_very_edge_pass(count):
    faces(count).check(SIZE_HW, MAX_FACES)


@given(name=st.sampled_from(["scores", "margins"]), row=st.integers(0, 4), value=odd)
def test_one_score_or_margin_that_is_none_is_refused(name, row, value):
    found = faces(5)
    getattr(found, name)[row] = value
    with pytest.raises(DetectionsError, match=f"a {name[:-1]} outside 0..1"):
        found.check(SIZE_HW, MAX_FACES)


@given(
    row=st.integers(0, 4),
    column=st.integers(0, 3),
    value=st.sampled_from([np.nan, np.inf, -np.inf, -0.01, 64.01, 1e30]),
)
def test_one_corner_that_is_none_is_refused(row, column, value):
    found = faces(5)
    found.boxes_xyxy[row, column] = value
    with pytest.raises(DetectionsError, match="the model gave a box"):
        found.check(SIZE_HW, MAX_FACES)


@given(row=st.integers(0, 4), value=st.one_of(st.integers(-(2**62), -1), st.integers(3, 2**62)))
def test_one_class_that_is_none_is_refused(row, value):
    found = faces(5)
    found.labels[row] = value
    with pytest.raises(DetectionsError, match=r"a class outside 0\.\.2"):
        found.check(SIZE_HW, MAX_FACES)


@given(npst.arrays(np.float32, (3, 4), elements=st.floats(width=32)))
def test_what_passes_is_a_box_with_area_inside_the_picture(boxes_xyxy):
    found = faces(3)
    found.boxes_xyxy[:] = boxes_xyxy
    try:
        found.check(SIZE_HW, MAX_FACES)
    except DetectionsError:
        return
    for x1, y1, x2, y2 in boxes_xyxy.tolist():
        assert 0 <= x1 < x2 <= 64
        assert 0 <= y1 < y2 <= 48


def test_too_many_faces_are_told_from_numbers_that_are_wrong():
    with pytest.raises(TooManyFacesError, match="6 faces, expected at most 5"):
        faces(6).check(SIZE_HW, MAX_FACES)
    wrong = faces(6)
    wrong.scores[0] = 2
    with pytest.raises(DetectionsError, match="score outside") as caught:
        wrong.check(SIZE_HW, MAX_FACES)
    assert not isinstance(caught.value, TooManyFacesError)


def test_without_a_size_a_box_may_lie_anywhere():
    found = faces(1)
    found.boxes_xyxy[0, 2] = 5000.0
    found.check(None, MAX_FACES)
    found.boxes_xyxy[0, 2] = np.inf
    with pytest.raises(DetectionsError, match="not finite"):
        found.check(None, MAX_FACES)
