"""Bootstrap: repeatable, cheap, and honest about what it does not know."""

import math
import time

import numpy as np
import pytest

from mask_gate.training.evaluation.bootstrap import (
    estimate_differences,
    estimate_figures,
    resample_weights,
)
from mask_gate.training.evaluation.metrics import StrictMatches, evaluate_strict
from mask_gate.training.evaluation.report_protocol import LenientMatches

LEFT, FAR = (10, 10, 50, 50), (300, 300, 340, 340)


def rng():
    return np.random.default_rng(7)


def test_every_resample_draws_as_many_images_as_there_are():
    weights = resample_weights(12, 50, rng())
    assert weights.shape == (12, 50)
    np.testing.assert_array_equal(weights.sum(axis=0), np.full(50, 12))


def test_no_images_can_be_drawn_from_none():
    assert resample_weights(0, 50, rng()).shape == (0, 50)


def test_every_strict_figure_has_an_interval_around_its_value(random_results):
    results = random_results(0, images=40)
    figures = estimate_figures(StrictMatches.of(results), rng(), resamples=300)
    assert list(figures) == [
        "ap50",
        "ap50_under_16",
        "ap50_16_to_32",
        "ap50_over_32",
        "ap50_95",
        "ap50_101_point",
        "ap50_95_101_point",
    ]
    for figure in figures.values():
        for estimate in (figure.mean, *figure.per_class):
            assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
            assert estimate.low < estimate.high


def test_values_are_those_of_the_evaluation(random_results):
    results = random_results(0)
    figures = estimate_figures(StrictMatches.of(results), rng(), resamples=10)
    scores = evaluate_strict(results).scores
    for name, values in scores.by_name().items():
        np.testing.assert_allclose([e.value for e in figures[name].per_class], values)
    assert figures["ap50"].mean.value == pytest.approx(float(scores.map50))


def test_the_reports_protocol_has_intervals_too(random_results):
    matches = LenientMatches.of(random_results(0), 0.001)
    figure = estimate_figures(matches, rng(), resamples=100)["lenient_ap50"]
    assert figure.mean.low < figure.mean.value < figure.mean.high


def test_the_same_seed_gives_the_same_intervals(random_results):
    matches = StrictMatches.of(random_results(0))
    assert estimate_figures(matches, rng(), 50) == estimate_figures(matches, rng(), 50)


def test_more_images_give_narrower_intervals(random_results):
    few, many = random_results(0, images=15), random_results(0, images=150)

    def width(results):
        mean = estimate_figures(StrictMatches.of(results), rng(), 200)["ap50"].mean
        return mean.high - mean.low

    assert width(many) < 0.6 * width(few)


def test_the_interval_of_a_simple_share_is_the_binomial_one(make_result):
    """AP of inventionless images is the share of faces found: 60 of 100 gives 0.60 +- 0.096."""
    results = [
        make_result([(0, LEFT)], [(0, 0.9, LEFT)] if index < 60 else [], f"{index:03d}")
        for index in range(100)
    ]
    estimate = estimate_figures(StrictMatches.of(results), rng())["ap50"].per_class[0]
    assert estimate.value == pytest.approx(0.6)
    assert estimate.low == pytest.approx(0.504, abs=0.02)
    assert estimate.high == pytest.approx(0.696, abs=0.02)


class Figures:
    """Stands in for matches and scores: resamples spread evenly from -1 to 3, whatever is drawn."""

    names = ("a", "b")

    def __init__(self, value):
        self.value = value

    def scores(self, image_weights):
        return self

    def by_name(self):
        return {"figure": np.concatenate([[self.value], np.linspace(-1, 3, 1001)])[None]}


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (1.0, -1 + 4 * 0.025, -1 + 4 * 0.975),  # half of the resamples below: plain percentiles
        (0.0, -1 + 4 * 0.0005, -1 + 4 * 0.7292),  # a quarter: phi(2 * -0.6745 -+ 1.96)
        (-5.0, -1, -1),  # further out than resamples can tell
    ],
)
def test_resamples_that_sit_to_one_side_of_the_value_are_corrected_for(value, low, high):
    mean = estimate_figures(Figures(value), rng())["figure"].mean
    assert (mean.low, mean.value, mean.high) == pytest.approx((low, value, high), abs=0.01)


def test_certainty_has_no_width(make_result):
    results = [make_result([(0, LEFT)], [(0, 0.9, LEFT)], name) for name in "abc"]
    mean = estimate_figures(StrictMatches.of(results), rng(), 50)["ap50"].mean
    assert (mean.low, mean.value, mean.high) == pytest.approx((1, 1, 1))


def test_without_faces_there_is_no_figure_and_no_interval(make_result):
    for results in ([], [make_result([], [(0, 0.9, LEFT)])]):
        mean = estimate_figures(StrictMatches.of(results), rng(), 20)["ap50"].mean
        assert all(map(math.isnan, (mean.value, mean.low, mean.high)))


def test_resamples_without_the_rare_class_leave_its_interval_alone(make_result):
    """The only badly worn mask is missing from a third of the resamples, found in all others."""
    results = [make_result([(0, LEFT)], [(0, 0.9, FAR)], name) for name in "abcd"]
    results.append(make_result([(2, LEFT)], [(2, 0.9, LEFT)], "e"))
    figure = estimate_figures(StrictMatches.of(results), rng(), 200)["ap50"]
    assert figure.per_class[2].low == figure.per_class[2].high == 1
    assert math.isnan(figure.per_class[1].value)


def test_a_detector_does_not_differ_from_itself(random_results):
    matches = StrictMatches.of(random_results(0))
    mean = estimate_differences(matches, matches, rng(), 50)["ap50"].mean
    assert (mean.value, mean.low, mean.high) == (0, 0, 0)


def test_a_difference_on_the_same_images_is_surer_than_its_two_figures(make_result):
    """Both miss the same faces but for four: the rest of the luck cancels."""

    def detector(found):
        return StrictMatches.of(
            [
                make_result([(0, LEFT)], [(0, 0.9, LEFT)] if i < found else [], f"{i:03d}")
                for i in range(100)
            ]
        )

    better, worse = detector(64), detector(60)
    difference = estimate_differences(better, worse, rng())["ap50"].per_class[0]
    alone = estimate_figures(better, rng())["ap50"].per_class[0]
    assert difference.value == pytest.approx(0.04)
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
    assert difference.low > 0


def test_differences_need_the_same_images_and_the_same_protocol(random_results):
    three, four = random_results(0, images=3), random_results(0, images=4)
    with pytest.raises(ValueError, match="same images"):
        estimate_differences(StrictMatches.of(three), StrictMatches.of(four), rng(), 5)
    with pytest.raises(ValueError, match="same protocol"):
        estimate_differences(StrictMatches.of(three), LenientMatches.of(three, 0.1), rng(), 5)


def test_a_thousand_resamples_of_a_hundred_full_images_take_less_than_three_seconds(
    random_results,
):
    results = random_results(0, images=100, detections=300)

    def cpu_s():
        start = time.process_time()
        estimate_figures(StrictMatches.of(results), rng())
        return time.process_time() - start

    assert any(cpu_s() < 3 for _ in range(3)), "the best of three, for a busy machine's sake"
