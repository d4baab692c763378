"""Only faces that are bare, and only of images that training may see, are drawn on."""

import json

import cv2
import numpy as np
import pytest

from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.drawing.faces import bare_faces
from mask_gate.training.errors import DataError


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "people"
    (folder / "images").mkdir(parents=True)
    for name in ("b", "a"):
        cv2.imwrite(str(folder / f"images/{name}.png"), np.full((200, 200, 3), 90, np.uint8))
    return folder


def test_each_picture_of_a_folder_without_labels_is_one_face(pictures):
    faces = bare_faces(pictures)
    assert [face.person for face in faces] == ["people/images/a", "people/images/b"]
    assert all(face.box_xyxy is None for face in faces)
    assert faces[0].read() == (pictures / "images/a.png").read_bytes()


def test_of_labelled_pictures_only_large_bare_faces_are_taken(pictures):
    boxes = [
        {"xyxy": [10, 10, 90, 90], "label": "with_mask"},
        {"xyxy": [100, 10, 190, 120], "label": "without_mask"},
        {"xyxy": [10, 100, 30, 120], "label": "without_mask"},
    ]
    entry = {"file": "images/a.png", "width": 200, "height": 200, "boxes": boxes}
    (pictures / "labels.json").write_text(json.dumps([entry]))
    (face,) = bare_faces(pictures)
    assert face.person == "people/images/a#1"
    assert face.box_xyxy.tolist() == [100, 10, 190, 120]
    assert face.other_labels == (0, 1)


def test_validation_images_of_a_data_set_are_left_alone(tmp_path, draw):
    folder = draw(tmp_path / "set", size_wh=(800, 600))
    train = set(DatasetFolder.open(folder).stems_of_split["train"])
    stems = {face.person.partition("#")[0].split("/")[-1] for face in bare_faces(folder)}
    assert stems
    assert stems <= train


def test_a_folder_without_pictures_is_told(tmp_path):
    with pytest.raises(DataError, match="no picture"):
        bare_faces(tmp_path)
