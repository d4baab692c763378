"""Data sets: the same samples from every layout, and every fault of lists and pairs is told."""

import shutil
import unicodedata
import zipfile

import cv2
import numpy as np
import pytest

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.dataset import DatasetFolder, scan
from mask_gate.training.data.dataset_writer import convert
from mask_gate.training.errors import DataError


def problems_of(path, lists=None):
    return [str(problem) for problem in scan(path, lists)[1]]


def zipped(folder, path, inside=""):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, f"{inside}{file.relative_to(folder)}")
    return path


def test_images_splits_and_samples(drawn_dataset):
    dataset = DatasetFolder.open(drawn_dataset)
    assert len(dataset.images) == 12
    assert [image.stem for image in dataset.split("train")] == [f"face{n}" for n in range(8)]
    assert len(dataset.split("valid")) == 4
    assert dataset.is_listed
    record = dataset.images[0]
    sample = dataset.load(record)
    assert sample.name == record.stem == "face0"
    assert sample.size_hw == (96, 128)
    assert record.size_wh == (128, 96)
    np.testing.assert_array_equal(sample.boxes_xyxy, record.boxes_xyxy)
    assert sorted(sample.labels) == [0, 1, 2]


def test_a_split_that_does_not_exist_is_told(drawn_dataset):
    with pytest.raises(DataError, match="no split 'test', there are train, valid"):
        DatasetFolder.open(drawn_dataset).split("test")


@pytest.mark.parametrize("layout", ["archive", "inner folder", "beside", "webp", "yolo"])
def test_every_layout_holds_the_same_data(drawn_dataset, tmp_path, layout):
    original = DatasetFolder.open(drawn_dataset)
    place = tmp_path / "place"
    if layout == "archive":
        place = zipped(drawn_dataset, tmp_path / "archive.zip", inside="face-mask/")
    elif layout == "beside":
        place.mkdir()
        zipped(drawn_dataset, place / "archive.zip")
    elif layout == "inner folder":
        shutil.copytree(drawn_dataset, place / "face-mask")
    elif layout == "yolo":
        convert(original, place, "yolo")
    else:
        shutil.copytree(drawn_dataset, place)
        for file in place.glob("images/*.png"):
            lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
            cv2.imwrite(str(file.with_suffix(".webp")), cv2.imread(str(file)), lossless)
            file.unlink()
    dataset = DatasetFolder.open(place)
    assert dataset.fingerprint() == original.fingerprint()
    for ours, theirs in zip(dataset.images, original.images, strict=True):
        np.testing.assert_array_equal(dataset.load(ours).image, original.load(theirs).image)


def test_the_fingerprint_sees_a_moved_box_and_another_split(drawn_dataset):
    before = DatasetFolder.open(drawn_dataset).fingerprint()
    assert DatasetFolder.open(drawn_dataset).fingerprint() == before
    lists = drawn_dataset / "train.txt"
    lists.write_text(lists.read_text().replace("face0\n", ""))
    split = DatasetFolder.open(drawn_dataset).fingerprint()
    file = drawn_dataset / "annotations" / "face1.xml"
    file.write_text(file.read_text().replace("<name>with_mask", "<name>without_mask"))
    assert len({before, split, DatasetFolder.open(drawn_dataset).fingerprint()}) == 3


def test_without_lists_the_split_is_seeded_and_says_so(drawn_dataset):
    for name in ("train.txt", "valid.txt"):
        (drawn_dataset / name).unlink()
    dataset = DatasetFolder.open(drawn_dataset, seed=3)
    assert not dataset.is_listed
    assert dataset.split_note.startswith(
        "no train.txt and valid.txt: split by seed 3, stratified by the rarest class, "
        "11 train and 1 valid images"
    )
    again = DatasetFolder.open(drawn_dataset, seed=3)
    assert dict(again.stems_of_split) == dict(dataset.stems_of_split)


