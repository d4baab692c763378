"""The strict protocol: worked by hand where it is small, against pycocotools where it is not."""

import contextlib
import io
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from mask_gate.models.detections import Detections
from mask_gate.training.evaluation.average_precision import average_precision
from mask_gate.training.evaluation.coco import coco_results
from mask_gate.training.evaluation.metrics import (
    MAX_DETECTIONS_PER_IMAGE,
    SIZE_BINS,
    ImageResult,
    StrictMatches,
    evaluate_strict,
    size_bins,
)

LEFT, RIGHT, FAR = (10, 10, 50, 50), (200, 10, 240, 50), (300, 300, 340, 340)


@pytest.fixture(scope="session")
def pycocotools(coco_truths):
    def score(results, *, recall_points=101):
        """AP [T, C, A]: all sizes, then those of `SIZE_BINS`; nan where it says -1."""
        with contextlib.redirect_stdout(io.StringIO()):
            truths = COCO()
            truths.dataset = coco_truths(results)
            truths.createIndex()
            scoring = COCOeval(truths, truths.loadRes(coco_results(results)), "bbox")
            scoring.params.maxDets = [MAX_DETECTIONS_PER_IMAGE]
            scoring.params.recThrs = np.linspace(0, 1, recall_points)
            scoring.params.areaRng = [
                [0, 1e10],
                [0, 16**2 - 1e-9],
                [16**2, 32**2],
                [32**2 + 1e-9, 1e10],
            ]
            scoring.params.areaRngLbl = ["all", *SIZE_BINS]
            scoring.evaluate()
            scoring.accumulate()
        ap = scoring.eval["precision"][..., 0].mean(axis=1)
        return np.where(ap < 0, np.nan, ap)

    return score


# Worked by hand


def test_a_perfect_detector_scores_one_everywhere(make_result):
    boxes = [(0, LEFT), (1, RIGHT), (2, FAR)]
    report = evaluate_strict([make_result(boxes, [(label, 0.9, box) for label, box in boxes])])
    for figure in ("ap50", "ap50_101_point", "ap50_95", "ap50_95_101_point"):
        np.testing.assert_allclose(getattr(report.scores, figure), [1, 1, 1])
    assert report.map50 == pytest.approx(1)


def test_swapped_labels_score_zero(make_result):
    report = evaluate_strict(
        [make_result([(0, LEFT), (1, RIGHT)], [(1, 0.9, LEFT), (0, 0.9, RIGHT)])]
    )
    np.testing.assert_array_equal(report.scores.ap50, [0, 0, np.nan])
    assert report.map50 == 0


