"""Samples cannot hold arrays that disagree."""

from pathlib import Path

import numpy as np
import pytest

from mask_gate.training.data.samples import AnnotatedImage, Sample

IMAGE = np.zeros((4, 6, 3), np.uint8)
NO_BOXES = np.zeros((0, 4), np.float32)
NO_LABELS = np.zeros(0, np.int64)


def test_a_sample_without_faces_is_ordinary():
    assert Sample(IMAGE, NO_BOXES, NO_LABELS, "empty").size_hw == (4, 6)


@pytest.mark.parametrize(
    ("image", "boxes", "labels", "expected"),
    [
        (IMAGE[..., 0], NO_BOXES, NO_LABELS, r"\(H, W, 3\) of uint8, got \(4, 6\)"),
        (IMAGE.astype(np.float32), NO_BOXES, NO_LABELS, "got .* of float32"),
        (IMAGE, np.zeros(0, np.float32), NO_LABELS, r"expected shape \(N, 4\), got \(0,\)"),
        (IMAGE, NO_BOXES, np.zeros(1, np.int64), r"expected shape \(0,\) .* got \(1,\)"),
    ],
)
def test_arrays_of_another_shape_are_refused(image, boxes, labels, expected):
    with pytest.raises(ValueError, match=expected):
        Sample(image, boxes, labels, "odd")


def test_a_record_checks_its_arrays_too():
    with pytest.raises(ValueError, match="labels"):
        AnnotatedImage(Path("a.png"), Path("a.xml"), (6, 4), NO_BOXES, np.zeros(2, np.int64), "a")
