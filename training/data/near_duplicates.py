"""Near twins: images of one scene, found by a perceptual hash that survives scaling."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

HASH_BITS = 63 + 64
# Among 853 photographs every pair up to this distance was, looked at by eye, the same scene;
# from about 30 on, different people in like poses begin.
MAX_TWIN_BITS = 24
_BLOCK = 1024  # rows compared at once, which bounds memory for large sets


def perceptual_hash(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """[127] bits: coarse frequencies against their median, then coarse horizontal gradients.

    Args:
        image: [H, W, 3] uint8 BGR.
    """
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    square = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    waves = cv2.dct(square)[:8, :8].ravel()[1:]  # without the mean brightness
    steps = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    return np.concatenate([waves > np.median(waves), (steps[:, 1:] > steps[:, :-1]).ravel()])


def twin_pairs(
    hashes: Sequence[NDArray[np.bool_]], max_bits: int = MAX_TWIN_BITS
) -> list[tuple[int, int, int]]:
    """Every pair (first, second, differing bits) of near twins, nearest first.

    Args:
        hashes: N of `perceptual_hash`.
        max_bits: the most bits in which near twins may differ.
    """
    stacked = np.array(hashes, np.bool_).reshape(-1, HASH_BITS)
    signs = np.where(stacked, np.float32(1), np.float32(-1))
    pairs = []
    for start in range(0, len(signs), _BLOCK):
        differing = (HASH_BITS - signs[start : start + _BLOCK] @ signs.T) / 2
        for row, column in np.argwhere(differing <= max_bits):
            if start + row < column:
                bits = round(float(differing[row, column]))
                pairs.append((start + int(row), int(column), bits))
    return sorted(pairs, key=lambda pair: (pair[2], pair))


def hashes_of_views(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """[8, M, 127]: `perceptual_hash` of each image, also mirrored, also turned by quarters."""
    shown = [
        [perceptual_hash(_turned(image, quarters, mirrored)) for image in images]
        for mirrored in (False, True)
        for quarters in range(4)
    ]
    return np.array(shown, np.bool_).reshape(8, len(images), HASH_BITS)


def twins_of(
    images: Sequence[NDArray[np.uint8]],
    views: NDArray[np.bool_],
    max_bits: int = MAX_TWIN_BITS,
) -> dict[int, int]:
    """Which of `images` show one of others, perhaps mirrored, turned by quarters or stretched.

    Args:
        images: [H, W, 3] uint8 BGR each.
        views: `hashes_of_views` of the others.
        max_bits: the most bits in which near twins may differ.

    Returns:
        Position of each such image to that of the nearest of the others.
    """
    if not images or not views.shape[1]:
        return {}
    found = {}
    for start in range(0, len(images), _BLOCK):
        seen = np.array([perceptual_hash(image) for image in images[start : start + _BLOCK]])
        signs = np.where(seen, np.float32(1), np.float32(-1))
        differing = (
            (HASH_BITS - signs @ np.where(view, np.float32(1), np.float32(-1)).T) / 2
            for view in views
        )
        nearest = reduce(np.minimum, differing)  # of the eight views: [N, M]
        for row in np.flatnonzero(nearest.min(1) <= max_bits):
            found[start + int(row)] = int(nearest[row].argmin())
    return found


def _turned(image: NDArray[np.uint8], quarters: int, mirrored: bool) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, quarters))


def twin_groups(count: int, pairs: list[tuple[int, int, int]]) -> list[int]:
    """A group number for each of `count` images; twins, and twins of twins, share one."""
    group = list(range(count))

    def root(index: int) -> int:
        while group[index] != index:
            group[index] = group[group[index]]
            index = group[index]
        return index

    for first, second, _ in pairs:
        low, high = sorted((root(first), root(second)))
        group[high] = low
    return [root(index) for index in range(count)]


def twins_across(
    pairs: list[tuple[int, int, int]], sides: Sequence[str | None]
) -> list[tuple[int, int, int]]:
    """The pairs whose two images are on different sides; images on side None do not count."""
    return [
        (first, second, bits)
        for first, second, bits in pairs
        if None not in (sides[first], sides[second]) and sides[first] != sides[second]
    ]
