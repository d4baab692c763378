"""LabelledFolder: what is read of `labels.json`, and the one sentence for what cannot be."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mask_gate.training.data.labelled_writer import LabelledWriter
from mask_gate.training.data.labels_json import LabelledFolder
from mask_gate.training.data.samples import AnnotatedImage
from mask_gate.training.errors import DataError

BOX = {"xyxy": [4, 6, 24, 30], "label": "without_mask"}


def entry(name="images/a.png", size_wh=(40, 50), boxes=(BOX,), **more):
    return {"file": name, "width": size_wh[0], "height": size_wh[1], "boxes": [*boxes], **more}


@pytest.fixture
def folder(tmp_path):
    """Writes `labels.json` and a grey picture for each entry; returns the folder."""

    def write(*entries, size_wh=(40, 50)):
        (tmp_path / "images").mkdir(exist_ok=True)
        for one in entries:
            picture = np.full((size_wh[1], size_wh[0], 3), 90, np.uint8)
            cv2.imwrite(str(tmp_path / one["file"]), picture)
        (tmp_path / "labels.json").write_text(json.dumps(entries), encoding="utf-8")
        return tmp_path

    return write


def test_pictures_come_with_their_faces(folder):
    found = LabelledFolder.open(folder(entry(), entry("images/b.png", boxes=())))
    first, second = (found.load(record) for record in found.images)
    assert first.boxes_xyxy.tolist() == [[4, 6, 24, 30]]
    assert first.labels.tolist() == [1]
    assert first.name.endswith("/images/a.png")
    assert second.boxes_xyxy.shape == (0, 4)


def test_boxes_come_along_when_a_picture_was_stored_smaller(folder):
    found = LabelledFolder.open(folder(entry(size_wh=(80, 100)), size_wh=(40, 50)))
    assert found.load(found.images[0]).boxes_xyxy.tolist() == [[2, 3, 12, 15]]


def test_boxes_are_cut_to_the_picture_and_nothing_left_is_no_face(folder):
    boxes = (
        {"xyxy": [-5, -5, 10, 10], "label": "with_mask"},
        {"xyxy": [90, 90, 99, 99], "label": "with_mask"},
    )
    found = LabelledFolder.open(folder(entry(boxes=boxes)))
    assert found.images[0].boxes_xyxy.tolist() == [[0, 0, 10, 10]]


def test_a_group_counts_as_one_picture_if_asked(folder):
    entries = [entry(f"images/{n}.png", group="video" if n else None) for n in range(4)]
    found = LabelledFolder.open(folder(*entries))
    assert found.times(2.0, by_group=False).tolist() == [2, 2, 2, 2]
    np.testing.assert_allclose(found.times(2.0, by_group=True), [2, 2 / 3, 2 / 3, 2 / 3])


@pytest.mark.parametrize(
    ("broken", "told"),
    [
        ({"label": "mask"}, r"0\.boxes\.0\.label: .*with_mask"),
        ({"xyxy": [1, 2, 3]}, r"0\.boxes\.0\.xyxy"),
        ({"xyxy": [1, 2, 3, float("nan")]}, r"0\.boxes\.0\.xyxy\.3"),
    ],
)
def test_a_broken_box_is_named_with_its_place(folder, broken, told):
    with pytest.raises(DataError, match=told):
        LabelledFolder.open(folder(entry(boxes=({**BOX, **broken},))))


def test_a_folder_without_the_file_says_what_is_expected(tmp_path):
    with pytest.raises(DataError, match=r"labels\.json"):
        LabelledFolder.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "3", '{"file": 1}', "[1]", "[[[["])
def test_what_is_not_a_list_of_pictures_is_refused(tmp_path, text):
    (tmp_path / "labels.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"labels\.json"):
        LabelledFolder.open(tmp_path)


def test_names_outside_the_folder_or_twice_are_refused(tmp_path):
    names = ["/etc/a.png", "../b.png", "c.png", "c.png"]
    (tmp_path / "labels.json").write_text(json.dumps([entry(n) for n in names]), encoding="utf-8")
    with pytest.raises(DataError) as refused:
        LabelledFolder.open(tmp_path)
    assert len(refused.value.problems) == 3


def test_a_picture_of_another_shape_is_refused(folder):
    found = LabelledFolder.open(folder(entry(size_wh=(80, 50))))
    with pytest.raises(DataError, match="is 40x50, its entry says 80x50"):
        found.load(found.images[0])


def test_what_is_written_is_read_whatever_it_is_called(tmp_path):
    out = tmp_path / "wild"
    box = np.array([[1, 2, 20, 30]], np.float32)
    record = AnnotatedImage(Path("a"), Path("a"), (40, 50), box, np.array([1]), "a")
    picture = cv2.imencode(".png", np.zeros((50, 40, 3), np.uint8))[1].tobytes()
    with LabelledWriter(out, "# wild\n") as writer:
        for number, original in enumerate(["a},{b", 'a"b']):
            writer.add(f"{number}.png", picture, record, original=original)
    found = LabelledFolder.open(out)
    assert [image.boxes_xyxy.tolist() for image in found.images] == [box.tolist()] * 2
    assert json.loads((out / "labels.json").read_text())[0]["original"] == "a},{b"
