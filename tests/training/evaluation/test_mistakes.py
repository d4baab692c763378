"""The sheet of mistakes: the right ones, the worst first, from images of any size."""

import cv2
import numpy as np
import pytest

from mask_gate.models.labels import MaskLabel
from mask_gate.training.evaluation import mistakes as sheet
from mask_gate.training.evaluation.confusion import confusion_matrix
from mask_gate.training.evaluation.mistakes import MistakeKind, draw_mistakes, find_mistakes

LEFT, RIGHT, FAR = (10, 10, 50, 50), (200, 10, 240, 50), (300, 300, 340, 340)


def kinds(found):
    return [mistake.kind for mistake in found]


def test_a_perfect_image_has_no_mistakes(make_result):
    assert find_mistakes([make_result([(0, LEFT)], [(0, 0.9, LEFT)])], 0.5) == []
    assert find_mistakes([], 0.5) == []


def test_the_three_kinds_are_told_apart(make_result):
    result = make_result([(1, LEFT), (2, RIGHT)], [(0, 0.9, LEFT), (1, 0.8, FAR)], "photo")
    wrong, missed, invented = find_mistakes([result], 0.5)
    assert kinds([wrong, missed, invented]) == list(MistakeKind)
    assert (wrong.truth, wrong.said) == (MaskLabel.WITHOUT_MASK, MaskLabel.WITH_MASK)
    assert wrong.truth_box_xyxy == wrong.said_box_xyxy == LEFT
    assert (missed.truth, missed.said, missed.said_box_xyxy) == (
        MaskLabel.MASK_WEARED_INCORRECT,
        None,
        None,
    )
    assert (invented.truth, invented.said) == (None, MaskLabel.WITHOUT_MASK)
    assert {mistake.image for mistake in (wrong, missed, invented)} == {"photo"}


def test_a_detection_below_the_threshold_is_a_face_missed(make_result):
    found = find_mistakes([make_result([(0, LEFT)], [(0, 0.4, LEFT)])], 0.5)
    assert kinds(found) == [MistakeKind.MISSED]


def test_what_would_open_a_door_is_worse_than_any_other_wrong_class(make_result):
    result = make_result(
        [(0, LEFT), (1, RIGHT), (2, FAR)], [(1, 0.99, LEFT), (2, 0.7, RIGHT), (0, 0.55, FAR)]
    )
    assert [mistake.said for mistake in find_mistakes([result], 0.5)] == [
        MaskLabel.WITH_MASK,
        MaskLabel.WITHOUT_MASK,
        MaskLabel.MASK_WEARED_INCORRECT,
    ]


def test_larger_missed_faces_are_worse_at_the_size_the_detector_sees(make_result):
    small_in_large_photo = make_result([(0, (0, 0, 60, 60))], name="a", size_hw=(1664, 1664))
    large_in_small_photo = make_result([(0, (0, 0, 40, 40))], name="b", size_hw=(208, 208))
    found = find_mistakes([small_in_large_photo, large_in_small_photo], 0.5)
    assert [mistake.image for mistake in found] == ["b", "a"]


def test_every_mistake_of_the_confusion_matrix_is_found(random_results):
    results = random_results(0)
    matrix = confusion_matrix(results, 0.3)
    assert len(find_mistakes(results, 0.3)) == matrix.sum() - np.trace(matrix)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("columns", [1, 5])
def test_the_sheet_is_drawn_from_images_of_any_size(make_result, tmp_path, columns):
    """Faces at the border, wider than the image, in a tiny image: each crop stays inside."""
    results = [
        make_result([(0, (-9, -9, 30, 30))], [(1, 0.9, (0, 0, 28, 28))], "corner", (50, 80)),
        make_result([(2, (1, 1, 9, 9))], [], "tiny", (10, 12)),
        make_result([], [(0, 0.8, (-50, -50, 900, 900))], "huge", (300, 400)),
    ]
    sizes = {result.name: result.size_hw for result in results}
    asked = []

    def load(name):
        asked.append(name)
        return np.full((*sizes[name], 3), 120, np.uint8)

    path = tmp_path / "new" / "mistakes.png"
    draw_mistakes(find_mistakes(results, 0.5), load, path, columns)
    assert sorted(asked) == ["corner", "huge", "tiny"]
    assert 900 <= cv2.imread(str(path)).shape[1] <= 1600


def test_no_mistakes_make_a_sheet_that_says_so(monkeypatch):
    figures = []
    monkeypatch.setattr(sheet, "save", lambda figure, path: figures.append(figure))
    draw_mistakes([], lambda name: pytest.fail("no image is needed"), "unused")
    headings = [text.get_text() for axes in figures[0].axes for text in axes.texts]
    assert headings == ["wrong class: none", "missed face: none", "not annotated: none"]


def test_only_the_worst_of_a_row_are_loaded_and_its_heading_counts_all(make_result, monkeypatch):
    figures, asked = [], []
    monkeypatch.setattr(sheet, "save", lambda figure, path: figures.append(figure))
    results = [
        make_result([], [(1, score, LEFT)], f"score {score}") for score in (0.6, 0.9, 0.7, 0.8)
    ]

    def load(name):
        asked.append(name)
        return np.zeros((416, 416, 3), np.uint8)

    draw_mistakes(find_mistakes(results, 0.5), load, "unused", columns=2)
    assert asked == ["score 0.9", "score 0.8"]
    texts = [text.get_text() for axes in figures[0].axes for text in axes.texts]
    assert "not annotated: 4" in texts
    titles = [axes.get_title(loc="left") for axes in figures[0].axes]
    assert titles == [
        "",
        "",
        "",
        "",
        "not annotated\nwithout_mask 0.90",
        "not annotated\nwithout_mask 0.80",
    ]
