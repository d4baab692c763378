"""Appearance: turned boxes stay on their faces, and light changes pixels but never their shape."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.training.data.appearance import (
    backlight,
    blur_by_motion,
    darken,
    gamma,
    random_turn,
    relight,
    shade,
    tint,
    turn,
)
from mask_gate.training.data.samples import Sample


def oval(size_hw=(160, 200), box=(50, 40, 110, 120)):
    """A black image with a white ellipse that fills its box."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[: size_hw[0], : size_hw[1]]
    inside = ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 + (
        (y - (y1 + y2) / 2) / ((y2 - y1) / 2)
    ) ** 2 <= 1
    image = np.repeat((inside * 255).astype(np.uint8)[..., None], 3, 2)
    return Sample(image, np.array([box], np.float32), np.array([1]), "oval")


@given(st.floats(-180, 180))
def test_a_turned_box_is_that_of_the_turned_ellipse(degrees):
    turned = turn(oval(), degrees)
    rows, columns = np.nonzero((turned.image == 255).all(2))
    seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(turned.boxes_xyxy[0], seen, atol=2.5)
    assert turned.labels.tolist() == [1]


@given(st.floats(-180, 180), st.integers(1, 90), st.integers(1, 90))
def test_a_turned_canvas_holds_every_face(degrees, height, width):
    image = np.zeros((height, width, 3), np.uint8)
    whole = Sample(image, np.array([[0, 0, width, height]], np.float32), np.array([0]), "crop")
    turned = turn(whole, degrees)
    high, wide = turned.size_hw
    assert (turned.boxes_xyxy[0] >= -1).all()
    assert (turned.boxes_xyxy[0] <= [wide + 1, high + 1, wide + 1, high + 1]).all()


def test_a_quarter_turn_swaps_the_sides():
    turned = turn(oval(), 90)
    assert turned.size_hw == (200, 160)
    sides = turned.boxes_xyxy[0, 2:] - turned.boxes_xyxy[0, :2]
    np.testing.assert_allclose(sides, [80, 60], atol=0.5)


def test_an_image_without_faces_turns_too():
    none = Sample(
        np.zeros((20, 30, 3), np.uint8), np.zeros((0, 4), np.float32), np.zeros(0, np.int64), "none"
    )
    assert turn(none, 30).boxes_xyxy.shape == (0, 4)


def test_chance_decides_the_turn_and_repeats():
    first, again, other = (
        random_turn(oval(), 75, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.image, again.image)
    assert first.boxes_xyxy.tolist() != other.boxes_xyxy.tolist()


GREY = np.full((40, 60, 3), 100, np.uint8)


@pytest.mark.parametrize("seed", range(24))
def test_another_light_leaves_shape_and_type(seed):
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    seen = relight(image, np.random.default_rng(seed))
    assert seen.shape == image.shape
    assert seen.dtype == np.uint8
    assert (seen != image).any()
    np.testing.assert_array_equal(seen, relight(image, np.random.default_rng(seed)))


def test_each_light_does_what_its_name_says():
    blue = tint(GREY, np.array([2.0, 0.5, 0.5]))
    assert blue[0, 0].tolist() == [200, 50, 50]
    assert gamma(GREY, 2.0).mean() < 60 < 100 < gamma(GREY, 0.5).mean()
    dark = darken(GREY, 0.2, 4.0, 1.0, np.random.default_rng(0))
    assert 15 < dark.mean() < 25
    assert dark.std() > 2
    glare = backlight(GREY, 0.4, 120.0)
    assert glare[0].mean() > 150
    assert glare[-1, 30].mean() < 50
    half = shade(GREY, 0.3, 0.0)
    assert half[:, 0].mean() < 40
    assert half[:, -1].mean() > 95


def test_motion_smears_along_its_angle_only():
    dot = np.zeros((31, 31, 3), np.uint8)
    dot[15, 15] = 255
    rows, columns = np.nonzero(blur_by_motion(dot, 9, 0.0)[..., 0])
    assert set(rows) == {15}
    assert columns.max() - columns.min() == 8
