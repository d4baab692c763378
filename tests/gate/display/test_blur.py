"""Privacy: a blurred face cannot be told from another one; what is judged stays as it is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.display.blur import BLOCKS, blur_faces
from mask_gate.gate.domain import Decision, Reason, State, Track

IMAGE = np.random.default_rng(3).integers(0, 256, (480, 640, 3), np.uint8)
BOX = (200.0, 100.0, 330.0, 260.0)
SEEN = Decision(State.CHECKING, Reason.UNCERTAIN, 5.0)


def face(box=BOX):
    return Track(1, box, (), 4.0, 5.0)


def test_a_face_and_its_surroundings_are_left_with_a_few_blocks():
    out = blur_faces(IMAGE, [face()], SEEN)
    area = out[100:260, 200:330].reshape(-1, 3)
    assert len(np.unique(area, axis=0)) <= 2 * BLOCKS * BLOCKS
    assert (out[70:90, 180:190] != IMAGE[70:90, 180:190]).any()


def test_what_is_no_face_stays():
    out = blur_faces(IMAGE, [face()], SEEN)
    assert (out[:, 400:] == IMAGE[:, 400:]).all()
    assert (blur_faces(IMAGE, [], SEEN) == IMAGE).all()


def test_with_a_fault_nobody_knows_where_faces_are_so_all_is_blurred():
    out = blur_faces(IMAGE, [], Decision(State.FAULT, Reason.MODEL_FAULT, 5.0))
    assert len(np.unique(out.reshape(-1, 3), axis=0)) < 600


def test_the_picture_given_is_left_alone():
    image = IMAGE.copy()
    image.flags.writeable = False
    assert not np.shares_memory(blur_faces(image, [face()], SEEN), image)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    box=st.tuples(*[st.floats(-200, 200) | st.just(float("nan"))] * 4),
    state=st.sampled_from(State),
)
def test_any_box_in_any_picture(size, box, state):
    image = np.zeros((*size, 3), np.uint8)
    decision = Decision(state, Reason.UNCERTAIN, 5.0)
    assert blur_faces(image, [face(box)], decision).shape == image.shape


@pytest.mark.parametrize("box", [(-50, -50, 10, 10), (630, 470, 700, 500), (0, 0, 640, 480)])
def test_faces_at_the_edge(box):
    out = blur_faces(IMAGE, [face(tuple(map(float, box)))], SEEN)
    assert (out != IMAGE).any()
