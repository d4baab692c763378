"""Each way to wear a mask covers what its label says and leaves free what it says is free."""

import cv2
import numpy as np
import pytest

from mask_gate.models.labels import MaskLabel
from mask_gate.training.drawing.head import (
    BRIDGE,
    CHIN,
    LIPS,
    LOWER_LIP,
    NOSE_TIP,
    Head,
)
from mask_gate.training.drawing.raster import rastered
from mask_gate.training.drawing.wear import WAYS, surface

SEEDS = range(6)


def covered(head, way, seed):
    """Which places of the middle of the face the cloth of a way lies on."""
    rng = np.random.default_rng(seed)
    raster = rastered(head, surface(head, WAYS[way].fit(head, rng), rng), (280, 320))
    xy = head.points[:, :2].astype(int)
    return {place: bool(raster.covered[xy[place, 1], xy[place, 0]]) for place in range(len(xy))}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("way", "hidden", "free"),
    [
        ("proper", [NOSE_TIP, LIPS, LOWER_LIP], [BRIDGE]),
        ("under_nose", [LOWER_LIP], [NOSE_TIP, BRIDGE]),
        ("nose_tip", [LIPS, LOWER_LIP], [NOSE_TIP, BRIDGE]),
        ("chin", [], [NOSE_TIP, LIPS, LOWER_LIP]),
        ("neck", [], [NOSE_TIP, LIPS, LOWER_LIP]),
        ("over_eyes", [BRIDGE], [LOWER_LIP, CHIN]),
        ("mouth_free", [NOSE_TIP], [LOWER_LIP, CHIN]),
    ],
)
def test_what_is_covered_and_what_is_free(face, way, hidden, free, seed):
    found = covered(Head(face()), way, seed)
    assert all(found[place] for place in hidden), way
    assert not any(found[place] for place in free), way


@pytest.mark.parametrize("seed", SEEDS)
def test_a_slipped_mask_leaves_one_half_of_the_face_free(face, seed):
    head, rng = Head(face()), np.random.default_rng(seed)
    raster = rastered(head, surface(head, WAYS["slipped"].fit(head, rng), rng), (280, 320))
    middle = int(head.points[LIPS, 0])
    left, right = raster.covered[:, :middle].sum(), raster.covered[:, middle:].sum()
    assert right > 3 * left


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("yaw_deg", [-55, 0, 30])
def test_cloth_has_no_holes_and_no_odd_numbers_on_turned_heads(face, way, yaw_deg):
    head = Head(face(yaw_deg))
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        worn = surface(head, WAYS[way].fit(head, rng), rng)
        assert np.isfinite(worn.grid).all()
        raster = rastered(head, worn, (280, 320))
        closed = cv2.morphologyEx(raster.covered, cv2.MORPH_CLOSE, np.ones((5, 5)))
        assert raster.covered.sum() > 200
        assert closed.sum() < 1.03 * raster.covered.sum()
        assert raster.across.min() >= 0
        assert raster.across.max() <= 1


def test_only_a_proper_mask_is_one():
    assert WAYS["proper"].label is MaskLabel.WITH_MASK
    others = {way.label for name, way in WAYS.items() if name != "proper"}
    assert others == {MaskLabel.MASK_WEARED_INCORRECT}


def test_a_surface_outside_of_the_picture_covers_nothing(face):
    head, rng = Head(face(at=(-500, -500))), np.random.default_rng(0)
    worn = surface(head, WAYS["proper"].fit(head, rng), rng)
    assert not rastered(head, worn, (64, 48)).covered.any()
