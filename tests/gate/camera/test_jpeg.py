"""JPEG bytes before they are decoded: whole or cut off, and how large they claim to be."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.camera.jpeg import jpeg_size_hw


def jpeg(height=48, width=64, quality=90, channels=3, *flags):
    rng = np.random.default_rng(5)
    image = cv2.resize(rng.integers(0, 256, (6, 8, channels), np.uint8), (width, height))
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality, *flags])[1].tobytes()


WHOLE = jpeg()


@given(st.integers(1, 300), st.integers(1, 300), st.booleans(), st.booleans())
def test_the_size_is_that_of_the_picture(height, width, grey, progressive):
    flags = (cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive))
    assert jpeg_size_hw(jpeg(height, width, 90, 1 if grey else 3, *flags)) == (height, width)


@given(st.integers(0, len(WHOLE) - 3))
def test_one_cut_off_anywhere_is_none(end):
    assert jpeg_size_hw(WHOLE[:end]) is None


def test_one_that_ends_with_its_pixels_only_is_none():
    assert jpeg_size_hw(WHOLE[:-2]) is None
    assert jpeg_size_hw(WHOLE[2:]) is None


@pytest.mark.parametrize("padding", [b"\0", b"\r\n", b"\n", b"\0" * 30])
def test_padding_after_its_end_is_no_damage(padding):
    assert jpeg_size_hw(WHOLE + padding) == (48, 64)


def test_fill_bytes_and_other_segments_before_the_size_are_passed_over():
    comment = b"\xff\xfe" + (2 + 300).to_bytes(2, "big") + b"\xff\xc0" * 150
    assert jpeg_size_hw(WHOLE[:2] + comment + b"\xff\xff\xff" + WHOLE[2:]) == (48, 64)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff" * 5000 + b"\xff\xd9",
        b"\xff\xd8" + b"\xff\x01" * 5000 + b"\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x08\xff\xd9",
        b"\xff\xd8\xff\xe0\0\0\xff\xd9",
        b"\xff\xd8\xff\xda\0\x08" + b"\0" * 100 + b"\xff\xd9",
        b"\xff\xd8\xff\xc0\0\x11\x08\0\0\0\x10" + b"\0" * 100 + b"\xff\xd9",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 50,
    ],
    ids=[
        "nothing", "empty", "fill", "markers", "short", "no length", "no size", "no height", "png"
    ],
)  # fmt: skip
def test_what_is_no_jpeg_is_none(data):
    assert jpeg_size_hw(data) is None


@given(st.binary(max_size=2000))
def test_no_bytes_break_it(data):
    for content in (data, b"\xff\xd8" + data + b"\xff\xd9", WHOLE[:100] + data + b"\xff\xd9"):
        size_hw = jpeg_size_hw(content)
        assert size_hw is None or min(size_hw) > 0