def test_lists_may_lie_elsewhere(drawn_dataset, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("face11\n")
    (lists / "valid.txt").write_text("face2\n")
    dataset = DatasetFolder.open(drawn_dataset, lists)
    assert [image.stem for image in dataset.split("train")] == ["face11"]
    with pytest.raises(DataError, match="nowhere: no such folder"):
        DatasetFolder.open(drawn_dataset, tmp_path / "nowhere")


def test_lists_with_paths_windows_line_ends_and_a_mark_work(drawn_dataset):
    text = "\ufeffimages/face0.png\r\n./images/face1.png\r\n\r\nface2\r\n"
    (drawn_dataset / "train.txt").write_bytes(text.encode())
    dataset = DatasetFolder.open(drawn_dataset)
    assert dataset.stems_of_split["train"] == ("face0", "face1", "face2")


def test_korean_names_agree_composed_or_not_and_spaces_are_fine(drawn_dataset):
    name = "마스크 쓴 얼굴.v2"
    apart, composed = (unicodedata.normalize(form, name) for form in ("NFD", "NFC"))
    (drawn_dataset / "images" / "face0.png").rename(drawn_dataset / "images" / f"{apart}.png")
    file = drawn_dataset / "annotations" / "face0.xml"
    text = file.read_text().replace("face0.png", f"{apart}.png")
    file.unlink()
    (drawn_dataset / "annotations" / f"{composed}.xml").write_text(text, encoding="utf-8")
    lists = drawn_dataset / "train.txt"
    lists.write_text(lists.read_text().replace("face0", apart), encoding="utf-8")
    dataset = DatasetFolder.open(drawn_dataset)
    record = dataset.split("train")[0]
    assert record.stem == composed
    assert dataset.load(record).size_hw == (96, 128)


def test_a_test_split_is_optional(drawn_dataset):
    lists = drawn_dataset / "valid.txt"
    (drawn_dataset / "test.txt").write_text("face11\n")
    lists.write_text(lists.read_text().replace("face11\n", ""))
    assert len(DatasetFolder.open(drawn_dataset).split("test")) == 1


# Faults: all are told at once, none is repaired


def test_open_tells_every_fault_at_once(drawn_dataset):
    (drawn_dataset / "images" / "face3.png").unlink()
    (drawn_dataset / "annotations" / "face5.xml").unlink()
    (drawn_dataset / "annotations" / "face6.xml").write_text("<annotation>")
    with pytest.raises(DataError) as caught:
        DatasetFolder.open(drawn_dataset)
    text = str(caught.value)
    assert "face3.xml: an annotation without image" in text
    assert "face5.png: an image without annotation; add annotations/face5.xml" in text
    assert "face6.xml:1: not well-formed XML" in text
    assert "train.txt:4: no annotated image 'face3'" in text


def test_list_lines_that_cannot_be_right_are_told_with_their_number(drawn_dataset):
    lines = ["face0", "/data/other.png", "../face2", "face0", "fase3", b"\xff", "cat", "C:\\face4"]
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    (drawn_dataset / "train.txt").write_bytes(data)
    told = [text.split("train.txt:")[1] for text in problems_of(drawn_dataset)]
    assert told == [
        "2: '/data/other.png' is outside the dataset root; name the image by its stem",
        "3: '../face2' is outside the dataset root; name the image by its stem",
        "4: 'face0' again, first on line 1; remove one of the two",
        "5: no annotated image 'fase3'; did you mean face3?",
        "6: byte 0xff at column 1 is not UTF-8; save the list as UTF-8",
        "7: no annotated image 'cat'; remove the line or add the image",
        "8: 'C:\\\\face4' is outside the dataset root; name the image by its stem",
    ]


def test_an_image_in_two_splits_is_told(drawn_dataset):
    shutil.copy(drawn_dataset / "train.txt", drawn_dataset / "valid.txt")
    (told,) = problems_of(drawn_dataset)
    assert "images that appear in both train and valid: 8 (face0, face1, face2" in told


@pytest.mark.parametrize(
    ("lists", "fault"),
    [
        ({"train.txt": "face0\n"}, "valid.txt: missing, though train has a list"),
        ({"valid.txt": "face0\n"}, "train.txt: missing, though valid has a list"),
        ({"train.txt": "\n", "valid.txt": "face0\n"}, "train.txt: names no image"),
    ],
)
def test_half_a_split_is_told(drawn_dataset, lists, fault):
    for name in ("train.txt", "valid.txt"):
        (drawn_dataset / name).unlink()
    for name, text in lists.items():
        (drawn_dataset / name).write_text(text)
    (told,) = problems_of(drawn_dataset)
    assert fault in told


@pytest.mark.parametrize(
    ("filename", "fault"),
    [
        ("../../etc/passwd", "outside the dataset root"),
        ("C:\\data\\face7.png", "outside the dataset root"),
        ("face7.png", "is another image than the one this file is named after"),
    ],
)
def test_a_filename_element_that_leads_elsewhere_is_told(drawn_dataset, filename, fault):
    file = drawn_dataset / "annotations" / "face0.xml"
    file.write_text(file.read_text().replace("face0.png", filename))
    assert any(fault in told for told in problems_of(drawn_dataset))


def test_a_filename_element_may_have_another_suffix_or_be_absent(drawn_dataset):
    file = drawn_dataset / "annotations" / "face0.xml"
    text = file.read_text()
    file.write_text(text.replace("face0.png", "images/face0.jpg"))
    assert problems_of(drawn_dataset) == []
    file.write_text(text.replace("<filename>face0.png</filename>", ""))
    assert problems_of(drawn_dataset) == []


def test_strangers_and_equal_stems_among_the_images_are_told(drawn_dataset):
    (drawn_dataset / "images" / "notes.txt").write_text("hello")
    shutil.copy(drawn_dataset / "images" / "face0.png", drawn_dataset / "images" / "face0.PNG")
    told = problems_of(drawn_dataset)
    assert any("notes.txt: not one of the files expected in `images`" in text for text in told)
    assert any("the same stem as face0.PNG" in text for text in told)


def test_no_images_at_all(tmp_path):
    (tmp_path / "images").mkdir()
    dataset, problems = scan(tmp_path)
    assert dataset.images == ()
    assert ["no images" in problem.what for problem in problems] == [True]


def test_an_image_of_another_size_than_its_annotation_is_told(drawn_dataset):
    path = drawn_dataset / "images" / "face0.png"
    cv2.imwrite(str(path), cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_CLOCKWISE))
    dataset = DatasetFolder.open(drawn_dataset)
    with pytest.raises(DataError, match=r"face0\.xml: says 128x96, face0\.png is 96x128 \(EXIF"):
        dataset.load(dataset.images[0])


