"""The camera frames and lights what was drawn, and the boxes go with it."""

import numpy as np
import pytest

from mask_gate.training.drawing.camera import face_box, shoot, turned
from mask_gate.training.drawing.head import Head

NOBODY = np.zeros((0, 4))


@pytest.mark.parametrize("seed", range(12))
def test_boxes_go_with_the_picture_however_it_is_turned_and_mirrored(face, portrait, seed):
    mark = np.array([[20.0, 30, 60, 70]])
    portrait[:] = 60
    portrait[30:70, 20:60] = 255
    cover = np.zeros(portrait.shape[:2], np.float32)
    shot = shoot(portrait, face(), cover, mark, np.random.default_rng(seed))
    bright = np.argwhere(shot.picture.mean(2) > 0.8 * shot.picture.mean(2).max())[:, ::-1]
    x1, y1, x2, y2 = shot.others_xyxy[0]
    assert (x1 + x2) / 2 == pytest.approx(np.median(bright[:, 0]), abs=6)
    assert (y1 + y2) / 2 == pytest.approx(np.median(bright[:, 1]), abs=6)


@pytest.mark.parametrize("seed", range(12))
def test_a_face_alone_is_in_the_picture_and_large_enough(face, portrait, seed):
    cover = np.zeros(portrait.shape[:2], np.float32)
    shot = shoot(portrait, face(), cover, NOBODY, np.random.default_rng(seed))
    height, width = shot.picture.shape[:2]
    x1, y1, x2, y2 = shot.box_xyxy
    assert 0 <= x1 < x2 <= width
    assert 0 <= y1 < y2 <= height
    assert (y2 - y1) / height > 0.15
    assert shot.others_xyxy.shape == (0, 4)
    assert shot.shown == 0


def test_the_same_seed_takes_the_same_picture(face, portrait):
    cover = np.zeros(portrait.shape[:2], np.float32)
    first, second, other = (
        shoot(portrait, face(), cover, NOBODY, np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert np.array_equal(first.picture, second.picture)
    assert first.picture.shape != other.picture.shape or (first.picture != other.picture).any()


def test_some_rooms_are_dark_but_something_can_be_seen(face, portrait):
    cover = np.zeros(portrait.shape[:2], np.float32)
    shots = [shoot(portrait, face(), cover, NOBODY, np.random.default_rng(s)) for s in range(40)]
    dark = [shot.picture.mean() for shot in shots if shot.light == "dark"]
    day = [shot.picture.mean() for shot in shots if shot.light == "day"]
    assert dark
    assert 10 < min(dark) < max(dark) < 75 < np.median(day)


def test_how_much_cloth_is_shown_is_told_in_areas_of_the_face(face, portrait):
    points = face()
    x1, y1, x2, y2 = face_box(points[:, :2]).astype(int)
    cover = np.zeros(portrait.shape[:2], np.float32)
    cover[y1:y2, x1:x2] = 1
    shot = shoot(portrait, points, cover, NOBODY, np.random.default_rng(0))
    assert shot.shown == pytest.approx(1, abs=0.25)


def test_a_turn_by_parallax_moves_the_nose_and_leaves_the_wall(face, portrait):
    points = face()
    cover = np.zeros(portrait.shape[:2], np.float32)
    out, _, moved = turned(portrait, cover, points, np.random.default_rng(1))
    assert out.shape == portrait.shape
    assert np.abs(out[:20].astype(int) - portrait[:20]).max() <= 1
    assert np.linalg.norm(moved[:, :2] - points[:, :2], axis=1).max() > 1
    assert abs(Head(moved).yaw_deg) > 2
