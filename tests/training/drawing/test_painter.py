"""From one bare face to labelled pictures: by chance, but by the seed and the person alone."""

import cv2
import numpy as np
import pytest

from mask_gate.models.labels import MaskLabel
from mask_gate.training.drawing.blend import light_at
from mask_gate.training.drawing.chest import MaskChest
from mask_gate.training.drawing.head import Head
from mask_gate.training.drawing.masks import wear
from mask_gate.training.drawing.negatives import NEGATIVES, draw_negative
from mask_gate.training.drawing.painter import SHARES, Painter, Task, label_of
from mask_gate.training.drawing.textures import surgical
from mask_gate.training.drawing.wear import WAYS
from mask_gate.training.errors import DataError

NOBODY = np.zeros((0, 4))


@pytest.fixture
def task(portrait):
    content = cv2.imencode(".png", portrait)[1].tobytes()
    return Task("portraits/one", content, None, NOBODY, ())


ALL = len(SHARES)


def painter(landmarker, each=ALL, seed=0):
    return Painter(landmarker, MaskChest(), SHARES, each, seed)


def test_every_variant_comes_with_its_label_and_the_mask_it_shows(face, known_face, task):
    drawn = painter(known_face(face())).draw(task)
    assert {one.variant for one in drawn} == set(SHARES)
    for one in drawn:
        assert one.labels == (label_of(one.variant),)
        assert bool(one.template) == (one.variant in {*WAYS, "hanging", "held"})
        assert one.boxes_xyxy.shape == (1, 4)


def test_the_seed_and_the_person_decide_and_nothing_else(face, known_face, task):
    first = painter(known_face(face()), each=2).draw(task)
    other = Task("portraits/two", task.data, None, NOBODY, ())
    one_painter = painter(known_face(face()), each=2)
    one_painter.draw(other)
    again = one_painter.draw(task)
    assert [one.variant for one in first] == [one.variant for one in again]
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(first, again, strict=True))
    reseeded = painter(known_face(face()), each=2, seed=1).draw(task)
    assert any(
        a.picture.shape != b.picture.shape or (a.picture != b.picture).any()
        for a, b in zip(first, reseeded, strict=False)
    )


def test_the_other_faces_of_a_picture_keep_their_labels(face, known_face, task):
    others = np.array([[5.0, 5, 45, 55], [270, 200, 310, 250]])
    labels = (MaskLabel.WITH_MASK, MaskLabel.WITHOUT_MASK)
    box = np.array([100.0, 50, 220, 210])
    among = Task(task.person, task.data, box, others, labels)
    for one in painter(known_face(face()), each=3).draw(among):
        assert one.labels[1:] == labels
        assert len(one.boxes_xyxy) == 3


@pytest.mark.parametrize("odd", [{"score": 0.3}, {"count": 0}, {"count": 2}])
def test_a_face_that_is_not_sure_is_left_alone(face, known_face, task, odd):
    assert painter(known_face(face(), **odd)).draw(task) == []


def test_a_face_cut_off_at_the_chin_is_left_alone(face, known_face, task):
    assert painter(known_face(face(at=(160, 250)))).draw(task) == []


def test_a_damaged_picture_is_told_by_the_name_of_the_person(face, known_face, task):
    broken = Task(task.person, task.data[:200], None, NOBODY, ())
    with pytest.raises(DataError, match="portraits/one"):
        painter(known_face(face())).draw(broken)


@pytest.mark.parametrize("kind", NEGATIVES)
def test_what_looks_like_a_mask_leaves_the_face_without_one(face, portrait, kind):
    head = Head(face())
    out, _ = draw_negative(portrait, head, kind, MaskChest(), np.random.default_rng(0))
    assert out.shape == portrait.shape
    assert (np.abs(out.astype(int) - portrait).max(2) > 20).sum() > 100
    assert label_of(kind) is MaskLabel.WITHOUT_MASK


def test_cloth_in_a_dark_picture_is_dark(face, portrait):
    head, texture = Head(face()), surgical(np.random.default_rng(0))
    dark = (portrait * 0.3).astype(np.uint8)
    means = []
    for picture in (portrait, dark):
        out, cover = wear(picture, head, WAYS["proper"], texture, np.random.default_rng(5))
        means.append(out[cover > 0.9].mean())
    assert means[1] < 0.55 * means[0]
    assert light_at(dark, head).gain < light_at(portrait, head).gain


def test_pixels_far_from_the_mask_stay_as_they_are(face, portrait):
    head, texture = Head(face()), surgical(np.random.default_rng(0))
    out, cover = wear(portrait, head, WAYS["proper"], texture, np.random.default_rng(5))
    assert np.array_equal(out[:60], portrait[:60])
    assert cover[:60].max() == 0
