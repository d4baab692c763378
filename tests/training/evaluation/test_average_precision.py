"""One curve: a weighted image is an image met so many times, and nothing can push AP about."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.training.evaluation.average_precision import (
    RankedHits,
    average_precision,
    mean_over_classes,
    precision_recall,
)


def ranked(outcomes, truths, images=None):
    """A curve from "hit", "miss" and "ignored", best first."""
    kinds = np.array(outcomes, dtype=object)
    return RankedHits(
        hits=kinds == "hit",
        misses=kinds == "miss",
        images=np.zeros(len(kinds), np.int64) if images is None else np.array(images, np.int64),
        scores=np.linspace(1, 0, len(kinds)),
        truths=np.array(truths, np.int64),
    )


def once(curve):
    ap = average_precision(curve, np.ones((len(curve.truths), 1)))
    return float(ap.all_point[0]), float(ap.points_101[0])


@pytest.mark.parametrize(
    ("outcomes", "truths", "all_point"),
    [
        ([], 0, np.nan),
        (["miss"], 0, np.nan),
        ([], 2, 0),
        (["miss", "miss"], 2, 0),
        (["hit"], 1, 1),
        (["hit"], 4, 0.25),
        (["miss", "hit"], 1, 0.5),
        (["hit", "miss", "miss"], 1, 1),
        (["hit", "miss", "hit"], 2, 0.5 + 0.5 * 2 / 3),
        (["miss", "hit", "hit", "hit"], 3, 0.75),
        (["ignored", "hit", "ignored"], 1, 1),
    ],
)
def test_area_under_the_envelope(outcomes, truths, all_point):
    np.testing.assert_allclose(once(ranked(outcomes, [truths]))[0], all_point)


@pytest.mark.parametrize(("faces", "points"), [(1, 101), (2, 51), (3, 34), (4, 26)])
def test_101_points_read_the_envelope_at_every_hundredth_of_recall(faces, points):
    """One of three faces found: 0, 0.01, ..., 0.33 are reached; of two, 0.50 is one of them."""
    assert once(ranked(["hit"], [faces]))[1] == pytest.approx(points / 101)


outcome = st.sampled_from(["hit", "miss", "ignored"])


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(outcome, st.integers(0, 2)), max_size=20),
    st.lists(st.integers(0, 3), min_size=3, max_size=3),
)
def test_a_weight_is_as_good_as_repeating_the_image(detections, weights):
    """Image 1 counted twice = a fourth image just like it, its detections beside the originals."""
    kinds, images = [k for k, _ in detections], [i for _, i in detections]
    truths = [kinds_of.count("hit") + 1 for kinds_of in _per_image(detections)]
    weighted = average_precision(ranked(kinds, truths, images), np.array(weights, float)[:, None])
    copies = [(kind, image) for kind, image in detections for _ in range(weights[image])]
    repeated = ranked([k for k, _ in copies], [int(np.dot(truths, weights))], [0 for _ in copies])
    np.testing.assert_allclose(
        [weighted.all_point[0], weighted.points_101[0]], once(repeated), atol=1e-12
    )


def _per_image(detections):
    return [[kind for kind, where in detections if where == image] for image in range(3)]


@settings(deadline=None, max_examples=60)
@given(st.lists(outcome, max_size=30), st.integers(1, 5))
def test_ap_stays_between_zero_and_recall(outcomes, unseen):
    truths = outcomes.count("hit") + unseen
    all_point, points_101 = once(ranked(outcomes, [truths]))
    recall = outcomes.count("hit") / truths
    assert -1e-12 <= all_point <= recall + 1e-12
    assert abs(all_point - points_101) <= 0.011


def test_the_curve_to_draw_leaves_ignored_detections_out():
    curve = precision_recall(ranked(["hit", "ignored", "miss", "hit"], [2]))
    np.testing.assert_allclose(curve.recall, [0.5, 0.5, 1])
    np.testing.assert_allclose(curve.precision, [1, 0.5, 2 / 3])
    np.testing.assert_allclose(curve.scores, [1, 1 / 3, 0])
    assert curve.ap == pytest.approx(0.5 + 0.5 * 2 / 3)


@pytest.mark.parametrize("outcomes", [[], ["miss"]])
def test_a_curve_without_truths_has_no_recall(outcomes):
    curve = precision_recall(ranked(outcomes, [0]))
    assert np.isnan(curve.recall).all()
    assert np.isnan(curve.ap)


@pytest.mark.parametrize(
    ("values", "mean"), [([0.2, 0.4, 0.6], 0.4), ([0.2, np.nan, 0.6], 0.4), ([np.nan] * 3, np.nan)]
)
def test_the_mean_is_over_classes_that_have_a_figure(values, mean):
    np.testing.assert_allclose(mean_over_classes(np.array(values)), mean)
