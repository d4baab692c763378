"""The rules of a box: the value and the bound are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.training.data.box_rules import box_faults, format_number, parse_number

SIZE_WH = (100, 50)


@pytest.mark.parametrize(
    "box", [(0, 0, 100, 50), (1, 1, 101, 51), (10, 10, 11, 11), (0.25, 0.5, 99.75, 49.5)]
)
def test_boxes_inside_the_image_or_one_pixel_over_are_fine(box):
    assert box_faults(box, SIZE_WH) == []


@pytest.mark.parametrize(
    ("box", "fault"),
    [
        ((50, 5, 20, 30), "xmin 50 is not below xmax 20"),
        ((20, 5, 20, 30), "xmin 20 is not below xmax 20"),
        ((20, 30, 40, 5), "ymin 30 is not below ymax 5"),
        ((-1, 5, 20, 30), "xmin -1 is below 0"),
        ((20, 5, 102, 30), "xmax 102 is outside the image, whose width is 100"),
        ((20, 5, 40, 51.5), "ymax 51.5 is outside the image, whose height is 50"),
        ((20, 5, 20.5, 30), "the box is 0.5 px in width, less than 1"),
    ],
)
def test_a_bad_box_is_told_with_value_and_bound(box, fault):
    assert box_faults(box, SIZE_WH) == [fault]


def test_every_fault_of_a_box_is_told():
    assert len(box_faults((-5, -5, 200, 90), SIZE_WH)) == 4


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1_000", "1,5", "", " 5", "0x10", "٣", "1e"]
)
def test_what_float_or_int_would_let_pass_is_no_number(text):
    assert parse_number(text) is None


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_read_back_as_they_were_written(value):
    assert parse_number(format_number(value)) == value


def test_whole_numbers_have_no_point():
    assert format_number(105.0) == "105"
