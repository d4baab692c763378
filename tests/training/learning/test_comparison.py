"""The comparison of runs: best and last epoch beside each other, and what is not known left out."""

from mask_gate.training.evaluation.bootstrap import Estimate, Figure
from mask_gate.training.evaluation.plots import AccuracyHistory, Run
from mask_gate.training.learning.comparison import comparison_table

NAMES = ("with_mask", "without_mask", "mask_weared_incorrect")


def course(*values):
    per_class = {name: [v + i / 100 for v in values] for i, name in enumerate(NAMES)}
    return AccuracyHistory(list(range(1, len(values) + 1)), list(values), per_class)


def test_best_and_last_epoch_of_every_run_with_the_intervals_of_its_checkpoint():
    spread = Estimate(0.6, 0.5, 0.7)
    runs = [
        Run("focal", course(0.2, 0.6, 0.4), Figure(spread, (spread, spread, spread))),
        Run("plain", course(0.3, 0.1)),
    ]
    header, *rows = (line.split() for line in comparison_table(runs).splitlines())
    assert header == ["run", "epoch", "mAP", *NAMES]
    assert rows == [
        ["focal", "best", "2", "0.600", "0.600", "0.610", "0.620"],
        ["last", "3", "0.400", "0.400", "0.410", "0.420"],
        ["best.pth,", "95", "%", "-", *["0.500-0.700"] * 4],
        ["plain", "best", "1", "0.300", "0.300", "0.310", "0.320"],
        ["last", "2", "0.100", "0.100", "0.110", "0.120"],
    ]


def test_columns_stand_under_each_other():
    header, best, last = comparison_table([Run("a", course(0.2, 0.1))]).splitlines()
    assert len(header) == len(best) == len(last)
    assert header.index("mAP") + 2 == best.index("0.200") + 4 == last.index("0.100") + 4


def test_a_run_that_was_never_evaluated_says_so():
    for history in (AccuracyHistory([], [], {}), course(float("nan"))):
        assert "plain  not evaluated      -" in comparison_table([Run("plain", history)])


def test_epochs_without_a_figure_are_never_best():
    table = comparison_table([Run("a", course(float("nan"), 0.2, 0.1))])
    assert table.splitlines()[1].split()[:4] == ["a", "best", "2", "0.200"]
