"""mask-gate-data import and twins: wider data comes in with its sources, test images stay out."""

import json
import shutil

import cv2
import pytest

from mask_gate.training.commands.data import main
from mask_gate.training.data.labels_json import LabelledFolder

NAMED = ["--source", "https://example.org/faces", "--licence", "CC0"]


def turned_copy(path, copy):
    """A copy of a picture as people find it elsewhere: a quarter turned and squeezed."""
    image = cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_CLOCKWISE)
    cv2.imwrite(str(copy), cv2.resize(image, (100, 90)))


@pytest.fixture
def crops(tmp_path, drawn_dataset):
    """Two pictures of bare faces, one of which shows a validation image of the drawn data set."""
    folder = tmp_path / "crops/without_mask"
    folder.mkdir(parents=True)
    train, valid = ((drawn_dataset / f"{s}.txt").read_text().split()[0] for s in ("train", "valid"))
    shutil.copy(drawn_dataset / f"images/{train}.png", folder / "own.png")
    turned_copy(drawn_dataset / f"images/{valid}.png", folder / "video7_frame1.png")
    return folder.parent


def test_a_data_set_becomes_a_folder_to_learn_from(drawn_dataset, tmp_path, capsys):
    out = tmp_path / "wild"
    author = ["--author", "Somebody"]
    assert main(["import", "--data", str(drawn_dataset), "--out", str(out), *NAMED, *author]) == 0
    found = LabelledFolder.open(out)
    assert len(found.images) == 12
    assert len(found.load(found.images[0]).labels) == 3
    told = (out / "SOURCES.md").read_text(encoding="utf-8")
    assert "https://example.org/faces" in told
    assert "Somebody" in told
    assert "imported" in capsys.readouterr().out


def test_an_import_that_holds_a_test_image_is_refused_by_name(
    crops, drawn_dataset, tmp_path, capsys
):
    command = ["import", "--data", str(crops), "--crops", "--out", str(tmp_path / "wild"), *NAMED]
    assert main([*command, "--against", str(drawn_dataset)]) == 2
    told = capsys.readouterr().err
    assert "without_mask/video7_frame1: shows face" in told
    assert "own" not in told
    assert not (tmp_path / "wild").exists()


def test_or_it_is_left_out_when_that_is_asked_for(crops, drawn_dataset, tmp_path):
    out = tmp_path / "wild"
    command = ["import", "--data", str(crops), "--crops", "--out", str(out), *NAMED]
    assert main([*command, "--against", str(drawn_dataset), "--leave-out-twins"]) == 0
    (kept,) = LabelledFolder.open(out).images
    assert kept.labels.tolist() == [1]
    assert json.loads((out / "labels.json").read_text())[0]["original"] == "without_mask/own"


def test_frames_of_one_video_become_a_group(crops, tmp_path):
    out = tmp_path / "wild"
    command = ["import", "--data", str(crops), "--crops", "--out", str(out), *NAMED]
    assert main([*command, "--group-by", r"video\d+"]) == 0
    assert LabelledFolder.open(out).groups[1] == "video7"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--licence", "CC BY 4.0"], "add --author"),
        (["--data", "nowhere"], "nowhere"),
        (["--against", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_is_a_sentence(crops, tmp_path, capsys, change, told):
    command = ["import", "--data", str(crops), "--crops", "--out", str(tmp_path / "wild"), *NAMED]
    assert main([*command, *change]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "wild").exists()


def test_a_folder_without_faces_of_any_class_says_how_to_sort(tmp_path, capsys):
    command = ["import", "--data", str(tmp_path), "--crops", "--out", str(tmp_path / "a"), *NAMED]
    assert main(command) == 2
    assert "sort the pictures into folders named with_mask" in capsys.readouterr().err


def test_nothing_is_overwritten(drawn_dataset, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("mine")
    assert main(["import", "--data", str(drawn_dataset), "--out", str(tmp_path), *NAMED]) == 5
    assert "nothing is overwritten" in capsys.readouterr().err


def test_twins_are_told_and_taken_out_of_a_copy(crops, drawn_dataset, tmp_path, capsys):
    wild, clean = tmp_path / "wild", tmp_path / "clean"
    assert main(["import", "--data", str(crops), "--crops", "--out", str(wild), *NAMED]) == 0
    command = ["twins", "--data", str(wild), "--against", str(drawn_dataset)]
    assert main([*command, "--split", "valid", "--out", str(clean)]) == 0
    assert "1 of 2 images show one of 4" in capsys.readouterr().out
    assert len(LabelledFolder.open(clean).images) == 1
    assert "https://example.org/faces" in (clean / "SOURCES.md").read_text()
