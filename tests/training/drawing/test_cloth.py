"""Cloth: drawn by chance, or flattened from cut-out pictures of masks."""

import cv2
import numpy as np
import pytest

from mask_gate.training.drawing.chest import MaskChest
from mask_gate.training.drawing.templates import flattened
from mask_gate.training.drawing.textures import (
    HEIGHT,
    PRINTS,
    WIDTH,
    cloth,
    crumpled,
    respirator,
    surgical,
)
from mask_gate.training.errors import DataError


@pytest.fixture
def template(tmp_path):
    """A red mask over a blue lower half with thin green straps, cut out."""
    picture = np.zeros((200, 400, 4), np.uint8)
    cv2.line(picture, (0, 20), (120, 80), (0, 200, 0, 255), 3)
    cv2.ellipse(picture, (200, 100), (110, 70), 0, 0, 360, (0, 0, 220, 255), -1)
    lower = picture[100:]
    lower[lower[..., 2] > 0] = (220, 0, 0, 255)
    (tmp_path / "set").mkdir()
    cv2.imwrite(str(tmp_path / "set/red.png"), picture)
    return tmp_path / "set/red.png"


@pytest.mark.parametrize("kind", [surgical, cloth, respirator])
def test_procedural_cloth_is_one_picture_for_one_seed(kind):
    for seed in range(4):
        texture = kind(np.random.default_rng(seed))
        assert texture.bgr.shape == (HEIGHT, WIDTH, 3)
        assert texture.bgr.dtype == np.float32
        assert -0.2 < texture.bgr.min() < texture.bgr.max() < 1.5
        assert np.array_equal(kind(np.random.default_rng(seed)).bgr, texture.bgr)


@pytest.mark.parametrize("name", PRINTS)
def test_every_print_mixes_two_colours(name):
    pattern = PRINTS[name](np.random.default_rng(2))
    assert pattern.shape == (HEIGHT, WIDTH)
    assert pattern.min() >= 0
    assert pattern.max() <= 1


def test_creases_shade_cloth_and_keep_its_size():
    flat = np.full((HEIGHT, WIDTH, 3), 0.8, np.float32)
    creased = crumpled(flat, np.random.default_rng(0), 0.3)
    assert creased.shape == flat.shape
    assert creased.std() > 0.01


def test_a_template_is_flattened_without_its_straps(template):
    flat = flattened(template)
    assert flat.shape == (HEIGHT, WIDTH, 3)
    blue, green, red = flat[:90].mean((0, 1)), flat[..., 1].max(), flat[HEIGHT - 90 :].mean((0, 1))
    assert blue[2] > 0.7 > 0.2 > blue[0]
    assert red[0] > 0.7 > 0.2 > red[2]
    assert green < 0.2


def test_a_picture_without_transparency_is_no_template(tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), np.full((50, 80, 3), 90, np.uint8))
    assert flattened(tmp_path / "photo.png") is None
    with pytest.raises(DataError, match="transparent"):
        MaskChest.open(tmp_path)


def test_the_chest_draws_templates_and_its_own(template):
    chest, rng = MaskChest.open(template.parents[1]), np.random.default_rng(0)
    names = {chest.draw(rng).name for _ in range(25)}
    assert "set/red" in names
    assert any(name.startswith("surgical") for name in names)
    without = {MaskChest().draw(rng).name for _ in range(5)}
    assert "set/red" not in without
