"""Conversion: VOC to YOLO and back is the same data set, byte for byte where bytes were ours."""

import filecmp

from mask_gate.training.data.convert import convert
from mask_gate.training.data.dataset import DatasetFolder


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
