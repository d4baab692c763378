"""The confusion matrix: who was taken for whom, who was missed, who was never there."""

import pytest

from mask_gate.training.evaluation.confusion import confusion_matrix, pair_class_blind

LEFT, RIGHT, FAR = (10, 10, 50, 50), (200, 10, 240, 50), (300, 300, 340, 340)


def test_swapped_labels_land_off_the_diagonal(make_result):
    result = make_result([(0, LEFT), (1, RIGHT)], [(1, 0.9, LEFT), (0, 0.9, RIGHT)])
    assert confusion_matrix([result], 0.5).tolist() == [
        [0, 1, 0, 0],
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 0],
    ]


def test_missed_faces_and_inventions_go_to_the_background(make_result):
    result = make_result([(0, LEFT), (2, RIGHT)], [(0, 0.9, LEFT), (1, 0.8, FAR)])
    assert confusion_matrix([result], 0.5).tolist() == [
        [1, 0, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 0, 1],
        [0, 1, 0, 0],
    ]


def test_a_second_detection_of_one_face_is_an_invention(make_result):
    result = make_result([(0, LEFT)], [(0, 0.8, LEFT), (1, 0.9, LEFT)])
    matrix = confusion_matrix([result], 0.5)
    assert matrix[0, 1] == 1
    assert matrix[3, 0] == 1


@pytest.mark.parametrize(("min_score", "found"), [(0.5, 1), (0.500001, 0)])
def test_only_detections_at_the_threshold_count(make_result, min_score, found):
    matrix = confusion_matrix([make_result([(0, LEFT)], [(0, 0.5, LEFT)])], min_score)
    assert matrix[0].tolist() == [found, 0, 0, 1 - found]


@pytest.mark.parametrize("results", [[], ["nobody"]])
def test_nobody_makes_an_empty_matrix(make_result, results):
    assert confusion_matrix([make_result() for _ in results], 0.5).sum() == 0


@pytest.mark.parametrize("min_score", [0.0, 0.3, 1.0])
def test_every_face_is_in_its_row_and_every_detection_in_its_column(random_results, min_score):
    results = random_results(0)
    matrix = confusion_matrix(results, min_score)
    for label in range(3):
        assert matrix[label].sum() == sum((r.truth_labels == label).sum() for r in results)
        said = [r.detections.labels[r.detections.scores >= min_score] for r in results]
        assert matrix[:, label].sum() == sum((labels == label).sum() for labels in said)


def test_pairs_name_truth_then_detection(make_result):
    result = make_result([(0, LEFT), (1, RIGHT)], [(2, 0.1, FAR), (0, 0.9, RIGHT), (0, 0.8, LEFT)])
    assert pair_class_blind(result, 0.5) == [(1, 1), (0, 2)]
