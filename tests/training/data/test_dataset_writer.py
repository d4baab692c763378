"""A written data set is whole or absent, nothing is overwritten, and conversion is exact."""

import filecmp

import numpy as np
import pytest

from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import (
    DatasetWriter,
    convert,
    write_file,
    write_split_lists,
)
from mask_gate.training.errors import OutputError

NAMES = {stem: f"images/{stem}.png" for stem in "abcx"}
BOXES, LABELS = np.array([[1, 2, 30, 40]], np.float32), np.array([2])


def add(writer, name="a.png"):
    writer.add(name, b"pixels", (64, 48), BOXES, LABELS)


def test_voc_layout(tmp_path):
    with DatasetWriter(tmp_path / "out", "voc") as writer:
        add(writer)
        writer.write_lists({"train": ["a"], "valid": []})
    names = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*"))
    assert names == ["annotations/a.xml", "images/a.png", "train.txt", "valid.txt"]
    assert (tmp_path / "out" / "images" / "a.png").read_bytes() == b"pixels"
    assert (tmp_path / "out" / "train.txt").read_text() == "a\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_yolo_layout_lists_image_paths_and_class_names(tmp_path):
    with DatasetWriter(tmp_path / "out", "yolo") as writer:
        add(writer, "a.webp")
        writer.write_lists({"train": ["a"]})
    assert (tmp_path / "out" / "train.txt").read_text() == "images/a.webp\n"
    assert (tmp_path / "out" / "classes.names").read_text().startswith("with_mask\n")
    assert (tmp_path / "out" / "labels" / "a.txt").read_text().startswith("2 0.2421875000 ")


def test_what_goes_wrong_half_way_leaves_nothing(tmp_path):
    def fail_half_way():
        with DatasetWriter(tmp_path / "out", "voc") as writer:
            add(writer)
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_may_be_filled_and_another_is_left_alone(tmp_path):
    (tmp_path / "empty").mkdir()
    with DatasetWriter(tmp_path / "empty", "voc") as writer:
        add(writer)
    assert (tmp_path / "empty" / "images" / "a.png").exists()
    before = sorted((tmp_path / "empty").rglob("*"))
    with (
        pytest.raises(OutputError, match="already there; choose a new folder"),
        DatasetWriter(tmp_path / "empty", "voc"),
    ):
        pytest.fail("the folder is taken")
    assert sorted((tmp_path / "empty").rglob("*")) == before


def test_two_images_of_one_name_are_refused(tmp_path):
    with DatasetWriter(tmp_path / "out", "voc") as writer:
        add(writer)
        with pytest.raises(OutputError, match="two images would have this name"):
            add(writer)


def test_lists_are_never_overwritten(tmp_path):
    write_split_lists(tmp_path / "lists", {"train": ["a", "b"], "valid": ["c"]}, NAMES)
    assert (tmp_path / "lists" / "train.txt").read_text() == "a\nb\n"
    with pytest.raises(OutputError, match=r"train\.txt: already there"):
        write_split_lists(tmp_path / "lists", {"train": ["x"]}, NAMES)
    assert (tmp_path / "lists" / "train.txt").read_text() == "a\nb\n"


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        write_file(tmp_path / "file" / "x.png", b"")
    assert caught.value.exit_code == 5
    with pytest.raises(OutputError, match="cannot be written"):
        write_split_lists(tmp_path / "file" / "lists", {"train": []}, NAMES)
    with (
        pytest.raises(OutputError, match="cannot be written"),
        DatasetWriter(tmp_path / "file" / "out", "voc"),
    ):
        pytest.fail("there is no such place")


def same_tree(first, second):
    def names(root):
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())

    assert names(first) == names(second)
    _, different, failed = filecmp.cmpfiles(first, second, names(first), shallow=False)
    assert different == failed == []


def test_there_and_back_is_the_same_data_set(drawn_dataset, tmp_path):
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    convert(DatasetFolder.open(tmp_path / "yolo"), tmp_path / "voc", "voc")
    same_tree(drawn_dataset, tmp_path / "voc")


def test_a_face_less_image_and_an_unlisted_one_are_kept(drawn_dataset, tmp_path):
    file = drawn_dataset / "annotations" / "face0.xml"
    text = file.read_text()
    file.write_text(text[: text.index("<object>")] + "</annotation>")
    (drawn_dataset / "train.txt").write_text("face1\nface0\n")
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    assert (tmp_path / "yolo" / "labels" / "face0.txt").read_bytes() == b""
    assert (tmp_path / "yolo" / "train.txt").read_text() == "images/face1.png\nimages/face0.png\n"
    back = DatasetFolder.open(tmp_path / "yolo")
    assert len(back.images) == 12
    assert back.fingerprint() == DatasetFolder.open(drawn_dataset).fingerprint()


def test_the_real_set_comes_back_byte_for_byte(real_data, tmp_path):
    original = DatasetFolder.open(real_data)
    convert(original, tmp_path / "yolo", "yolo")
    back = DatasetFolder.open(tmp_path / "yolo")
    assert back.fingerprint() == original.fingerprint()
    convert(back, tmp_path / "voc", "voc")
    for name in ("train.txt", "valid.txt"):
        assert (tmp_path / "voc" / name).read_bytes() == (real_data / name).read_bytes()
    for image in original.images:
        written = (tmp_path / "voc" / "annotations" / f"{image.stem}.xml").read_bytes()
        as_it_was = image.annotation_path.read_bytes().strip()
        suffix = image.image_path.suffix.encode() + b"</filename>"
        assert written == as_it_was.replace(b".png</filename>", suffix)
