"""How large the network's pictures are: as large as the machine can bear, and it is said."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.gate.detector.input_size import fitting_size
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.shipped import BUNDLED_INPUT_SIZES, BUNDLED_WEIGHTS

SIZES = (512, 416, 320)


@pytest.mark.parametrize(
    ("square_ms", "cameras", "size"),
    [(25, 1, 512), (60, 1, 512), (80, 1, 416), (140, 1, 320), (900, 1, 320), (25, 4, 320)],
)
def test_slow_machines_and_many_cameras_have_smaller_pictures(square_ms, cameras, size):
    assert fitting_size(SIZES, square_ms, cameras) == size


def test_what_was_never_measured_is_not_made_smaller(caplog):
    assert fitting_size(SIZES, None, 16) == 512
    assert not caplog.records


def test_smaller_pictures_are_spoken_of(caplog):
    with caplog.at_level(logging.WARNING):
        fitting_size(SIZES, 80.0, 1)
    (said,) = caplog.messages
    assert "pictures of 416 px: at 512 px one takes 80 ms" in said
    assert "detector.input_size in gate.yaml says otherwise" in said


@given(st.floats(0.1, 1e4), st.floats(1, 10), st.integers(1, 15))
def test_a_slower_machine_or_another_camera_never_has_larger_ones(square_ms, slower, cameras):
    size = fitting_size(SIZES, square_ms, cameras)
    assert fitting_size(SIZES, square_ms * slower, cameras) <= size
    assert fitting_size(SIZES, square_ms, cameras + 1) <= size


def test_the_bundled_weights_begin_with_their_own_size():
    assert open_weights(BUNDLED_WEIGHTS).input_size == BUNDLED_INPUT_SIZES[0]
