"""Skipping on request: a few bad images are left out and told; more, or other faults, stop."""

import hashlib
import shutil

import cv2
import pytest

from mask_gate.training.data.check import check, too_many
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.dataset_writer import convert
from mask_gate.training.data.preflight import checked_dataset, checked_split
from mask_gate.training.errors import DataError

TRAIN, VALID = 80, 20


@pytest.fixture
def dataset(draw_hundred, tmp_path):
    """A hundred drawn images, `face0` to `face99`, 80 + 20: one of them may be skipped."""
    return draw_hundred(tmp_path / "drawn", TRAIN)


def digest(folder):
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def truncate(folder, stem):
    file = folder / "images" / f"{stem}.png"
    file.write_bytes(file.read_bytes()[:-40])


def empty(folder, stem):
    (folder / "images" / f"{stem}.png").write_bytes(b"")


def turn(folder, stem):
    file = str(folder / "images" / f"{stem}.png")
    cv2.imwrite(file, cv2.rotate(cv2.imread(file), cv2.ROTATE_90_CLOCKWISE))


def misspell(folder, stem):
    file = folder / "annotations" / f"{stem}.xml"
    file.write_text(file.read_text().replace("with_mask", "With_Mask"))


def cut_annotation(folder, stem):
    (folder / "annotations" / f"{stem}.xml").write_text("<annotation>")


def remove_annotation(folder, stem):
    (folder / "annotations" / f"{stem}.xml").unlink()


def remove_image(folder, stem):
    (folder / "images" / f"{stem}.png").unlink()


SPOILERS = {
    "truncated": truncate,
    "empty file": empty,
    "is 48x64 (EXIF rotated?)": turn,
    "With_Mask": misspell,
    "not well-formed XML": cut_annotation,
    "an image without annotation": remove_annotation,
    "an annotation without image": remove_image,
}


@pytest.mark.parametrize(("fault", "spoil"), SPOILERS.items())
@pytest.mark.parametrize(("stem", "split"), [("face7", "train"), ("face93", "valid")])
def test_a_bad_image_is_left_out_of_its_split_and_told(dataset, fault, spoil, stem, split):
    spoil(dataset, stem)
    before, said = digest(dataset), []
    with pytest.raises(DataError):
        checked_dataset(dataset, said.append)
    assert said == []
    found = checked_dataset(dataset, said.append, skip_bad=True)
    assert len(found.images) == 99
    assert stem not in {image.stem for image in (*found.split("train"), *found.split("valid"))}
    assert len(found.split("train")) + len(found.split("valid")) == 99
    assert found.left_out[split] == (stem,)
    assert len(said) == 2
    assert said[0].startswith(f"skipped {stem}: {dataset}")
    assert fault in said[0]
    assert said[1] == f"skipped 1 of 100 images ({split} 1)"
    assert digest(dataset) == before


def test_a_sound_data_set_is_used_whole_and_nothing_is_said(dataset):
    said = []
    found = checked_dataset(dataset, said.append, skip_bad=True)
    assert said == []
    assert found.fingerprint() == DatasetFolder.open(dataset).fingerprint()


def test_a_skipped_image_changes_the_fingerprint(dataset):
    whole = DatasetFolder.open(dataset).fingerprint()
    empty(dataset, "face7")
    assert checked_dataset(dataset, print, skip_bad=True).fingerprint() != whole


def test_above_one_percent_nothing_is_skipped_and_every_fault_is_told(dataset):
    empty(dataset, "face7")
    cut_annotation(dataset, "face93")
    said = []
    with pytest.raises(DataError) as error:
        checked_dataset(dataset, said.append, skip_bad=True)
    assert said == []
    lines = str(error.value).splitlines()
    assert lines[0] == (
        f"{dataset}: 2 of 100 images are bad, more than the 1% that may be skipped; "
        "mend or remove them"
    )
    assert any("face7.png: empty file" in line for line in lines)
    assert any("face93.xml:1: not well-formed XML" in line for line in lines)


@pytest.mark.parametrize(
    ("bad", "total", "refused"),
    [
        (0, 0, False),
        (1, 99, True),
        (1, 100, False),
        (2, 199, True),
        (8, 853, False),
        (9, 853, True),
    ],
)
def test_the_limit_is_one_percent(bad, total, refused):
    assert (too_many(bad, total, "data") is not None) is refused


