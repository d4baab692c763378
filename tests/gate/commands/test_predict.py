"""mask-gate-predict: any pictures in, annotated pictures and files for other tools out."""

import io
import json
import re

import cv2
import numpy as np
import pytest

from mask_gate.gate.commands.predict import main
from mask_gate.gate.display.video_files import open_recording
from mask_gate.models.shipped import ASSETS

FACES = ASSETS / "selftest"


@pytest.fixture
def photos(tmp_path):
    """Pictures of several sizes, one without a face, and two files that are no pictures."""
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for name, place, scale in (
        ("with_mask", "2.png", 1.0),
        ("without_mask", "10.jpg", 2.0),
        ("mask_weared_incorrect", "more/2.jpg", 0.7),
        ("empty", "more/무인.jpg", 1.5),
    ):
        image = cv2.resize(cv2.imread(str(FACES / f"{name}.jpg")), None, fx=scale, fy=scale)
        _, data = cv2.imencode(".png" if place.endswith("png") else ".jpg", image)
        (folder / place).write_bytes(data.tobytes())
    (folder / "3.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("not asked for")
    return folder


def lines_of(out):
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


def test_a_folder_is_judged_picture_by_picture_each_at_its_own_size(photos, tmp_path, capsys):
    out = tmp_path / "seen"
    assert main([str(photos), "--out", str(out), "--save-txt", "--crop", "--device", "cpu"]) == 0
    told = capsys.readouterr()
    assert re.match(
        r"4 pictures \(\d+\.\d s, \d+\.\d a second\), 3 faces \(1 with_mask, ", told.out
    )
    assert "3.jpg: not a picture" in told.err
    lines = lines_of(out)
    assert [line["image"].rsplit("photos/")[1] for line in lines] == [
        "2.png",
        "10.jpg",
        "more/2.jpg",
        "more/무인.jpg",
    ]
    assert [len(line["faces"]) for line in lines] == [1, 1, 1, 0]
    for name, line in zip(("2", "10", "more/2", "more/무인"), lines, strict=True):
        drawn = cv2.imdecode(np.fromfile(out / f"{name}.jpg", np.uint8), cv2.IMREAD_COLOR)
        assert drawn.shape == (line["height"], line["width"], 3)
        assert len((out / "labels" / f"{name}.txt").read_text().splitlines()) == len(line["faces"])
    coco = json.loads((out / "coco.json").read_text())
    assert [image["id"] for image in coco["images"]] == [1, 2, 3, 4]
    assert [entry["image_id"] for entry in coco["annotations"]] == [1, 2, 3]
    assert len(list((out / "crops").rglob("*.jpg"))) == 3


def test_patterns_and_lists_name_pictures_and_equal_names_do_not_meet(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{photos}/2.png\n\n{photos}/more/2.jpg\n"))
    out = tmp_path / "seen"
    words = ["--source", "-", f"{photos}/1*.jpg", "--out", str(out), "--device", "cpu"]
    assert main([*words, "--conf-thres", "0.5"]) == 0
    assert sorted(path.name for path in out.glob("*.jpg")) == ["10.jpg", "2-2.jpg", "2.jpg"]


def test_a_video_is_judged_frame_by_frame(tmp_path, capsys):
    image = cv2.imread(str(FACES / "with_mask.jpg"))
    path, writer = open_recording(tmp_path / "walk", 10.0, (416, 416))
    for _ in range(3):
        writer.write(image)
    writer.release()
    out = tmp_path / "seen"
    assert main([str(path), "--out", str(out), "--device", "cpu"]) == 0
    lines = lines_of(out)
    assert [line["frame"] for line in lines] == [0, 1, 2]
    assert [line["time_s"] for line in lines] == [0, 0.1, 0.2]
    capture = cv2.VideoCapture(str(next(out.glob("walk.*"))))
    assert [capture.grab() for _ in range(4)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "give a picture"),
        (["nowhere.jpg"], 2, "no such file or folder"),
        (["{tmp}/*.jpg"], 2, "nothing fits this pattern"),
        (["{tmp}"], 2, "no pictures and no videos there"),
        (["{tmp}/bad.png"], 3, "none of 1 could be read"),
        (["demo", "--weights", "nowhere.pth"], 4, "no such file"),
        (["demo", "--conf", "7"], 2, "expected a number in 0..1"),
    ],
)
def test_what_is_wrong_is_a_sentence(tmp_path, capsys, words, code, said):
    if words == ["{tmp}/bad.png"]:
        (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    given = [word.replace("{tmp}", str(tmp_path)) for word in words]
    assert main([*given, "--out", str(tmp_path / "seen"), "--device", "cpu"]) == code
    assert said in capsys.readouterr().err


def test_results_are_not_written_over(tmp_path, capsys):
    words = [str(FACES / "empty.jpg"), "--out", str(tmp_path / "seen"), "--device", "cpu"]
    assert main(words) == 0
    assert main(words) == 2
    assert "holds results already" in capsys.readouterr().err
