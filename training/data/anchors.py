"""Anchors that fit a data set: k-means over the sizes of its faces at an input size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.errors import UsageError

Floats = NDArray[np.float64]


def face_sizes_wh(images: Sequence[AnnotatedImage], input_size: int) -> Floats:
    """[N, 2] width and height of every face, in pixels of a letterboxed input of that side."""
    sizes = [
        (image.boxes_xyxy[:, 2:] - image.boxes_xyxy[:, :2]) * (input_size / max(image.size_wh))
        for image in images
    ]
    return np.concatenate([np.zeros((0, 2)), *sizes])


def kmeans_anchors(
    sizes_wh: Floats, count: int, rng: np.random.Generator, rounds: int = 100
) -> Floats:
    """Anchors by k-means with 1 - IoU as distance (YOLOv2, section 2), smallest area first.

    Args:
        sizes_wh: [N, 2] box sizes in input pixels, N >= count.
        count: how many anchors.
        rng: picks the first centres.
        rounds: upper bound; it stops early once nothing moves.

    Returns:
        [count, 2] widths and heights.

    Raises:
        UsageError: fewer boxes than anchors.
    """
    if len(sizes_wh) < count:
        raise UsageError(
            f"expected at least {count} boxes for {count} anchors, got {len(sizes_wh)}"
        )
    centres = sizes_wh[rng.choice(len(sizes_wh), count, replace=False)].astype(np.float64)
    for _ in range(rounds):
        nearest = shape_iou(sizes_wh, centres).argmax(1)
        moved = np.stack(
            [
                np.median(sizes_wh[nearest == k], axis=0) if (nearest == k).any() else centres[k]
                for k in range(count)
            ]
        )
        if np.array_equal(moved, centres):
            break
        centres = moved
    return np.asarray(centres[centres.prod(1).argsort()])


def shape_iou(sizes_a_wh: Floats, sizes_b_wh: Floats) -> Floats:
    """IoU of boxes laid on a common centre: [N, 2] and [M, 2] to [N, M]."""
    inner = np.minimum(sizes_a_wh[:, None], sizes_b_wh[None]).prod(-1)
    outer = sizes_a_wh.prod(-1)[:, None] + sizes_b_wh.prod(-1)[None] - inner
    return np.asarray(inner / np.maximum(outer, 1e-12))
