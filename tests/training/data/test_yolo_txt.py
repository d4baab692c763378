"""YOLO text: pixels come back exactly; each fault is named with its line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.training.data.yolo_txt import read_yolo, write_yolo
from mask_gate.training.errors import DataError

GOOD = "0 0.5 0.5 0.25 0.25\n"


def faults(text, size_wh=(100, 80)):
    with pytest.raises(DataError) as caught:
        read_yolo(text if isinstance(text, bytes) else text.encode(), "a.txt", size_wh)
    return [str(problem) for problem in caught.value.problems]


def test_an_empty_file_says_that_nobody_is_there():
    boxes, labels = read_yolo(b"", "a.txt", (100, 80))
    assert boxes.shape == (0, 4)
    assert labels.shape == (0,)
    assert write_yolo(boxes, labels, (100, 80)) == b""


def test_a_line_is_class_centre_and_size_in_shares():
    boxes, labels = read_yolo(b"\xef\xbb\xbf2 0.5 0.5 0.2 0.5\r\n\r\n", "a.txt", (100, 80))
    assert boxes.tolist() == [[40, 20, 60, 60]]
    assert labels.tolist() == [2]


def test_numbers_as_numpy_writes_them_and_a_confidence_are_read():
    text = b"1.0e+00 5.0e-01 5.0e-01 2.0e-01 5.0e-01 9.9e-01\n2.0 0.5 0.5 0.2 0.5\n"
    boxes, labels = read_yolo(text, "a.txt", (100, 80))
    assert labels.tolist() == [1, 2]
    assert boxes[0].tolist() == boxes[1].tolist() == [40, 20, 60, 60]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_text_as_windows_saves_it_is_read(encoding):
    boxes, _ = read_yolo("0 0.5 0.5 0.2 0.5\r\n".encode(encoding), "a.txt", (100, 80))
    assert boxes.tolist() == [[40, 20, 60, 60]]


def test_numbers_mean_what_they_are_said_to_mean_and_some_are_left_out():
    text = b"0 0.5 0.5 0.2 0.5\n1 0.5 0.5 0.2 0.5\n2 0.5 0.5 0.2 0.5\n"
    boxes, labels = read_yolo(text, "a.txt", (100, 80), (1, -1, 0))
    assert labels.tolist() == [1, 0]
    assert len(boxes) == 2


@st.composite
def annotated_images(draw, step):
    """Image size, boxes on the grid of `step` px (up to one pixel over the edge), and labels."""
    size_wh = draw(st.tuples(st.integers(8, 20_000), st.integers(8, 20_000)))

    def span(side):
        low = draw(st.integers(0, round((side - 1) / step)))
        high = draw(st.integers(low + round(1 / step), round((side + 1) / step)))
        return low * step, high * step

    spans = [(span(size_wh[0]), span(size_wh[1])) for _ in range(draw(st.integers(0, 4)))]
    boxes = {(x1, y1, x2, y2) for (x1, x2), (y1, y2) in spans}
    labels = draw(st.lists(st.integers(0, 2), min_size=len(boxes), max_size=len(boxes)))
    return size_wh, np.array(sorted(boxes), np.float32).reshape(-1, 4), np.array(labels, np.int64)


@pytest.mark.parametrize("step", [1, 0.25, 0.125])
@given(data=st.data())
def test_pixels_come_back_exactly(step, data):
    size_wh, boxes, labels = data.draw(annotated_images(step))
    found_boxes, found_labels = read_yolo(write_yolo(boxes, labels, size_wh), "a.txt", size_wh)
    np.testing.assert_array_equal(found_boxes, boxes)
    np.testing.assert_array_equal(found_labels, labels)


@given(st.integers(0, 3000), st.integers(2, 1000), st.integers(4000, 6000))
def test_six_decimals_of_other_tools_are_good_to_a_hundredth_of_a_pixel(x1, width, side):
    shares = f"0 {(x1 + width / 2) / side:.6f} 0.5 {width / side:.6f} 1.000000\n"
    boxes, _ = read_yolo(shares.encode(), "a.txt", (side, 80))
    assert boxes[0] == pytest.approx([x1, 0, x1 + width, 80], abs=0.01)


# Group 11


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("0 0.5 0.5 0.25", "4 columns, expected 5"),
        ("0 0.5 0.5 0.25 0.25 1.5", "the sixth column is '1.5', expected a confidence from 0 to 1"),
        ("0 .1 .1 .2 .1 .2 .2 .1 .2", "an outline of points, no box; export boxes"),
        ("1.5 0.5 0.5 0.25 0.25", "class '1.5' is no whole number"),
        ("0,0.5,0.5,0.25,0.25", "values are separated by commas"),
        ("0 50 0.5 0.25 0.25", "cx is 50, outside 0 to 1; divide pixels by the width"),
        ("0 0.5 -0.5 0.25 0.25", "cy is -0.5, outside 0 to 1"),
        ("3 0.5 0.5 0.25 0.25", "class 3 does not exist, there are 3; use 0 to 2"),
        ("-1 0.5 0.5 0.25 0.25", "class '-1' is no whole number"),
        ("with_mask 0.5 0.5 0.25 0.25", "class 'with_mask' is no whole number"),
        ("0 nan 0.5 0.25 0.25", "cx is 'nan', expected a number from 0 to 1"),
        ("0 0.5 0.5 0 0.25", "xmin 50 is not below xmax 50"),
        ("0 0.5 0.5 0.005 0.25", "the box is 0.5 px in width, less than 1"),
        ("0 0.9 0.5 0.5 0.25", "xmax 115 is outside the image, whose width is 100"),
        (GOOD.strip(), "the same box as line 1; remove one of the two lines"),
    ],
)
def test_a_bad_line_is_named(line, fault):
    (found,) = faults(f"{GOOD}{line}\n")
    assert found.startswith(f"a.txt:2: {fault}")


def test_every_bad_line_is_told():
    assert len(faults("9 1 1\nx\n0 2 2 2 2\n")) == 3


def test_a_file_that_is_no_text_names_the_byte():
    (found,) = faults(b"0 0.5 \xff")
    assert found.startswith("a.txt:1: byte 0xff at column 7 is not UTF-8")
    (found,) = faults(b"0" * 1_000_001)
    assert "1000001 bytes" in found