def test_several_faults_of_one_image_count_once(dataset):
    empty(dataset, "face7")
    misspell(dataset, "face7")
    said = []
    checked_dataset(dataset, said.append, skip_bad=True)
    assert said[1] == "skipped 1 of 100 images (train 1)"


def test_a_broken_image_of_a_yolo_set_counts_once(dataset, tmp_path):
    convert(DatasetFolder.open(dataset), tmp_path / "yolo", "yolo")
    empty(tmp_path / "yolo", "face7")
    said = []
    found = checked_dataset(tmp_path / "yolo", said.append, skip_bad=True)
    assert said[1:] == ["skipped 1 of 100 images (train 1)"]
    assert len(found.split("train")) == TRAIN - 1


def test_without_lists_the_others_are_split(dataset):
    for name in ("train.txt", "valid.txt"):
        (dataset / name).unlink()
    empty(dataset, "face7")
    found = checked_dataset(dataset, print, skip_bad=True)
    assert sum(len(found.split(name)) for name in ("train", "valid")) == 99


def name_a_stranger(dataset):
    with (dataset / "train.txt").open("a") as file:
        file.write("nobody\n")


def name_twice(dataset):
    with (dataset / "valid.txt").open("a") as file:
        file.write("face0\n")


def put_a_stranger(dataset):
    (dataset / "images" / "notes.txt").write_text("hello")


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (name_a_stranger, "train.txt:81: no annotated image 'nobody'"),
        (name_twice, "images that appear in both train and valid: 1 (face0)"),
        (put_a_stranger, "notes.txt: not one of the files expected"),
    ],
)
def test_a_fault_that_is_no_single_images_still_stops(dataset, spoil, fault):
    empty(dataset, "face7")
    spoil(dataset)
    with pytest.raises(DataError) as error:
        checked_dataset(dataset, print, skip_bad=True)
    assert fault in str(error.value)
    assert "face7" not in str(error.value)


def test_a_class_that_is_lost_with_the_skipped_image_stops(dataset):
    for number in range(TRAIN, TRAIN + VALID - 1):
        file = dataset / "annotations" / f"face{number}.xml"
        file.write_text(file.read_text().replace("mask_weared_incorrect", "with_mask"))
    assert check(dataset).problems == ()
    empty(dataset, "face99")
    with pytest.raises(DataError, match="no face of class mask_weared_incorrect in valid"):
        checked_dataset(dataset, print, skip_bad=True)


def test_equal_pixels_of_a_skipped_image_are_no_leak(dataset):
    shutil.copy(dataset / "images" / "face0.png", dataset / "images" / "face93.png")
    assert check(dataset).leaks
    cut_annotation(dataset, "face93")
    assert check(dataset, skip_bad=True).leaks == ()


# One split, as an evaluation reads it


def test_a_split_that_is_measured_on_may_not_lose_more_than_its_share(dataset):
    """One of twenty validation images is one of a hundred in all, and five percent of the split."""
    empty(dataset, "face93")
    with pytest.raises(DataError, match="split valid: 1 of 20 images are bad, more than the 1%"):
        checked_split(dataset, "valid", print, skip_bad=True)


def test_a_split_is_read_without_looking_at_other_pixels(dataset):
    empty(dataset, "face93")
    _, samples = checked_split(dataset, "train", print)
    assert len(samples) == TRAIN


def test_a_bad_annotation_elsewhere_is_skipped_and_told(dataset):
    cut_annotation(dataset, "face7")
    with pytest.raises(DataError, match=r"face7\.xml"):
        checked_split(dataset, "valid", print)
    said = []
    _, samples = checked_split(dataset, "valid", said.append, skip_bad=True)
    assert len(samples) == VALID
    assert said[1] == "skipped 1 of 100 images (train 1)"


def test_every_fault_of_a_split_is_told_at_once(dataset):
    empty(dataset, "face85")
    truncate(dataset, "face93")
    with pytest.raises(DataError) as error:
        checked_split(dataset, "valid", print)
    assert "face85.png" in str(error.value)
    assert "face93.png" in str(error.value)
