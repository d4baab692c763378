"""The report's lenient rules, each leniency shown beside what the strict protocol says."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.models.boxes import pairwise_iou_xyxy
from mask_gate.training.evaluation.metrics import evaluate_strict
from mask_gate.training.evaluation.report_protocol import (
    MAXIMA_MIN_OBJECTNESS,
    NOT_STANDARD,
    LenientMatches,
    lenient_iou_xyxy,
    merge_nms,
)

LEFT, RIGHT, FAR = (10, 10, 50, 50), (200, 10, 240, 50), (300, 300, 340, 340)


def lenient_ap50(results, min_objectness=MAXIMA_MIN_OBJECTNESS):
    """The report's figure of each class."""
    matches = LenientMatches.of(results, min_objectness)
    return matches.scores(np.ones((len(matches.names), 1))).lenient_ap50[:, 0]


def test_it_says_that_it_is_no_standard_metric():
    assert "not a standard metric" in NOT_STANDARD


def test_two_faces_with_swapped_labels_score_one_here_and_zero_there(make_result):
    result = make_result(
        [(0, LEFT), (1, RIGHT)], [(1, 0.9, LEFT), (0, 0.9, RIGHT)], objectness=[0.9, 0.9]
    )
    np.testing.assert_array_equal(lenient_ap50([result]), [1, 1, np.nan])
    assert evaluate_strict([result]).map50 == 0


def test_a_class_that_occurs_nowhere_in_the_image_is_wrong_even_here(make_result):
    result = make_result([(0, LEFT)], [(1, 0.9, LEFT)], objectness=[0.9])
    elsewhere = make_result([(1, LEFT)], [], "b", objectness=[])
    assert lenient_ap50([result, elsewhere]).tolist()[:2] == [0, 0]


def test_a_class_can_exceed_one_by_claiming_the_faces_of_others(make_result):
    result = make_result(
        [(0, LEFT), (1, RIGHT)], [(0, 0.9, LEFT), (0, 0.8, RIGHT)], objectness=[0.9, 0.9]
    )
    np.testing.assert_array_equal(lenient_ap50([result]), [2, 0, np.nan])


def test_the_curve_is_ranked_by_objectness_alone(make_result):
    """A sure class does not help: the invention has the higher objectness and comes first."""
    result = make_result([(0, LEFT)], [(0, 0.9, LEFT), (0, 0.3, FAR)], objectness=[0.91, 0.95])
    assert lenient_ap50([result])[0] == 0.5
    assert evaluate_strict([result]).scores.ap50[0] == 1


@pytest.mark.parametrize(("min_objectness", "ap"), [(0.5, 0), (MAXIMA_MIN_OBJECTNESS, 1)])
def test_the_log_and_the_maxima_cut_at_different_objectness(make_result, min_objectness, ap):
    result = make_result([(0, LEFT)], [(0, 0.3, LEFT)], objectness=[0.4])
    assert lenient_ap50([result], min_objectness)[0] == ap


def test_a_box_may_not_fall_back_on_its_second_nearest_face(make_result):
    """The nearest face is taken already, so the box is wrong although the other face is free."""
    near = (12, 10, 52, 50)
    result = make_result(
        [(0, LEFT), (0, near)], [(0, 0.9, LEFT), (0, 0.8, LEFT)], objectness=[0.9, 0.8]
    )
    assert lenient_ap50([result])[0] == 0.5


def test_a_pixel_more_on_each_side_turns_close_into_a_hit(make_result):
    face, beside = (0, 0, 10, 10), (3.5, 0, 13.5, 10)
    strict = pairwise_iou_xyxy(np.array([face], float), np.array([beside], float))[0, 0]
    lenient = lenient_iou_xyxy(np.array([face], float), np.array([beside], float))[0, 0]
    assert strict == pytest.approx(0.481, abs=5e-4)
    assert lenient == pytest.approx(0.517, abs=5e-4)
    result = make_result([(0, face)], [(0, 0.9, beside)], objectness=[0.9])
    assert lenient_ap50([result])[0] == 1
    assert evaluate_strict([result]).map50 == 0


def test_that_pixel_is_one_of_the_letterboxed_input(make_result):
    """The same scene photographed four times as large: at 416 it is as close as it was."""
    face, beside = (0, 0, 40, 40), (14, 0, 54, 40)
    result = make_result([(0, face)], [(0, 0.9, beside)], objectness=[0.9], size_hw=(1664, 1664))
    assert lenient_ap50([result])[0] == 1
    as_it_comes = replace(result, size_hw=(416, 416))
    assert lenient_ap50([as_it_comes])[0] == 0


def test_objectness_is_needed(make_result):
    with pytest.raises(ValueError, match="ranks by objectness"):
        lenient_ap50([make_result([(0, LEFT)], [(0, 0.9, LEFT)])])


def test_no_images_no_figures():
    assert np.isnan(lenient_ap50([])).all()


def test_nobody_and_nothing(make_result):
    results = [make_result(objectness=[]), make_result([(0, LEFT)], [], "b", objectness=[])]
    np.testing.assert_array_equal(lenient_ap50(results), [0, np.nan, np.nan])


def test_order_of_images_changes_nothing(random_results):
    results = random_results(1, tied=True)
    forward = LenientMatches.of(results, 0.001).scores(np.ones((len(results), 1)))
    backward = LenientMatches.of(results[::-1], 0.001).scores(np.ones((len(results), 1)))
    np.testing.assert_array_equal(forward.lenient_ap50, backward.lenient_ap50)


