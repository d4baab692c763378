"""The preview sheet: every image, every box, in the colour of its class."""

import numpy as np
import pytest

from mask_gate.models.class_colours import class_bgr
from mask_gate.training.data.preview import CELL_WH, GAP_PX, draw_sheet
from mask_gate.training.data.samples import Sample


def sample(size_wh=(120, 90), boxes=((20, 20, 80, 70),), labels=(0,), name="face"):
    image = np.full((size_wh[1], size_wh[0], 3), 128, np.uint8)
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    return Sample(image, boxes, np.array(labels, np.int64), name)


def has_colour(picture, label):
    """Whether the class's pure colour is somewhere below the legend."""
    return bool((picture[40:] == class_bgr(label)).all(axis=2).any())


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_box_has_the_colour_of_its_class(label):
    sheet = draw_sheet([sample(labels=(label,))], 1)
    assert [has_colour(sheet, other) for other in range(3)] == [
        other == label for other in range(3)
    ]


def test_an_image_without_faces_has_no_boxes():
    sheet = draw_sheet([sample(boxes=(), labels=())], 1)
    assert not any(has_colour(sheet, label) for label in range(3))


def test_rows_hold_so_many_columns_and_are_as_high_as_they_need():
    one = draw_sheet([sample()], 2)
    assert one.shape[1] == 2 * (CELL_WH[0] + GAP_PX)
    three = draw_sheet([sample()] * 3, 2)
    flat = draw_sheet([sample(size_wh=(400, 40), boxes=(), labels=())], 2)
    assert three.shape[0] > one.shape[0] > flat.shape[0]


@pytest.mark.parametrize("size_wh", [(1, 1), (3000, 2), (2, 3000), (1000, 1000)])
def test_images_of_any_size_fit_their_cell(size_wh):
    sheet = draw_sheet([sample(size_wh, boxes=(), labels=())], 1)
    assert sheet.shape[1] == CELL_WH[0] + GAP_PX
    assert sheet.shape[0] < CELL_WH[1] + 100


def test_the_samples_are_left_as_they_are():
    given = sample()
    before = given.image.copy()
    draw_sheet([given], 1)
    np.testing.assert_array_equal(given.image, before)
