"""The second look: four views of one face in one picture, and what speaks against it."""

import numpy as np
import pytest

from mask_gate.gate.detector.second_look import VIEW_PX, SecondLook, views_of
from mask_gate.gate.domain import Frame
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel

MASK, BARE, BADLY = MaskLabel
FRAME = Frame(np.full((480, 640, 3), 90, np.uint8), 1.0, 7)
BOX = (300.0, 200.0, 360.0, 280.0)
MIDDLES = [(x, y) for y in (128, 384) for x in (128, 384)]


def found(label, score=0.9, at_xy=MIDDLES[0]):
    """A detector that finds one face of this class in the picture of views."""
    x, y = at_xy
    box = np.array([[x - 60, y - 60, x + 60, y + 60]], np.float32)
    scores = np.array([score], np.float32)
    return lambda frame: Detections(box, scores, np.array([int(label)]), scores)


def says(detector, compliant=(MASK,)):
    return SecondLook(detector, compliant, 0.3)(FRAME, BOX)


@pytest.mark.parametrize("at_xy", MIDDLES)
@pytest.mark.parametrize("label", [BARE, BADLY])
def test_a_violation_in_any_view_is_doubt(label, at_xy):
    assert not says(found(label, at_xy=at_xy))


def test_a_mask_in_every_view_bears_out():
    assert says(found(MASK))


def test_a_view_without_a_face_says_nothing():
    assert says(lambda frame: Detections.empty())


def test_a_weak_violation_says_nothing():
    assert says(found(BARE, score=0.29))


def test_a_face_at_the_edge_of_a_view_is_another_one():
    assert says(found(BARE, at_xy=(20, 128)))


def test_what_may_pass_is_no_violation():
    assert says(found(BADLY), compliant=(MASK, BADLY))


def test_what_the_detector_raises_is_raised():
    def broken(frame):
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        says(broken)


@pytest.mark.parametrize(
    "box",
    [BOX, (0.0, 0.0, 640.0, 480.0), (-50.0, -50.0, 20.0, 20.0), (5.0, 5.0, 5.0, 5.0)],
)
def test_any_box_has_views(box):
    image = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    before = image.copy()
    views = views_of(image, box)
    assert views.shape == (2 * VIEW_PX, 2 * VIEW_PX, 3)
    assert (image == before).all()


@pytest.mark.parametrize("size", [60, 400])
def test_the_face_is_in_the_middle_of_each_view_mirrored_and_turned(size):
    image = np.zeros((900, 900, 3), np.uint8)
    left, top = 250, 200
    image[top : top + size, left : left + size // 2] = 255  # the left half of the face is white
    views = views_of(image, (left, top, left + size, top + size))
    mirrored = views[:VIEW_PX, :VIEW_PX]
    middle, step = VIEW_PX // 2, VIEW_PX // 8
    assert mirrored[middle, middle + step].min() > 200
    assert mirrored[middle, middle - step].max() < 50
    for view, side in ((views[:VIEW_PX, VIEW_PX:], 1), (views[VIEW_PX:, :VIEW_PX], -1)):
        angle = np.radians(180 - side * 40)  # where the left of the face has gone, y downwards
        x, y = middle + step * np.cos(angle), middle + step * np.sin(angle) * 1
        assert view[round(y), round(x)].min() > 200


def test_light_of_one_colour_is_taken_away():
    image = np.full((200, 200, 3), (200, 60, 40), np.uint8)
    balanced = views_of(image, (80.0, 80.0, 120.0, 120.0))[VIEW_PX:, VIEW_PX:]
    middle = balanced[VIEW_PX // 2, VIEW_PX // 2].astype(int)
    assert np.ptp(middle) <= 3
