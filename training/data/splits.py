"""Splits of a data set: seeded, stratified by the rarest class, groups kept on one side."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.samples import AnnotatedImage

VALID_SHARE = 100 / 853  # the share of the report's own validation split
DEALS = 16  # the rarest class leads each deal; among some deals one is even in the others too


def class_counts(images: Sequence[AnnotatedImage]) -> NDArray[np.int64]:
    """How many faces of each class each image has: [len(images), classes]."""
    counts = np.zeros((len(images), len(CLASS_NAMES)), np.int64)
    for row, image in zip(counts, images, strict=True):
        row += np.bincount(image.labels, minlength=len(CLASS_NAMES))
    return counts


def stratified_parts(
    images: Sequence[AnnotatedImage],
    shares: Sequence[float],
    seed: int,
    groups: Sequence[int] | None = None,
) -> tuple[tuple[AnnotatedImage, ...], ...]:
    """Deal images into parts so that each gets its share of every class, the rarest first.

    The iterative stratification of Sechidis et al. (2011), on groups of images: again and again,
    the class with the fewest faces left is dealt out in random order, each group to the part that
    lacks most of that class and still has room. What a part lacks is measured against its own
    share: in plain numbers a small part would get what the large one leaves, images with few faces.
    Of some such deals the one that comes closest in all classes is taken.

    Args:
        images: what to deal.
        shares: the size of each part, in any unit; met to the image where the groups allow.
        seed: the same seed deals the same parts.
        groups: one number for each image; images with the same number stay together.

    Returns:
        One tuple a part, each in the order of `images`.
    """
    members: dict[int, list[int]] = {}
    for index in range(len(images)):
        members.setdefault(index if groups is None else groups[index], []).append(index)
    # The last column stands for the images themselves, so that faceless ones are dealt as well.
    each = np.column_stack([class_counts(images), np.ones(len(images), np.int64)])
    held = np.array([each[rows].sum(axis=0) for rows in members.values()], np.int64)
    parts = _best_deal(held.reshape(-1, each.shape[1]), np.asarray(shares, np.float64), seed)
    part_of = np.zeros(len(images), np.int64)
    for rows, part in zip(members.values(), parts, strict=True):
        part_of[rows] = part
    return tuple(
        tuple(image for image, chosen in zip(images, part_of, strict=True) if chosen == part)
        for part in range(len(shares))
    )


def _best_deal(
    held: NDArray[np.int64], shares: NDArray[np.float64], seed: int
) -> NDArray[np.int64]:
    """The most even of some deals. `held`: [G, columns] faces and images of each group."""
    rng = np.random.default_rng(seed)
    wanted = np.outer(shares / shares.sum(), held.sum(axis=0))  # [P, columns]
    best, best_error = np.zeros(len(held), np.int64), np.inf
    for _ in range(DEALS):
        part_of = _deal(held, shares / shares.sum(), rng.permutation(len(held)))
        got = np.array([held[part_of == part].sum(axis=0) for part in range(len(shares))])
        error = float((np.abs(got - wanted) / np.maximum(wanted, 1)).sum())
        if error < best_error:
            best, best_error = part_of, error
    return best


def _deal(
    held: NDArray[np.int64], shares: NDArray[np.float64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The part of each group, dealt in `order` within each class."""
    images = held[:, -1]
    room = whole_shares(int(images.sum()), shares)  # [P] images
    wanted = np.outer(shares, held.sum(axis=0))  # [P, columns] still to be given
    part_of = np.full(len(held), -1, np.int64)
    while (waiting := part_of[order] < 0).any():
        left = held[order[waiting]].sum(axis=0)
        column = min((c for c in range(len(left)) if left[c] > 0), key=lambda c: (left[c], c))
        for group in order[waiting & (held[order, column] > 0)]:
            lacking = wanted[:, column] / shares
            part = np.lexsort((-room, -lacking, room < images[group]))[0]
            part_of[group] = part
            wanted[part] -= held[group]
            room[part] -= images[group]
    return part_of


def whole_shares(total: int, shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """`total` in whole numbers in proportion to `shares` [P], by the largest remainder."""
    exact = shares / shares.sum() * total
    whole: NDArray[np.int64] = np.floor(exact + 1e-9).astype(np.int64)
    rest = total - int(whole.sum())
    whole[np.argsort(whole - exact, kind="stable")[:rest]] += 1
    return whole
