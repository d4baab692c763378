"""Detector and Faces: the three lines of docs/api.md, and what they give."""

import json
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

import mask_gate
from mask_gate import Detector, Faces, GateError, MaskLabel
from mask_gate.models.detections import Detections
from mask_gate.models.shipped import ASSETS

PICTURE = ASSETS / "selftest" / "with_mask.jpg"


@pytest.fixture(scope="module")
def detector():
    return Detector(device="cpu")


def some(boxes, labels, image=None):
    image = np.full((200, 400, 3), 128, np.uint8) if image is None else image
    boxes = np.array(boxes, np.float32).reshape(-1, 4)
    scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
    return Faces(image, Detections(boxes, scores, np.array(labels, np.int64), scores))


def test_a_picture_by_its_name_and_by_its_pixels_is_the_same(detector):
    by_name, by_pixels = detector(str(PICTURE)), detector(cv2.imread(str(PICTURE)))
    assert by_name.labels == by_pixels.labels == ("with_mask",)
    assert by_name.boxes == pytest.approx(by_pixels.boxes, abs=2)
    face = by_name[0]
    assert (face.label, face.name) == (MaskLabel.WITH_MASK, "with_mask")
    assert 0.3 < face.score <= 1


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_a_photo_that_is_stored_turned_is_judged_upright(detector, tmp_path, orientation):
    quarters = {3: 2, 6: 1, 8: 3}[orientation]  # counter-clockwise, undone by the orientation
    exif = PillowImage.Exif()
    exif[0x0112] = orientation
    stored = np.rot90(cv2.imread(str(PICTURE))[..., ::-1], quarters)
    PillowImage.fromarray(np.ascontiguousarray(stored)).save(
        tmp_path / "photo.jpg", exif=exif, quality=95
    )
    faces = detector(str(tmp_path / "photo.jpg"))
    assert faces.labels == ("with_mask",)
    assert faces.boxes == pytest.approx(detector(str(PICTURE)).boxes, abs=3)


def test_nobody_is_no_face(detector):
    faces = detector(ASSETS / "selftest" / "empty.jpg")
    assert len(faces) == 0
    assert faces.labels == ()
    assert list(faces) == faces.to_coco() == faces.to_plain() == faces.crops() == []
    assert faces.to_yolo() == ""
    assert (faces.draw() == faces.image).all()


def test_what_is_drawn_has_the_size_of_the_picture_and_leaves_it_alone():
    faces = some([[20, 40, 120, 160]], [0])
    before = faces.image.copy()
    drawn = faces.draw()
    assert drawn.shape == faces.image.shape
    assert (drawn != faces.image).any()
    assert (faces.image == before).all()


def test_other_tools_get_their_own_boxes():
    faces = some([[20, 40, 120, 160], [300, 0, 400, 50]], [0, 2])
    assert faces.to_coco("a")[0] == {
        "image_id": "a",
        "category_id": 0,
        "bbox": [20, 40, 100, 120],
        "score": pytest.approx(0.9, abs=1e-4),
    }
    assert faces.to_yolo() == (
        "0 0.175000 0.500000 0.250000 0.600000\n2 0.875000 0.125000 0.250000 0.250000\n"
    )
    assert [crop.shape for crop in faces.crops()] == [(120, 100, 3), (50, 100, 3)]
    assert json.loads(json.dumps(faces.to_plain()))[1]["label"] == "mask_weared_incorrect"


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)]
)
def test_what_is_no_picture_is_refused_with_what_was_expected(detector, image):
    with pytest.raises(ValueError, match=r"expected a picture \[H, W, 3\] of uint8"):
        detector(image)


def test_a_wrong_score_is_a_sentence():
    with pytest.raises(GateError, match="min_score: expected a number"):
        Detector(min_score=2)


def test_every_public_name_can_be_had():
    assert mask_gate.__all__ == sorted(mask_gate.__all__)
    for name in mask_gate.__all__:
        assert getattr(mask_gate, name) is not None
    assert set(mask_gate.__all__) <= set(dir(mask_gate))
    with pytest.raises(AttributeError, match="nothing"):
        _ = mask_gate.nothing


def test_importing_loads_nothing():
    code = "import sys, mask_gate; sys.exit('numpy' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