def test_area_under_the_envelope(make_result):
    """Hit, miss, hit over two faces: precision 1 to recall 1/2, then 2/3 to recall 1."""
    result = make_result([(0, LEFT), (0, RIGHT)], [(0, 0.9, LEFT), (0, 0.8, FAR), (0, 0.7, RIGHT)])
    report = evaluate_strict([result])
    assert report.scores.ap50[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert report.scores.ap50_101_point[0] == pytest.approx((51 * 1 + 50 * 2 / 3) / 101)


def test_a_face_can_be_found_only_once(make_result):
    twice = make_result([(0, LEFT), (0, RIGHT)], [(0, 0.9, LEFT), (0, 0.8, LEFT), (0, 0.7, RIGHT)])
    assert evaluate_strict([twice]).scores.ap50[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_every_iou_threshold_is_asked(make_result):
    """An overlap of exactly 0.6 is enough at 0.50, 0.55 and 0.60 of the ten thresholds."""
    result = make_result([(0, (0, 0, 100, 100))], [(0, 0.9, (0, 0, 100, 60))])
    assert evaluate_strict([result]).scores.ap50_95[0] == pytest.approx(0.3)


def test_close_is_not_a_hit(make_result):
    """10 px faces 3.5 px apart share 0.48: a pixel more on each side would make them one."""
    result = make_result([(0, (0, 0, 10, 10))], [(0, 0.9, (3.5, 0, 13.5, 10))])
    assert evaluate_strict([result]).scores.ap50[0] == 0


def test_a_class_without_faces_has_no_figure_and_no_say_in_the_mean(make_result):
    report = evaluate_strict([make_result([(0, LEFT)], [(0, 0.9, LEFT), (2, 0.9, FAR)])])
    np.testing.assert_array_equal(report.scores.ap50, [1, np.nan, np.nan])
    assert report.map50 == 1


@pytest.mark.parametrize("found", [[], [(0, 0.9, LEFT)]])
def test_without_faces_there_is_nothing_to_measure(make_result, found):
    assert np.isnan(evaluate_strict([make_result([], found)]).map50)


def test_no_images_at_all():
    report = evaluate_strict([])
    assert report.images == 0
    assert np.isnan(report.map50)
    assert report.truths.tolist() == [0, 0, 0]


def test_faces_without_detections_score_zero(make_result):
    assert evaluate_strict([make_result([(0, LEFT)])]).map50 == 0


def test_counts(make_result):
    report = evaluate_strict(
        [
            make_result([(0, LEFT), (1, (0, 0, 9, 9))], [(0, 0.9, LEFT)], "a"),
            make_result([(0, (0, 0, 20, 20))], [(2, 0.1, LEFT)], "b"),
        ]
    )
    assert report.images == 2
    assert report.truths.tolist() == [2, 1, 0]
    assert report.detections.tolist() == [1, 0, 1]
    assert report.truths_by_size.tolist() == [[0, 1, 0], [1, 0, 0], [1, 0, 0]]


def test_only_the_best_300_detections_of_an_image_count(make_result):
    crowd = [(1, 0.9, FAR)] * MAX_DETECTIONS_PER_IMAGE
    late = make_result([(0, LEFT)], [*crowd, (0, 0.5, LEFT)])
    in_time = make_result([(0, LEFT)], [*crowd[1:], (0, 0.5, LEFT)])
    assert evaluate_strict([late]).scores.ap50[0] == 0
    assert evaluate_strict([in_time]).scores.ap50[0] == 1


def test_each_image_counts_once(make_result):
    with pytest.raises(ValueError, match="'a' twice"):
        evaluate_strict([make_result(), make_result()])


@given(st.randoms(use_true_random=False))
@settings(max_examples=10, deadline=None)
def test_order_of_images_changes_nothing(random_results, shuffler):
    results = random_results(0, images=6, tied=True)
    shuffled = list(results)
    shuffler.shuffle(shuffled)
    expected, got = evaluate_strict(results).scores, evaluate_strict(shuffled).scores
    for name, values in expected.by_name().items():
        np.testing.assert_array_equal(got.by_name()[name], values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth_labels": np.array([0, 1])}, r"expected shape \(2, 4\)"),
        ({"truth_labels": np.array([3])}, r"labels in 0\.\.2"),
        ({"truth_boxes_xyxy": np.array([[0, 0, np.nan, 1.0]])}, "not finite"),
        ({"objectness": np.zeros(3)}, r"objectness: expected shape \(1,\)"),
        ({"objectness": np.array([np.nan])}, "not finite"),
        (
            {
                "detections": Detections(
                    np.array([[0, 0, np.inf, 1]], np.float32),
                    np.ones(1, np.float32),
                    np.zeros(1, np.int64),
                    np.ones(1, np.float32),
                )
            },
            "not finite",
        ),
    ],
)
def test_an_image_that_contradicts_itself_is_refused(make_result, change, message):
    result = make_result([(0, LEFT)], [(0, 0.9, LEFT)])
    with pytest.raises(ValueError, match=message):
        replace(result, **change)


# Sizes


@pytest.mark.parametrize(
    ("side", "size_hw", "expected"),
    [
        (15.9, (416, 416), "under_16"),
        (16, (416, 300), "16_to_32"),
        (32, (300, 416), "16_to_32"),
        (32.1, (416, 416), "over_32"),
        (31, (832, 600), "under_16"),
        (12, (100, 208), "16_to_32"),
    ],
)
def test_size_is_told_at_the_letterboxed_input(side, size_hw, expected):
    box = np.array([[5, 5, 5 + side, 5 + side]])
    assert SIZE_BINS[size_bins(box, size_hw)[0]] == expected


def test_faces_of_another_size_neither_count_nor_punish(make_result):
    """Small bin: its face is found, the large face found costs nothing, nor does a large miss."""
    small, large = (100, 100, 110, 110), (200, 200, 300, 300)
    result = make_result(
        [(0, small), (0, large)],
        [(0, 0.9, large), (0, 0.8, (300, 10, 400, 110)), (0, 0.7, small)],
    )
    scores = evaluate_strict([result]).scores
    np.testing.assert_allclose(scores.ap50_by_size[:, 0], [1, np.nan, 1])
    assert scores.ap50[0] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_figures_are_the_same_at_half_the_resolution(random_results):
    def halved(result):
        found = result.detections
        half = Detections(found.boxes_xyxy / 2, found.scores, found.labels, found.margins)
        return replace(
            result,
            truth_boxes_xyxy=result.truth_boxes_xyxy / 2,
            detections=half,
            size_hw=(208, 208),
        )

    results = random_results(3)
    full = evaluate_strict(results).scores.by_name()
    half = evaluate_strict([halved(result) for result in results]).scores.by_name()
    for name, values in full.items():
        np.testing.assert_allclose(half[name], values, atol=1e-12)


# Against pycocotools


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_101_point_figures_equal_pycocotools(pycocotools, random_results, seed, tied):
    results = random_results(seed, tied=tied)
    theirs, ours = pycocotools(results), evaluate_strict(results).scores
    np.testing.assert_allclose(ours.ap50_101_point, theirs[0, :, 0], atol=1e-9)
    np.testing.assert_allclose(ours.ap50_95_101_point, theirs[:, :, 0].mean(axis=0), atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_all_point_figures_equal_pycocotools_asked_at_many_recalls(
    pycocotools, random_results, seed
):
    results = random_results(seed)
    theirs, ours = pycocotools(results, recall_points=10_001), evaluate_strict(results).scores
    np.testing.assert_allclose(ours.ap50, theirs[0, :, 0], atol=1e-3)
    np.testing.assert_allclose(ours.ap50_95, theirs[:, :, 0].mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(ours.ap50_by_size, theirs[0, :, 1:].T, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_size_bins_equal_pycocotools(pycocotools, random_results, seed):
    results = random_results(seed, tied=True)
    matches = StrictMatches.of(results)
    once = np.ones((len(results), 1))
    ours = [
        [average_precision(hits, once).points_101[0] for hits in row] for row in matches.by_size
    ]
    np.testing.assert_allclose(ours, pycocotools(results)[0, :, 1:], atol=1e-9)


coordinate, side = st.integers(0, 6), st.integers(1, 4)
grid_box = st.tuples(coordinate, coordinate, side, side).map(
    lambda b: (8 * b[0], 8 * b[1], 8 * (b[0] + b[2]), 8 * (b[1] + b[3]))
)
label, tenth = st.integers(0, 1), st.integers(1, 9).map(lambda n: n / 10)
grid_image = st.tuples(
    st.lists(st.tuples(label, grid_box), max_size=5),
    st.lists(st.tuples(label, tenth, grid_box), min_size=1, max_size=8),
)


@given(st.lists(grid_image, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
def test_every_tie_is_broken_as_pycocotools_breaks_it(pycocotools, make_result, drawn):
    """Boxes on a coarse grid: equal scores, equal overlaps and overlaps of exactly 0.5 abound."""
    results = [make_result(*image, f"image{index}") for index, image in enumerate(drawn)]
    theirs, matches = pycocotools(results), StrictMatches.of(results)
    once = np.ones((len(results), 1))
    for index in range(3):
        curves = [*matches.by_iou[index], *matches.by_size[index]]
        ours = [average_precision(hits, once).points_101[0] for hits in curves]
        np.testing.assert_allclose(ours, [*theirs[:, index, 0], *theirs[0, index, 1:]], atol=1e-9)


@pytest.mark.parametrize(("swap", "ap"), [(False, 0.5), (True, 1.0)])
def test_of_two_faces_overlapped_alike_the_last_annotated_is_taken(
    pycocotools, make_result, swap, ap
):
    """The first detection lies half way; whether the second finds its face free tells which."""
    one, other, between = (0, 0, 40, 40), (20, 0, 60, 40), (10, 0, 50, 40)
    truths = [(0, other), (0, one)] if swap else [(0, one), (0, other)]
    results = [make_result(truths, [(0, 0.9, between), (0, 0.8, other)])]
    assert evaluate_strict(results).scores.ap50[0] == ap
    assert pycocotools(results, recall_points=10_001)[0, 0, 0] == pytest.approx(ap, abs=1e-3)


def test_a_face_of_the_size_asked_for_goes_before_a_nearer_one_of_another(pycocotools, make_result):
    """The box overlaps the 36 px face more, yet in the bin of the 32 px face it is a hit there."""
    faces = [(0, (0, 0, 36, 36)), (0, (0, 0, 32, 32))]
    results = [make_result(faces, [(0, 0.9, (0, 0, 34.02, 34.02))])]
    by_size = evaluate_strict(results).scores.ap50_by_size[:, 0]
    np.testing.assert_allclose(by_size, [np.nan, 1, 1])
    np.testing.assert_allclose(by_size, pycocotools(results)[0, 0, 1:])


def test_a_hundred_images_are_evaluated_within_a_second(random_results):
    results = random_results(0, images=100, detections=300)

    def cpu_s():
        start = time.process_time()
        evaluate_strict(results)
        return time.process_time() - start

    assert any(cpu_s() < 1 for _ in range(3)), "the best of three, for a busy machine's sake"


def test_strongest_keeps_objectness_beside_its_detection(make_result):
    found = [(0, 0.1, LEFT), (1, 0.9, RIGHT), (2, 0.5, FAR)]
    best = make_result([], found, objectness=[0.2, 0.95, 0.6]).strongest(2)
    assert isinstance(best, ImageResult)
    assert best.detections.labels.tolist() == [1, 2]
    np.testing.assert_allclose(best.objectness, [0.95, 0.6], rtol=1e-6)