# Merging


def merge(boxes, objectness, labels, **options):
    """`merge_nms` with class scores of 0.8 for the label and 0.1 for each other class."""
    class_scores = np.full((len(labels), 3), 0.1)
    class_scores[np.arange(len(labels)), labels] = 0.8
    return merge_nms(
        np.array(boxes, float).reshape(-1, 4), np.array(objectness, float), class_scores, **options
    )


def test_merging_nothing_gives_nothing():
    detections, objectness = merge([], [], np.zeros(0, int))
    assert len(detections) == len(objectness) == 0


def test_overlapping_boxes_of_a_class_become_their_mean_weighted_by_objectness():
    detections, objectness = merge([(0, 0, 40, 40), (4, 0, 44, 40)], [0.9, 0.3], [1, 1])
    np.testing.assert_allclose(detections.boxes_xyxy, [[1, 0, 41, 40]], rtol=1e-6)
    np.testing.assert_allclose(objectness, [0.9], rtol=1e-6)
    np.testing.assert_allclose(detections.scores, [0.72], rtol=1e-6)
    np.testing.assert_allclose(detections.margins, [0.63], rtol=1e-6)
    assert detections.labels.tolist() == [1]


@pytest.mark.parametrize(("second", "label"), [((0, 0, 40, 40), 2), ((30, 0, 70, 40), 1), (FAR, 1)])
def test_boxes_of_another_class_or_place_stay(second, label):
    detections, _ = merge([(0, 0, 40, 40), second], [0.9, 0.3], [1, label])
    np.testing.assert_allclose(detections.boxes_xyxy, [(0, 0, 40, 40), second])


def test_weak_boxes_are_dropped_before_they_can_pull():
    detections, _ = merge([(0, 0, 40, 40), (4, 0, 44, 40)], [0.9, 0.3], [1, 1], min_objectness=0.5)
    np.testing.assert_allclose(detections.boxes_xyxy, [(0, 0, 40, 40)])


def test_the_strongest_leads_by_objectness_times_class():
    """A box with less objectness but a surer class keeps its own score for the merged one."""
    detections, objectness = merge_nms(
        np.array([(0, 0, 40, 40), (0, 0, 40, 40)], float),
        np.array([0.9, 0.8]),
        np.array([[0.5, 0.1, 0.1], [0.9, 0.1, 0.1]]),
    )
    np.testing.assert_allclose(detections.scores, [0.72], rtol=1e-6)
    np.testing.assert_allclose(objectness, [0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", ["box", "objectness", "class"])
def test_infinite_box_is_dropped(bad, place):
    boxes = np.array([LEFT, RIGHT], float)
    objectness, class_scores = np.array([0.9, 0.8]), np.full((2, 3), 0.3)
    {"box": boxes[0], "objectness": objectness[:1], "class": class_scores[0]}[place][0] = bad
    detections, kept = merge_nms(boxes, objectness, class_scores)
    np.testing.assert_allclose(detections.boxes_xyxy, [RIGHT])
    np.testing.assert_allclose(kept, [0.8], rtol=1e-6)


def test_boxes_without_any_objectness_stay_where_they_are():
    detections, _ = merge([LEFT, LEFT], [0.0, 0.0], [0, 0], min_objectness=0.0)
    np.testing.assert_allclose(detections.boxes_xyxy, [LEFT])


def test_boxes_turned_inside_out_end_the_merging_all_the_same():
    detections, _ = merge([(50, 50, 10, 10), (50, 50, 10, 10)], [0.9, 0.8], [0, 0])
    assert 1 <= len(detections) <= 2


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**31), st.integers(0, 30))
def test_merging_invents_no_class_and_no_place(seed, count):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 60, (count, 2))
    boxes = np.hstack([corner, corner + rng.uniform(5, 50, (count, 2))])
    objectness, class_scores = rng.uniform(0.01, 1, count), rng.random((count, 3))
    detections, kept = merge_nms(boxes, objectness, class_scores)
    assert len(kept) == len(detections) <= count
    assert np.all(np.diff(detections.scores) <= 0)
    assert {*detections.labels.tolist()} == {*class_scores.argmax(axis=1).tolist()}
    if count:
        assert detections.boxes_xyxy.min() >= boxes.min() - 1e-3
        assert detections.boxes_xyxy.max() <= boxes.max() + 1e-3


@settings(max_examples=100)
@given(st.integers(0, 2**31), st.integers(0, 60), st.sampled_from([0.3, 0.5, 0.9]))
def test_merging_misses_no_box_that_could_be_swallowed(seed, count, iou):
    rng = np.random.default_rng(seed)
    corner, sides = rng.uniform(-20, 40, (count, 2)), rng.uniform(-2, 40, (count, 2))
    boxes = np.hstack([corner, corner + sides])
    objectness = np.sort(rng.uniform(0.01, 1, count))[::-1]
    labels = rng.integers(0, 3, count)
    overlap = lenient_iou_xyxy(boxes, boxes) > iou
    left, expected = list(range(count)), []
    while left:  # every box against every other
        best = left[0]
        swallowed = overlap[best] & (labels == labels[best])
        group = [n for n in left if n == best or swallowed[n]]
        expected.append(np.average(boxes[group], axis=0, weights=objectness[group]))
        left = [n for n in left if n not in group]
    detections, _ = merge(boxes, objectness, labels, iou=iou)
    np.testing.assert_allclose(
        detections.boxes_xyxy, np.reshape(expected, (-1, 4)), rtol=1e-5, atol=1e-4
    )
