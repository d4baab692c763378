"""Suppression: one face one label, finite boxes only, bounded work."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.models.boxes import pairwise_iou_xyxy
from mask_gate.models.nms import suppress


def row(x1, y1, x2, y2, objectness=0.9, classes=(0.9, 0.05, 0.05)):
    return [x1, y1, x2, y2, objectness, *classes]


def rows(*given_rows):
    return np.array(given_rows, np.float32).reshape(-1, 8)


def test_nothing_in_nothing_out():
    assert len(suppress(rows(), 0.3)) == 0


def test_one_box_stays_one():
    found = suppress(rows(row(0, 0, 10, 10)), 0.3)
    assert len(found) == 1
    np.testing.assert_allclose(found.scores, [0.81], rtol=1e-6)
    np.testing.assert_allclose(found.margins, [0.9 * 0.85], rtol=1e-6)


def test_the_better_of_two_overlapping_boxes_stays():
    found = suppress(rows(row(0, 0, 10, 10, 0.5), row(1, 0, 11, 10, 0.9)), 0.3)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes_xyxy, [[1, 0, 11, 10]])


def test_boxes_apart_both_stay_best_first():
    found = suppress(rows(row(0, 0, 10, 10, 0.5), row(50, 0, 60, 10, 0.9)), 0.3)
    np.testing.assert_allclose(found.scores, [0.81, 0.45], rtol=1e-6)


def test_one_face_one_label():
    """Two classes claimed for one face: the gate hears the better one only."""
    two = rows(row(0, 0, 10, 10, 0.9, (0.8, 0.1, 0.1)), row(0, 0, 10, 10, 0.9, (0.1, 0.7, 0.1)))
    found = suppress(two, 0.1)
    assert found.labels.tolist() == [0]


MASKED, BARE = (0.8, 0.1, 0.1), (0.1, 0.7, 0.1)


def test_a_face_and_its_head_are_one_face():
    head, face = row(0, 0, 100, 120, 0.3, MASKED), row(30, 50, 80, 110, 0.9, MASKED)
    for surer, other in ((face, head), (row(*head[:4], 1.0, MASKED), face)):
        found = suppress(rows(other, surer), 0.1)
        np.testing.assert_allclose(found.boxes_xyxy, [surer[:4]])
    assert len(suppress(rows(head, face), 0.1, one_label=False)) > 1


def test_a_face_within_a_head_that_says_something_else_is_heard():
    head, face = row(0, 0, 100, 120, 0.9, MASKED), row(30, 50, 80, 110, 0.3, BARE)
    assert suppress(rows(head, face), 0.1).labels.tolist() == [0, 1]


@pytest.mark.parametrize("doubtful", [(20, 30, 120, 140), (0, 45, 100, 165)])
def test_two_boxes_askew_on_one_face_are_one_where_they_say_the_same(doubtful):
    """As on a half covered face, where now the one and now the other is surer."""
    sure = row(0, 0, 100, 120, 0.9, MASKED)
    same, other = (row(*doubtful, 0.3, said) for said in (MASKED, BARE))
    assert pairwise_iou_xyxy(rows(sure)[:, :4], rows(same)[:, :4])[0, 0] < 0.5
    assert suppress(rows(same, sure), 0.1).boxes_xyxy.tolist() == [[0, 0, 100, 120]]
    assert suppress(rows(other, sure), 0.1).labels.tolist() == [0, 1]


def test_faces_side_by_side_are_two_though_their_boxes_touch():
    near, far = row(0, 0, 100, 120, 0.9, MASKED), row(80, 20, 120, 70, 0.5, MASKED)
    assert len(suppress(rows(near, far), 0.1)) == 2


def test_benchmarks_may_hear_every_class():
    both = rows(row(0, 0, 10, 10, 1.0, (0.8, 0.6, 0.1)))
    found = suppress(both, 0.3, one_label=False)
    assert found.labels.tolist() == [0, 1]


def test_infinite_box_is_dropped():
    found = suppress(rows(row(0, 0, np.inf, 10), row(0, 0, 10, 10)), 0.3)
    assert len(found) == 1
    assert np.isfinite(found.boxes_xyxy).all()


def test_nan_and_inside_out_boxes_are_dropped():
    bad = rows(row(np.nan, 0, 1, 1), row(5, 5, 2, 2), row(0, 0, 5, 5, np.nan), row(3, 3, 3, 9))
    assert len(suppress(bad, 0.0)) == 0


def test_the_threshold_is_on_objectness_times_class():
    assert len(suppress(rows(row(0, 0, 10, 10, 0.9, (0.05, 0.04, 0.03))), 0.3)) == 0


def test_input_is_not_changed():
    given_rows = rows(row(0, 0, 10, 10), row(1, 0, 11, 10))
    before = given_rows.copy()
    suppress(given_rows, 0.3)
    np.testing.assert_array_equal(given_rows, before)


def test_never_more_than_the_maximum():
    many = rows(*(row(20 * i, 0, 20 * i + 10, 10) for i in range(50)))
    assert len(suppress(many, 0.3, max_detections=7)) == 7


def reference(predictions, threshold, iou):
    """Suppression as the textbook writes it."""
    scores = predictions[:, 4] * predictions[:, 5:].max(1)
    order = [i for i in np.argsort(-scores, kind="stable") if scores[i] >= threshold]
    kept = []
    for i in order:
        overlaps = [
            pairwise_iou_xyxy(predictions[i : i + 1, :4], predictions[j : j + 1, :4])[0, 0]
            for j in kept
        ]
        if all(o <= iou for o in overlaps):
            kept.append(i)
    heads = []
    for i in kept:
        same = [j for j in heads if predictions[j, 5:].argmax() == predictions[i, 5:].argmax()]
        if not any(is_double(predictions[i], predictions[j]) for j in same):
            heads.append(i)
    return predictions[heads, :4]


def is_double(one, other):
    iou = pairwise_iou_xyxy(one[None, :4], other[None, :4])[0, 0]
    return part_shared(one, other) >= 0.6 or iou >= 0.4


def part_shared(one, other):
    """Of the smaller box, in the larger."""
    width, height = (np.minimum(one[2:4], other[2:4]) - np.maximum(one[:2], other[:2])).clip(0)
    return width * height / min((box[2:4] - box[:2]).prod() for box in (one, other))


@given(st.integers(0, 30), st.integers(0, 10_000))
def test_equals_the_textbook(count, seed):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.hstack([corner, corner + rng.uniform(1, 40, (count, 2))])
    predictions = np.hstack([boxes, rng.random((count, 4))]).astype(np.float32)
    found = suppress(predictions, 0.2, 0.5)
    np.testing.assert_allclose(found.boxes_xyxy, reference(predictions, 0.2, 0.5))
