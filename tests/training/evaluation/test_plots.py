"""Pictures: they say what the data says, take empty data as it comes, and leave no global trace."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation import plots
from mask_gate.training.evaluation.average_precision import PrecisionRecall
from mask_gate.training.evaluation.bootstrap import Estimate, Figure
from mask_gate.training.evaluation.plots import (
    AccuracyHistory,
    Run,
    draw_accuracy,
    draw_comparison,
    draw_confusion,
    draw_losses,
    draw_precision_recall,
)

EMPTY = AccuracyHistory([], [], {})
HISTORY = AccuracyHistory(
    [1, 2, 3], [0.2, 0.7, 0.6], {name: [0.1, 0.5, 0.4] for name in CLASS_NAMES}
)
UNKNOWN = AccuracyHistory([1, 2], [np.nan, np.nan], {"with_mask": [np.nan, np.nan]})
CURVE = PrecisionRecall(
    np.array([0.5, 0.5, 1.0]), np.array([1, 0.5, 2 / 3]), np.array([0.9, 0.6, 0.2]), 0.8333
)
NO_CURVE = PrecisionRecall(np.array([np.nan]), np.zeros(1), np.ones(1), np.nan)
AP50 = Figure(
    Estimate(0.6, 0.5, 0.7), (Estimate(0.8, 0.7, 0.9), *[Estimate(np.nan, np.nan, np.nan)] * 2)
)
MATRIX = np.array([[9, 1, 0, 2], [0, 5, 0, 0], [0, 0, 0, 0], [3, 0, 0, 0]])

PICTURES = {
    "accuracy": lambda path: draw_accuracy(HISTORY, path),
    "losses": lambda path: draw_losses([1, 2], {"box": [2.0, 1.0], "total": [9.0, np.nan]}, path),
    "precision_recall": lambda path: draw_precision_recall({"with_mask": CURVE}, path, 0.5),
    "confusion": lambda path: draw_confusion(MATRIX, path),
    "comparison": lambda path: draw_comparison([Run("ce", HISTORY, AP50), Run("new", EMPTY)], path),
}
WITH_NOTHING = {
    "accuracy": lambda path: draw_accuracy(EMPTY, path),
    "accuracy of nan": lambda path: draw_accuracy(UNKNOWN, path),
    "losses": lambda path: draw_losses([], {}, path),
    "precision_recall": lambda path: draw_precision_recall({}, path),
    "no faces": lambda path: draw_precision_recall({"with_mask": NO_CURVE}, path, 0.5),
    "confusion": lambda path: draw_confusion(np.zeros((4, 4), int), path),
    "comparison": lambda path: draw_comparison([], path),
}


@pytest.fixture
def drawn(monkeypatch):
    """The figure just before it would be written."""
    figures = []
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure))
    return figures


def legend_texts(figure):
    holders = [*figure.legends, *(axes.get_legend() for axes in figure.axes)]
    return [text.get_text() for legend in holders if legend for text in legend.get_texts()]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_written_wide_enough_for_a_readme(tmp_path, name):
    path = tmp_path / "folder that is not there yet" / "picture.png"
    PICTURES[name](path)
    image = cv2.imread(str(path))
    assert 900 <= image.shape[1] <= 1600
    assert image.std() > 10


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", WITH_NOTHING)
def test_nothing_to_show_is_shown_without_complaint(tmp_path, name):
    WITH_NOTHING[name](tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 1000


def test_the_best_epoch_is_marked(drawn):
    draw_accuracy(HISTORY, "unused")
    axes = drawn[0].axes[0]
    star = next(line for line in axes.lines if line.get_marker() == "*" and len(line.get_xdata()))
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (2, 0.7)
    assert legend_texts(drawn[0]) == [*CLASS_NAMES, "mean (mAP)", "best: 0.700, epoch 2"]


def test_each_loss_part_has_its_own_scale(drawn):
    draw_losses([1, 2], {"box": [2.0, 1.0], "objectness": [200.0, 100.0]}, "unused")
    panels = drawn[0].axes
    assert [axes.get_title(loc="left") for axes in panels] == ["box", "objectness"]
    assert panels[0].get_ylim()[1] < 3
    assert panels[1].get_ylim()[1] > 200


def test_curves_tell_their_ap_and_where_the_threshold_cuts(drawn):
    draw_precision_recall({"with_mask": CURVE, "without_mask": NO_CURVE}, "unused", 0.5)
    assert legend_texts(drawn[0]) == [
        "with_mask: AP 0.833",
        "without_mask: no faces",
        "at score 0.5",
    ]
    dots = [line for line in drawn[0].axes[0].lines if line.get_marker() == "o"]
    assert (dots[0].get_xdata()[0], dots[0].get_ydata()[0]) == (0.5, 0.5)


def test_the_confusion_matrix_shows_counts_and_shares_of_the_row(drawn):
    draw_confusion(MATRIX, "unused")
    texts = [text.get_text() for text in drawn[0].axes[0].texts]
    assert texts[:4] == ["9\n75%", "1\n8%", "0\n0%", "2\n17%"]
    assert texts[8] == "0\n0%"
    assert texts[-1] == "–"


def test_every_run_is_named_and_keeps_one_colour(drawn):
    runs = [Run(f"run {index}", HISTORY, AP50) for index in range(5)]
    draw_comparison(runs, "unused")
    assert legend_texts(drawn[0]) == [run.name for run in runs]
    final = drawn[0].axes[1]
    whiskers = [tuple(collection.get_color()[0]) for collection in final.collections]
    assert len(set(whiskers)) == 5
    assert len(whiskers) == 10, "the mean and with_mask; classes without a figure leave a gap"


def test_one_epoch_is_a_point_in_the_middle_between_no_others(drawn):
    one = AccuracyHistory([1], [0.2], {name: [0.1] for name in CLASS_NAMES})
    draw_accuracy(one, "unused")
    draw_losses([1], {"box": [2.0], "objectness": [0.0]}, "unused")
    draw_comparison([Run("a", one)], "unused")
    for axes in (drawn[0].axes[0], *drawn[1].axes[:2], drawn[2].axes[0]):
        assert axes.get_xlim() == (0.5, 1.5)
        assert [tick for tick in axes.get_xticks() if 0.5 <= tick <= 1.5] == [1]
        assert axes.lines[0].get_marker() == "o"
    assert drawn[1].axes[0].get_ylim() == pytest.approx((0, 2.2))
    assert drawn[1].axes[1].get_ylim() == (0, 1)


def test_styles_of_classes_are_all_different():
    assert len(set(plots.CLASS_STYLES)) == len(CLASS_NAMES)


def test_drawing_needs_no_display_and_no_global_state(repo_root, tmp_path):
    code = (
        "import sys; from pathlib import Path; "
        "from mask_gate.training.evaluation import mistakes, plots; "
        "plots.draw_losses([1], {'box': [1.0]}, Path(sys.argv[1])); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    path = tmp_path / "losses.png"
    done = subprocess.run([sys.executable, "-c", code, path], cwd=repo_root, check=False)
    assert done.returncode == 0
    assert path.exists()
