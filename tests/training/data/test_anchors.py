"""Anchors of a data set: sizes as the network sees them, and the centres they gather around."""

from pathlib import Path

import numpy as np
import pytest

from mask_gate.training.data.anchors import face_sizes_wh, kmeans_anchors
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.errors import UsageError


def image_of(size_wh, *boxes):
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes), np.int64)
    return AnnotatedImage(Path("a.png"), Path("a.xml"), size_wh, boxes_xyxy, labels, "a")


def test_sizes_are_those_of_the_letterboxed_input():
    images = [image_of((800, 400), (0, 0, 80, 40)), image_of((100, 200), (10, 10, 20, 30))]
    np.testing.assert_allclose(face_sizes_wh(images, 400), [[40, 20], [20, 40]])
    assert face_sizes_wh([image_of((10, 10))], 400).shape == (0, 2)
    assert face_sizes_wh([], 400).shape == (0, 2)


def test_kmeans_finds_well_separated_sizes():
    rng = np.random.default_rng(1)
    truth = np.array([[10, 12], [40, 50], [150, 120]])
    sizes = np.repeat(truth, 50, 0) * rng.uniform(0.95, 1.05, (150, 2))
    best = kmeans_anchors(sizes, 3, np.random.default_rng(5))
    np.testing.assert_allclose(best, truth, rtol=0.05)


def test_kmeans_refuses_fewer_boxes_than_anchors():
    with pytest.raises(UsageError, match="at least 9 boxes for 9 anchors, got 2"):
        kmeans_anchors(np.ones((2, 2)), 9, np.random.default_rng(0))
