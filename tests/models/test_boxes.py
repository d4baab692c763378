"""Box arithmetic: inverses are inverses, overlaps are what counting pixels would give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.models.boxes import (
    area_xyxy,
    pairwise_iou_xyxy,
    xyxy_to_cxcywh,
)

NOTHING = np.zeros((0, 4), np.float32)
corners = st.integers(0, 12)


@st.composite
def whole_boxes(draw):
    """Boxes [N, 4] of at least one pixel, on whole coordinates."""
    rows = draw(
        st.lists(st.tuples(corners, corners, st.integers(1, 8), st.integers(1, 8)), max_size=5)
    )
    return np.array([(x, y, x + w, y + h) for x, y, w, h in rows], np.float64).reshape(-1, 4)


def painted(box):
    canvas = np.zeros((24, 24), bool)
    x1, y1, x2, y2 = box.astype(int)
    canvas[y1:y2, x1:x2] = True
    return canvas


@settings(deadline=None, max_examples=50)
@given(whole_boxes(), whole_boxes())
def test_overlap_is_shared_pixels_over_covered_pixels(a, b):
    expected = [
        [(painted(p) & painted(q)).sum() / (painted(p) | painted(q)).sum() for q in b] for p in a
    ]
    np.testing.assert_allclose(
        pairwise_iou_xyxy(a, b), np.array(expected).reshape(len(a), len(b)), atol=1e-12
    )


@settings(deadline=None, max_examples=50)
@given(whole_boxes(), whole_boxes())
def test_overlap_does_not_depend_on_who_is_asked(a, b):
    np.testing.assert_array_equal(pairwise_iou_xyxy(a, b), pairwise_iou_xyxy(b, a).T)


@settings(deadline=None, max_examples=50)
@given(whole_boxes())
def test_a_box_overlaps_itself_wholly(boxes):
    np.testing.assert_array_equal(np.diag(pairwise_iou_xyxy(boxes, boxes)), np.ones(len(boxes)))


def test_no_pixel_is_added_to_any_side():
    """Two 10 px faces 3.5 px apart share 0.481; with a pixel more a side it would be 0.517."""
    faces = np.array([[0, 0, 10, 10], [3.5, 0, 13.5, 10]], np.float32)
    assert pairwise_iou_xyxy(faces[:1], faces[1:])[0, 0] == pytest.approx(6.5 / 13.5)


@pytest.mark.parametrize(
    "bad",
    [
        [np.nan, 0, 5, 5],
        [0, 0, np.inf, np.inf],
        [-np.inf, -np.inf, np.inf, np.inf],
        [5, 5, 5, 9],
        [9, 9, 2, 2],
        [3e38, 0, 3.4e38, 3e38],
    ],
)
def test_a_broken_box_overlaps_nothing(bad):
    boxes = np.array([bad, [0, 0, 5, 5]], np.float32)
    overlap = pairwise_iou_xyxy(boxes, boxes)
    if np.isfinite(bad).all() and bad[2] > bad[0]:
        overlap[0, 0] = 0.0  # huge but sound: it may overlap itself
    np.testing.assert_array_equal(overlap, [[0, 0], [0, 1]])


@pytest.mark.parametrize(("a", "b", "shape"), [(0, 0, (0, 0)), (0, 3, (0, 3)), (3, 0, (3, 0))])
def test_no_boxes_overlap_no_boxes(a, b, shape):
    boxes = np.ones((3, 4), np.float32)
    assert pairwise_iou_xyxy(boxes[:a], boxes[:b]).shape == shape


def test_area_is_width_times_height_and_never_negative():
    boxes = np.array([[0, 0, 3, 4], [2, 2, 2, 9], [5, 5, 1, 1]], np.float32)
    np.testing.assert_array_equal(area_xyxy(boxes), [12, 0, 0])


def test_centre_and_size_of_a_box():
    box = np.array([[2, 10, 6, 40]], np.float32)
    np.testing.assert_array_equal(xyxy_to_cxcywh(box), [[4, 25, 4, 30]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_boxes_stay_no_boxes_of_their_kind(dtype):
    changed = xyxy_to_cxcywh(NOTHING.astype(dtype))
    assert changed.shape == (0, 4)
    assert changed.dtype == dtype