# YOLO


@pytest.fixture
def yolo_dataset(drawn_dataset, tmp_path):
    convert(DatasetFolder.open(drawn_dataset), tmp_path / "yolo", "yolo")
    return tmp_path / "yolo"


def test_numbers_mean_what_the_class_list_says_in_whatever_order(yolo_dataset, drawn_dataset):
    names = sorted(CLASS_NAMES)  # as Roboflow writes them
    (yolo_dataset / "classes.names").write_text("\n".join(names))
    for file in (yolo_dataset / "labels").iterdir():
        lines = [line.split(" ", 1) for line in file.read_text().splitlines()]
        numbers = {str(n): str(names.index(name)) for n, name in enumerate(CLASS_NAMES)}
        file.write_text("".join(f"{numbers[number]} {rest}\n" for number, rest in lines))
    ours = DatasetFolder.open(yolo_dataset)
    assert ours.fingerprint() == DatasetFolder.open(drawn_dataset).fingerprint()


def test_labels_without_class_names_have_no_meaning(yolo_dataset):
    (yolo_dataset / "classes.names").unlink()
    (told,) = problems_of(yolo_dataset)
    assert "classes.names: missing" in told


def test_a_background_must_be_explicit(yolo_dataset):
    (yolo_dataset / "labels" / "face0.txt").write_text("")
    assert problems_of(yolo_dataset) == []
    (yolo_dataset / "labels" / "face0.txt").unlink()
    assert "add labels/face0.txt (with no box in it" in problems_of(yolo_dataset)[0]


def test_two_kinds_of_annotations_at_once_are_refused(drawn_dataset):
    (drawn_dataset / "labels").mkdir()
    (drawn_dataset / "labels" / "face0.txt").write_text("")
    (told,) = problems_of(drawn_dataset)
    assert "both `annotations` and `labels` hold files" in told
