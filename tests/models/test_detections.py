"""Detections: parallel arrays that cannot disagree."""

import numpy as np
import pytest

from mask_gate.models.detections import Detections


def some(count: int) -> Detections:
    return Detections(
        np.arange(count * 4, dtype=np.float32).reshape(count, 4),
        np.linspace(0.9, 0.1, count, dtype=np.float32),
        np.zeros(count, np.int64),
        np.zeros(count, np.float32),
    )


def test_none_is_ordinary():
    assert len(Detections.empty()) == 0
    assert len(Detections.empty()[:5]) == 0


@pytest.mark.parametrize("index", [slice(0, 2), np.array([True, True, False]), np.array([0, 1])])
def test_rows_are_chosen_together(index):
    chosen = some(3)[index]
    assert len(chosen) == 2
    np.testing.assert_array_equal(chosen.boxes_xyxy, some(3).boxes_xyxy[:2])
    np.testing.assert_array_equal(chosen.scores, some(3).scores[:2])


@pytest.mark.parametrize("name", ["scores", "labels", "margins"])
def test_a_column_of_another_length_is_refused_with_both_shapes(name):
    columns = {n: getattr(some(3), n) for n in ("boxes_xyxy", "scores", "labels", "margins")}
    columns[name] = columns[name][:2]
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(3,\).*got \(2,\)"):
        Detections(**columns)


def test_boxes_need_four_columns():
    nothing = np.zeros(0, np.float32)
    with pytest.raises(ValueError, match=r"boxes_xyxy: expected shape \(N, 4\), got \(0, 5\)"):
        Detections(np.zeros((0, 5), np.float32), nothing, np.zeros(0, np.int64), nothing)
