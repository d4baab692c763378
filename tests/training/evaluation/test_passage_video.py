"""Approaches: the same seed draws the same frames, faces grow, and nobody brings a neighbour."""

import cv2
import numpy as np
import pytest

from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.passage_video import (
    FPS,
    MIN_FACE_PX,
    NEAR,
    SECONDS,
    SIZE_WH,
    Approach,
    people_of,
    person_of,
)


def sample_of(*boxes_xyxy, size_wh=(200, 160)):
    """A grey picture with a red oval in each box."""
    image = np.full((size_wh[1], size_wh[0], 3), 60, np.uint8)
    for x1, y1, x2, y2 in boxes_xyxy:
        middle, axes = ((x1 + x2) // 2, (y1 + y2) // 2), ((x2 - x1) // 2, (y2 - y1) // 2)
        cv2.ellipse(image, middle, axes, 0, 0, 360, (0, 0, 230), -1)
    labels = np.zeros(len(boxes_xyxy), np.int64)
    return Sample(image, np.array(boxes_xyxy, np.float32).reshape(-1, 4), labels, "drawn")


@pytest.fixture
def person():
    return person_of(sample_of((70, 40, 130, 110)), 0)


def pictures(approach):
    return [cv2.imdecode(np.frombuffer(j, np.uint8), cv2.IMREAD_COLOR) for j in approach.frames()]


def red_share(picture):
    return float((picture[..., 2].astype(int) - picture[..., 0] > 80).mean())


def test_a_passage_is_three_seconds_of_video(person):
    frames = pictures(Approach((person,), 0))
    assert len(frames) == SECONDS * FPS
    assert {frame.shape for frame in frames} == {(SIZE_WH[1], SIZE_WH[0], 3)}


def test_the_same_seed_draws_the_same_frames_and_another_does_not(person):
    first, again, other = (list(Approach((person,), seed).frames()) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_no_two_frames_are_the_same(person):
    """A gate takes a picture that repeats for a camera that froze."""
    frames = list(Approach((person,), 3).frames())
    assert len(set(frames)) == len(frames)


def test_people_come_nearer(person):
    frames = pictures(Approach((person,), 4))
    assert red_share(frames[-1]) > 3 * red_share(frames[0])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_they_are_near_soon_after_the_start_and_long_before_the_end(person, count):
    approach = Approach((person,) * count, 5)
    assert 0 < approach.near_s < SECONDS / 2
    assert len(list(approach.frames())) == SECONDS * FPS
    assert NEAR < 0.28


def test_small_faces_and_faces_beside_others_stay_at_home():
    small = round(MIN_FACE_PX) - 1
    assert person_of(sample_of((10, 10, 10 + small, 10 + small)), 0) is None
    pair = sample_of((40, 40, 90, 100), (100, 40, 150, 100))
    assert people_of([pair]) == []
    apart = sample_of((20, 40, 70, 100), (330, 40, 380, 100), size_wh=(400, 160))
    assert len(people_of([apart])) == 2
    assert people_of([sample_of()]) == []


def test_a_face_at_the_pictures_edge_comes_as_it_is():
    person = person_of(sample_of((0, 0, 60, 70)), 0)
    assert person is not None
    assert len(pictures(Approach((person,), 6))) == SECONDS * FPS
