"""Presentations: every way shows the face where its box says, and changes nothing it was given."""

import numpy as np
import pytest

from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.presentations import WAYS, Presentation, present

SIZE = 128
BOX = np.array([[10, 20, 40, 70], [50, 50, 90, 80]], np.float32)


@pytest.fixture
def sample():
    """A white face, 30 x 50 px, and a grey one in a dark picture."""
    image = np.full((100, 100, 3), 20, np.uint8)
    image[20:70, 10:40] = 255
    image[50:80, 50:90] = 100
    return Sample(image, BOX, np.array([1, 0]), "a")


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_every_way_gives_a_picture_of_one_face(sample, way):
    before = sample.image.copy()
    shown = present(sample, 0, way, SIZE, rng())
    assert shown.image.shape == (SIZE, SIZE, 3)
    assert shown.labels.tolist() == [1]
    x1, y1, x2, y2 = shown.boxes_xyxy[0]
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((SIZE / 2, SIZE / 2))
    assert (sample.image == before).all()
    assert (present(sample, 0, way, SIZE, rng()).image == shown.image).all()


def test_the_box_lies_on_the_face(sample):
    shown = present(sample, 0, WAYS[0], SIZE, rng())
    x1, y1, x2, y2 = shown.boxes_xyxy[0].round().astype(int)
    assert max(x2 - x1, y2 - y1) == SIZE / 4
    assert shown.image[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].min() == 255
    assert shown.image[y1 - 3, x1 - 3].max() < 60


@pytest.mark.parametrize("degrees", [-90, 90])
def test_a_face_on_its_side_has_its_box_on_the_side(sample, degrees):
    shown = present(sample, 0, Presentation("turned", degrees), SIZE, rng())
    x1, y1, x2, y2 = shown.boxes_xyxy[0]
    assert (x2 - x1, y2 - y1) == pytest.approx((32, 32 * 30 / 50))
    assert shown.image[round(y1) + 2 : round(y2) - 2, round(x1) + 2 : round(x2) - 2].min() == 255


def test_a_tilted_round_face_keeps_its_size():
    square = Sample(
        np.zeros((50, 50, 3), np.uint8), np.array([[5, 5, 45, 45]], np.float32), np.array([0]), "b"
    )
    box = present(square, 0, Presentation("tilted", 45), SIZE, rng()).boxes_xyxy[0]
    assert box[2] - box[0] == pytest.approx(SIZE / 4)


def test_where_the_picture_ends_there_is_grey(sample):
    shown = present(sample, 0, Presentation("far", face=0.05), SIZE, rng())
    assert shown.image[0, 0].tolist() == [128] * 3


def test_names_are_unique_and_thirteen_are_the_core():
    assert len({way.name for way in WAYS}) == len(WAYS)
    assert sum(way.is_core for way in WAYS) == 13
