"""Near twins: a picture is its own twin when scaled or compressed, and no one else's."""

import cv2
import numpy as np
import pytest

from mask_gate.training.data.near_duplicates import (
    HASH_BITS,
    MAX_TWIN_BITS,
    perceptual_hash,
    twin_groups,
    twin_pairs,
    twins_across,
)


def scene(seed):
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)


def bits(first, second):
    return int((perceptual_hash(first) != perceptual_hash(second)).sum())


@pytest.mark.parametrize(
    "change",
    [
        lambda image: cv2.resize(image, (160, 150)),
        lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [1, 30])[1], 1),
        lambda image: np.clip(image.astype(int) * 0.8 + 20, 0, 255).astype(np.uint8),
        lambda image: image[4:-4, 6:-2],
    ],
    ids=["scaled", "compressed", "brightened", "cropped"],
)
def test_a_changed_copy_is_a_twin(change):
    for seed in range(5):
        assert bits(scene(seed), change(scene(seed))) <= MAX_TWIN_BITS


def test_other_scenes_are_no_twins():
    assert perceptual_hash(scene(0)).shape == (HASH_BITS,)
    assert twin_pairs([perceptual_hash(scene(seed)) for seed in range(12)]) == []


def test_pairs_come_nearest_first_and_each_once():
    hashes = [perceptual_hash(image) for image in (scene(0), scene(1), scene(0)[4:-4], scene(0))]
    pairs = twin_pairs(hashes)
    assert pairs[0][:2] == (0, 3)
    assert {pair[:2] for pair in pairs} == {(0, 3), (0, 2), (2, 3)}
    assert [pair[2] for pair in pairs] == sorted(pair[2] for pair in pairs)


def test_twins_of_twins_are_one_group():
    assert twin_groups(6, [(3, 4, 0), (0, 1, 5), (1, 4, 9)]) == [0, 0, 2, 0, 0, 5]
    assert twin_groups(0, []) == []


def test_nothing_has_no_twins():
    assert twin_pairs([]) == []


def test_only_pairs_on_different_sides_leak():
    pairs = [(0, 1, 0), (1, 2, 3), (2, 3, 4)]
    assert twins_across(pairs, ["train", "valid", "valid", None]) == [(0, 1, 0)]
