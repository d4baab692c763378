"""Splits: complete, repeatable, even in every class, and groups stay together."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.data.splits import class_counts, stratified_parts, whole_shares


def image(stem, labels):
    boxes = np.tile(np.array([[0, 0, 5, 5]], np.float32), (len(labels), 1))
    path = Path(f"{stem}.png")
    return AnnotatedImage(path, path, (9, 9), boxes, np.array(labels, np.int64), str(stem))


def skewed_images(count=200, seed=0):
    """Like the real set: the third class is rare, some images are crowds, some are empty."""
    rng = np.random.default_rng(seed)
    faces = np.minimum(rng.geometric(0.25, count) - 1, 40)
    return [image(i, rng.choice(3, n, p=[0.78, 0.18, 0.04])) for i, n in enumerate(faces)]


def test_class_counts_of_nothing():
    assert class_counts([]).shape == (0, 3)
    assert class_counts([image("a", []), image("b", [2, 0, 2])]).tolist() == [[0, 0, 0], [1, 0, 2]]


@pytest.mark.parametrize("shares", [(0.8, 0.2), (753, 100), (1, 1, 1, 1, 1)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_class_gets_its_share_and_sizes_are_exact(shares, seed):
    images = skewed_images()
    parts = stratified_parts(images, shares, seed)
    totals = class_counts(images).sum(axis=0)
    for part, share in zip(parts, np.array(shares) / sum(shares), strict=True):
        assert abs(len(part) - share * len(images)) < 1
        got = class_counts(part).sum(axis=0)
        assert np.all(np.abs(got - share * totals) <= np.maximum(0.12 * totals, 3))


def test_the_small_part_is_not_fed_with_what_the_large_one_leaves():
    images = [image(i, [2] * (1 + 5 * (i % 4 == 0))) for i in range(100)]
    crowded = [
        sum(len(i.labels) > 1 for i in stratified_parts(images, (9, 1), seed)[1])
        for seed in range(8)
    ]
    assert np.mean(crowded) > 1


@given(
    st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=40),
    st.integers(2, 4),
    st.integers(0, 99),
    st.randoms(use_true_random=False),
)
@settings(max_examples=40, deadline=None)
def test_parts_are_disjoint_complete_and_keep_groups_together(faces, parts, seed, chance):
    images = [image(i, labels) for i, labels in enumerate(faces)]
    groups = [chance.randrange(max(1, len(images) // 2)) for _ in images]
    dealt = stratified_parts(images, (1,) * parts, seed, groups)
    assert sorted(i.stem for part in dealt for i in part) == sorted(i.stem for i in images)
    part_of = {int(i.stem): number for number, part in enumerate(dealt) for i in part}
    for group in set(groups):
        assert len({part_of[i] for i, g in enumerate(groups) if g == group}) == 1


def test_a_seed_is_repeatable_and_another_differs():
    images = skewed_images()
    stems = [[i.stem for i in stratified_parts(images, (0.8, 0.2), seed)[1]] for seed in (5, 5, 6)]
    assert stems[0] == stems[1] != stems[2]


@given(st.integers(0, 1000), st.lists(st.floats(0.01, 10), min_size=1, max_size=6))
def test_whole_shares_add_up_and_are_never_off_by_one(total, shares):
    shares = np.array(shares)
    whole = whole_shares(total, shares)
    assert whole.sum() == total
    assert np.all(np.abs(whole - shares / shares.sum() * total) < 1 + 1e-6)
