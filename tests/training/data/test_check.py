"""The pre-flight: each group of bad input is found, named, and left as it was."""

import hashlib
import shutil
import struct
import unicodedata
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as PillowImage

from mask_gate.training.data.check import check
from mask_gate.training.data.dataset import DatasetFolder, turned_note
from mask_gate.training.data.dataset_writer import convert
from mask_gate.training.errors import DataError


def lines(path):
    found = check(path)
    return [str(problem) for problem in (*found.problems, *found.leaks)]


def digest(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def only(path, fault):
    """Make sure that one problem is found, and that its line says `fault`."""
    (line,) = lines(path)
    assert fault in line
    assert line.count("; ") >= 1
    assert "\n" not in line


def test_a_sound_data_set_has_no_problems(drawn_dataset):
    found = check(drawn_dataset)
    assert found.problems == found.leaks == ()
    assert found.notes == (f"split by the lists in {drawn_dataset}",)
    assert len(found.dataset.images) == 12


def test_progress_sees_every_image(drawn_dataset):
    seen = []

    def watch(names):
        for name in names:
            seen.append(name)
            yield name

    check(drawn_dataset, progress=watch)
    assert len(seen) == 12


def test_nothing_is_edited_and_everything_is_told_at_once(drawn_dataset):
    images, annotations = drawn_dataset / "images", drawn_dataset / "annotations"
    (images / "face0.png").write_bytes(b"")
    (images / "face1.png").write_bytes((images / "face1.png").read_bytes()[:-100])
    (annotations / "face2.xml").write_text("<annotation>")
    edit(annotations / "face3.xml", "with_mask", "With_Mask")
    edit(annotations / "face4.xml", "<xmin>", "<xmin>9999")
    (annotations / "face5.xml").unlink()
    (images / "face6.png").unlink()
    before = digest(drawn_dataset)
    told = "\n".join(lines(drawn_dataset))
    for fault in ("face0.png: empty", "face1.png: truncated", "face2.xml:1", "With_Mask", "9999"):
        assert fault in told
    assert "face5.png: an image without annotation" in told
    assert "face6.xml: an annotation without image" in told
    assert digest(drawn_dataset) == before


# Group 1: lists, and the same image on both sides


def test_group_1_missing_data(tmp_path):
    with pytest.raises(DataError, match="no such folder or archive"):
        check(tmp_path / "nowhere")


def test_group_1_an_empty_split(drawn_dataset):
    (drawn_dataset / "valid.txt").write_text("")
    assert "valid.txt: names no image" in lines(drawn_dataset)[0]


def test_group_1_validation_inside_train(drawn_dataset):
    (drawn_dataset / "valid.txt").write_text("face1\nface2\n")
    only(drawn_dataset, "images that appear in both train and valid: 2 (face1, face2)")


def test_group_1_the_same_pixels_under_two_names(drawn_dataset):
    image = cv2.imread(str(drawn_dataset / "images" / "face0.png"))
    other = drawn_dataset / "images" / "face9.png"
    cv2.imwrite(str(other), image, [cv2.IMWRITE_PNG_COMPRESSION, 0])  # other bytes, same pixels
    found = check(drawn_dataset)
    assert found.problems == ()
    (leak,) = found.leaks
    assert leak.what == "images that appear in both train and valid: 1 (face0 = face9)"
    assert found.notes[-1] == "1 groups of images have the same pixels: face0 = face9"


def test_the_same_pixels_in_one_split_are_a_note(drawn_dataset):
    shutil.copy(drawn_dataset / "images" / "face0.png", drawn_dataset / "images" / "face1.png")
    found = check(drawn_dataset)
    assert found.leaks == ()
    assert "face0 = face1" in found.notes[-1]


# Groups 2 to 5: images


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda data: b"", "face0.png: empty file"),
        (lambda data: data[:-30], "face0.png: truncated"),
        (lambda data: b"<html>404</html>", "face0.png: this is an HTML or XML document"),
        (lambda data: b"GIF89a", "face0.png: this is a GIF image"),
        (lambda data: b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer (`git"),
    ],
    ids=["group 2 empty", "group 2 truncated", "group 3 html", "group 3 gif", "group 3 lfs"],
)
def test_groups_2_and_3_broken_and_foreign_images(drawn_dataset, change, fault):
    path = drawn_dataset / "images" / "face0.png"
    path.write_bytes(change(path.read_bytes()))
    only(drawn_dataset, fault)


def test_group_4_an_image_turned_after_it_was_labelled(drawn_dataset):
    path = drawn_dataset / "images" / "face0.png"
    jpeg = cv2.imencode(".jpg", cv2.imread(str(path)))[1].tobytes()
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", 0x0112, 3, 1, 6, 0, 0)
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path.unlink()
    path.with_suffix(".jpg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    only(drawn_dataset, "face0.xml: says 128x96, face0.jpg is 96x128 (EXIF rotated?)")


def test_group_4_an_image_labelled_upright_and_stored_turned_is_counted(drawn_dataset):
    path = drawn_dataset / "images" / "face0.png"
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    with PillowImage.open(path) as image:
        stored = image.rotate(90, expand=True)
    stored.save(path, exif=exif)
    result = check(drawn_dataset)
    assert result.problems == ()
    assert turned_note(1) in result.notes


def test_group_5_a_bomb(drawn_dataset):
    body = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    ihdr = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    iend = struct.pack(">I", 0) + b"IEND" + struct.pack(">I", zlib.crc32(b"IEND"))
    (drawn_dataset / "images" / "face0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + ihdr + iend)
    only(drawn_dataset, "the image exceeds max_pixels")


# Group 6: names and paths


def test_group_6_paths_that_lead_out(drawn_dataset, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (drawn_dataset / "images" / "link.png").symlink_to(tmp_path / "secret.png")
    with (drawn_dataset / "train.txt").open("a") as file:
        file.write("../../etc/passwd\n")
    edit(drawn_dataset / "annotations" / "face11.xml", "face11.png", "/etc/passwd")
    told = lines(drawn_dataset)
    assert sum("outside the dataset root" in line for line in told) == 3


def test_group_6_names_of_every_kind_work(drawn_dataset):
    stem = unicodedata.normalize("NFD", "얼굴 사진")
    for folder, suffix in (("images", "png"), ("annotations", "xml")):
        file = drawn_dataset / folder / f"face0.{suffix}"
        file.rename(drawn_dataset / folder / f"{stem}.{suffix}")
    edit(drawn_dataset / "annotations" / f"{stem}.xml", "face0.png", "얼굴 사진.png")
    text = (drawn_dataset / "train.txt").read_text().replace("face0", "얼굴 사진")
    (drawn_dataset / "train.txt").write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert lines(drawn_dataset) == []


# Groups 7 to 10: annotations


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("</annotation>", "", "face9.xml:4"),
        ("<annotation>", "<!DOCTYPE a>\n<annotation>", "DTD not allowed"),
        ("<bndbox>", "<bndbox><xmin>1</xmin>", "<bndbox> has 2 <xmin> elements, expected one"),
        ("<xmax>", "<xmax><b/>", "<xmax> has no plain text"),
        ("<xmin>", "<xmin>-", "is below 0"),
        ("<xmin>", "<xmin>9", "is not below xmax"),
        ("<xmax>", "<xmax>9", "is outside the image, whose width is 128"),
        ("<xmin>", "<xmin>nan", "expected a number of pixels"),
        ("<xmin>", "<xmin>1_", "expected a number of pixels"),
        ("<name>with_mask", "<name>with-mask", "did you mean with_mask?"),
    ],
)
def test_groups_7_to_10_annotations(drawn_dataset, old, new, fault):
    edit(drawn_dataset / "annotations" / "face9.xml", old, new)
    told = lines(drawn_dataset)
    assert any(fault in line and "face9.xml:" in line for line in told)


def test_group_10_a_class_that_validation_never_shows(drawn_dataset):
    for number in range(8, 12):
        file = drawn_dataset / "annotations" / f"face{number}.xml"
        edit(file, "mask_weared_incorrect", "with_mask")
    only(drawn_dataset, "no face of class mask_weared_incorrect in valid")


def test_group_10_classes_of_another_model(drawn_dataset, tmp_path):
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    (tmp_path / "yolo" / "classes.names").write_text("with_mask\nwithout_mask\nmask_below\n")
    told = lines(tmp_path / "yolo")
    assert "classes.names:3: unknown class 'mask_below'" in told[0]
    assert "with --map mask_below=..." in told[0]


# Group 11: YOLO text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0 0.5 0.5 0.2\n", "face9.txt:1: 4 columns, expected 5"),
        ("0 0.5 0.5 0.2 0.2 9\n", "face9.txt:1: the sixth column is '9', expected a confidence"),
        ("0,0.5,0.5,0.2,0.2\n", "face9.txt:1: values are separated by commas"),
        ("0 64 48 20 20\n", "face9.txt:1: cx is 64, outside 0 to 1"),
        ("3 0.5 0.5 0.2 0.2\n", "face9.txt:1: class 3 does not exist"),
        ("0 0.5 0.5 0.2 0.2\n" * 2, "face9.txt:2: the same box as line 1"),
    ],
)
def test_group_11_yolo_lines(drawn_dataset, tmp_path, text, fault):
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    (tmp_path / "yolo" / "labels" / "face9.txt").write_text(text)
    assert any(fault in line for line in lines(tmp_path / "yolo"))


def test_group_11_labels_and_images_that_miss_each_other(drawn_dataset, tmp_path):
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    (tmp_path / "yolo" / "labels" / "stray.txt").write_text("")
    (tmp_path / "yolo" / "labels" / "face0.txt").unlink()
    told = lines(tmp_path / "yolo")
    assert any("stray.txt: an annotation without image" in line for line in told)
    assert any("face0.png: an image without annotation" in line for line in told)


def test_a_broken_image_of_a_yolo_set_is_told_once(drawn_dataset, tmp_path):
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    (tmp_path / "yolo" / "images" / "face0.png").write_bytes(b"")
    assert sum("empty file" in line for line in lines(tmp_path / "yolo")) == 1


def test_images_without_faces_or_split_are_noted(drawn_dataset):
    file = drawn_dataset / "annotations" / "face0.xml"
    text = file.read_text()
    file.write_text(text[: text.index("<object>")] + "</annotation>")
    (drawn_dataset / "train.txt").write_text("".join(f"face{n}\n" for n in range(7)))
    assert check(drawn_dataset).notes[1:] == ("1 images show no face", "1 images are in no split")


def test_a_data_set_of_one_image_is_ordinary(draw, tmp_path):
    told = lines(draw(tmp_path / "one", train=1, valid=1, size_wh=(64, 64)))
    assert told == []
    assert np.all(cv2.imread(str(tmp_path / "one" / "images" / "face0.png")).shape == (64, 64, 3))
