"""Letterbox: pixels and boxes move together, and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.models.letterbox import BORDER_GREY, INPUT_STEP, Letterbox

sides = st.integers(1, 2000)


@given(sides, sides, st.sampled_from([32, 320, 416, 608]))
def test_boxes_come_back(height, width, size):
    box = Letterbox((height, width), size)
    rng = np.random.default_rng(height * 7 + width)
    boxes = np.sort(rng.random((5, 2, 2)) * [width, height], axis=1).reshape(5, 4)
    boxes = boxes.astype(np.float32)
    there = box.boxes(boxes)
    assert (there >= -1e-3).all()
    assert (there <= size + 1e-3).all()
    np.testing.assert_allclose(
        box.inverse_boxes(there), boxes, atol=2e-3 * max(height, width) / 100
    )


@given(sides, sides)
def test_the_whole_image_fills_one_side(height, width):
    box = Letterbox((height, width), 416)
    x1, y1, x2, y2 = box.boxes(np.array([[0, 0, width, height]], np.float32))[0]
    assert max(x2 - x1, y2 - y1) == pytest.approx(416)
    assert abs((x1 + x2) / 2 - 208) <= 0.5 + 1e-3
    assert abs((y1 + y2) / 2 - 208) <= 0.5 + 1e-3


@pytest.mark.parametrize("size_hw", [(100, 201), (201, 100), (57, 57), (480, 640), (31, 640)])
def test_pixels_and_boxes_agree(size_hw):
    """A white rectangle's border, measured in the square, is where its box says (odd pads too)."""
    image = np.zeros((*size_hw, 3), np.uint8)
    y1, y2, x1, x2 = size_hw[0] // 4, size_hw[0] // 2, size_hw[1] // 4, size_hw[1] // 2
    image[y1:y2, x1:x2] = 255
    box = Letterbox(size_hw, 416)
    square = box.image(image)[..., 0].astype(float)
    expected = box.boxes(np.array([[x1, y1, x2, y2]], np.float32))[0]
    left, top, right, bottom = expected.round().astype(int)
    middle = square[(top + bottom) // 2], square[:, (left + right) // 2]
    for line, start, stop in ((middle[0], left, right), (middle[1], top, bottom)):
        white = np.flatnonzero(line > 192)
        assert abs(white[0] - start) <= box.gain + 1
        assert abs(white[-1] + 1 - stop) <= box.gain + 1


def test_the_border_is_grey_and_the_source_untouched():
    image = np.full((10, 40, 3), 7, np.uint8)
    square = Letterbox((10, 40), 416).image(image)
    assert square.shape == (416, 416, 3)
    assert (square[0] == BORDER_GREY).all()
    assert (square[208] == 7).all()
    assert (image == 7).all()


def test_boxes_outside_come_back_clipped_to_the_source():
    box = Letterbox((100, 200), 416)
    back = box.inverse_boxes(np.array([[-50, -50, 500, 500]], np.float32))
    np.testing.assert_allclose(back, [[0, 0, 200, 100]])


def test_no_boxes_are_ordinary():
    assert Letterbox((10, 10), 32).boxes(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_another_image_size_is_refused():
    with pytest.raises(ValueError, match=r"expected an image of \(10, 20\), got \(20, 10\)"):
        Letterbox((10, 20), 32).image(np.zeros((20, 10, 3), np.uint8))


def test_an_empty_image_is_refused():
    with pytest.raises(ValueError, match="at least 1 pixel"):
        Letterbox((0, 20), 32)


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("size_hw", [(100, 201), (480, 640), (1080, 1920), (57, 57)])
def test_a_canvas_may_be_used_again(size_hw, trimmed):
    box = Letterbox(size_hw, 416, trimmed=trimmed)
    canvas = box.canvas()
    for seed in range(2):
        image = np.random.default_rng(seed).integers(0, 256, (*size_hw, 3)).astype(np.uint8)
        assert box.image(image, canvas) is canvas
        np.testing.assert_array_equal(canvas, box.image(image))
        assert canvas.std() > 0


class TestATrimmedCanvas:
    @pytest.mark.parametrize(
        ("size_hw", "canvas_hw"),
        [
            ((1080, 1920), (288, 512)),
            ((480, 640), (384, 512)),
            ((200, 300), (384, 512)),
            ((640, 480), (512, 384)),
            ((100, 1000), (288, 512)),
            ((512, 640), (512, 512)),
            ((100, 100), (512, 512)),
        ],
        ids=["16:9", "4:3", "3:2", "3:4", "10:1", "5:4", "1:1"],
    )
    def test_is_of_few_shapes(self, size_hw, canvas_hw):
        assert Letterbox(size_hw, 512, trimmed=True).canvas_hw == canvas_hw

    @given(sides, sides, st.sampled_from([32, 320, 416, 608]))
    def test_is_a_part_of_the_square_and_holds_the_whole_image(self, height, width, size):
        square, box = (Letterbox((height, width), size, trimmed=t) for t in (False, True))
        corners = np.array([[0, 0, width, height]], np.float32)
        there = box.boxes(corners)
        assert (there >= 0).all()
        assert (there[0, 2:] <= np.array(box.canvas_hw[::-1]) + 1e-3).all()
        assert not any(side % INPUT_STEP or side > size for side in box.canvas_hw)
        cut_xy = (np.array(square.canvas_hw) - box.canvas_hw)[::-1] / 2
        np.testing.assert_allclose(
            there + np.tile(cut_xy, 2), square.boxes(corners), atol=0.5 + 1e-3
        )
        np.testing.assert_allclose(box.inverse_boxes(there), corners, rtol=1e-4, atol=1e-2)

    def test_shows_what_the_square_shows(self):
        image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
        square, trimmed = (Letterbox((480, 640), 416, trimmed=t).image(image) for t in (0, 1))
        np.testing.assert_array_equal(trimmed, square[48:-48])


@given(st.integers(32, 400), st.data())
def test_no_column_of_a_larger_picture_goes_unread(width, data):
    """What one column shows reaches the square, as the edge of a mask must."""
    column = data.draw(st.integers(0, width // 16 * 16 - 1))  # halving an odd width drops the last
    image = np.zeros((32, width, 3), np.uint8)
    image[:, column] = 255
    assert Letterbox((32, width), 32).image(image)[16].any()


def test_shrinking_keeps_the_brightness_of_fine_patterns():
    """Stripes a pixel wide are grey from afar, not black or white."""
    image = np.zeros((512, 512, 3), np.uint8)
    image[:, ::2] = 255
    assert Letterbox((512, 512), 128).image(image).std() < 1
