"""mask-gate-eval as people run it: a report, files anyone can score again, clear refusals."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mask_gate.models.files.checkpoint import Checkpoint, save_checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.zoo import build
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.commands.evaluate import main


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(0)
    network = build("yolov3_tiny")
    with torch.no_grad():
        for output in network.head_outputs():
            output.bias.view(3, 8)[:, 4] = 0.0  # a network that sees faces everywhere
    path = tmp_path / "a.pth"
    save_checkpoint(path, Checkpoint("yolov3_tiny", network.state_dict(), network.scales, 64))
    return str(path)


def images_in(path):
    """The images that a file of COCO results speaks of."""
    return {entry["image_id"] for entry in json.loads(path.read_text())}


def test_both_protocols_are_printed_and_written(weights, drawn_dataset, tmp_path, capsys):
    out = tmp_path / "out.json"
    plots = tmp_path / "plots"
    code = main([
        "--weights", weights, "--data", str(drawn_dataset), "--json", str(out),
        "--save-detections", str(tmp_path / "dets.json"), "--plots", str(plots),
    ])  # fmt: skip
    assert code == 0
    report = json.loads(out.read_text())
    assert report["images"] == 4
    assert report["settings"]["weights"].startswith("sha256:")
    assert "strict" in report
    assert "seed" in json.dumps(report)
    assert "not a standard metric" in capsys.readouterr().out
    assert {p.name for p in plots.iterdir()} == {
        "precision_recall.png", "confusion.png", "mistakes.png",
    }  # fmt: skip
    found = images_in(tmp_path / "dets.json")
    assert found <= {f"face{i}" for i in range(12)}
    assert found


def test_other_weights_are_compared_with_on_the_same_images(
    weights, drawn_dataset, tmp_path, capsys
):
    """Weights do not differ from themselves."""
    out = tmp_path / "out.json"
    command = ["--weights", weights, "--data", str(drawn_dataset), "--json", str(out)]
    assert main([*command, "--against", weights]) == 0
    assert "Minus the other weights" in capsys.readouterr().out
    report = json.loads(out.read_text())
    assert report["settings"]["against"] == report["settings"]["weights"]
    for figure in report["differences"].values():
        assert figure["mean"] in (
            {"value": 0, "low": 0, "high": 0},
            dict.fromkeys(("value", "low", "high")),
        )
    assert main([*command, "--against", "none.pth"]) == 4


def test_images_without_labels_are_answered(weights, drawn_dataset, tmp_path, capsys):
    out = tmp_path / "dets.json"
    images = str(drawn_dataset / "images")
    assert main(["--weights", weights, "--images", images, "--save-detections", str(out)]) == 0
    assert len(images_in(out)) == 12
    assert "12 images" in capsys.readouterr().out
    counted = tmp_path / "counts.json"
    assert main(["--weights", weights, "--images", images, "--json", str(counted)]) == 0
    report = json.loads(counted.read_text())
    assert (report["images"], report["skipped"], report["min_score"]) == (12, [], 0.3)
    assert list(report["faces"]) == list(CLASS_NAMES)
    assert report["settings"]["weights"] == fingerprint(Path(weights))
    said = capsys.readouterr().out
    assert f"12 images, {sum(report['faces'].values())} faces of score 0.3 or more" in said


def test_a_bad_image_is_skipped_on_request_and_stands_in_the_report(
    weights, draw, tmp_path, capsys
):
    data, out = draw(tmp_path / "many", train=1, valid=100, size_wh=(64, 48)), tmp_path / "out.json"
    (data / "images/face7.png").write_bytes(b"no image")
    command = ["--weights", weights, "--data", str(data), "--json", str(out)]
    assert main(command) == 2
    assert "face7.png" in capsys.readouterr().err
    assert main([*command, "--skip-bad"]) == 0
    said = capsys.readouterr().out
    assert "skipped face7: " in said
    assert "skipped 1 of 101 images (valid 1)" in said
    report = json.loads(out.read_text())
    assert report["images"] == 99
    assert report["settings"]["skipped"] == ["face7"]


def test_the_lists_may_lie_elsewhere(weights, drawn_dataset, tmp_path):
    out, lists = tmp_path / "out.json", tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("face0\nface1\n")
    (lists / "valid.txt").write_text("face2\nface3\nface4\n")
    command = ["--weights", weights, "--data", str(drawn_dataset), "--json", str(out)]
    assert main([*command, "--lists", str(lists)]) == 0
    assert json.loads(out.read_text())["images"] == 3


def test_nothing_skipped_stands_in_the_report_too(weights, drawn_dataset, tmp_path, capsys):
    out = tmp_path / "out.json"
    command = ["--weights", weights, "--data", str(drawn_dataset), "--json", str(out)]
    assert main([*command, "--skip-bad"]) == 0
    assert json.loads(out.read_text())["settings"]["skipped"] == []
    assert "skipped" not in capsys.readouterr().out


def test_images_without_labels_are_skipped_up_to_one_percent(
    weights, draw_hundred, tmp_path, capsys
):
    images, out = draw_hundred(tmp_path / "hundred", 80) / "images", tmp_path / "dets.json"
    (images / "face3.png").write_bytes(b"no image")
    command = ["--weights", weights, "--images", str(images), "--save-detections", str(out)]
    assert main(command) == 2
    assert not out.exists()
    assert main([*command, "--skip-bad"]) == 0
    said = capsys.readouterr().out
    assert "skipped face3.png: this is no image" in said
    assert "99 images, " in said
    assert "; skipped 1 of 100 images" in said
    out.unlink()
    (images / "face4.png").write_bytes(b"")
    assert main([*command, "--skip-bad"]) == 2
    told = capsys.readouterr().err
    for part in ("2 of 100 images are bad", "face3.png", "face4.png"):
        assert part in told
    assert not out.exists()


def test_without_weights_the_bundled_ones_are_evaluated(drawn_dataset, tmp_path):
    out = tmp_path / "out.json"
    command = ["--data", str(drawn_dataset), "--imgsz", "64", "--json", str(out)]
    assert main(command) == 0
    assert json.loads(out.read_text())["settings"]["weights"] == fingerprint(BUNDLED_WEIGHTS)


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        (["--weights", "none.pth"], 4, "none.pth: no such file"),
        (["--data", "/nowhere"], 2, "/nowhere"),
        (["--split", "extra"], 2, "extra"),
        (["--device", "cuda:9"], 2, "CUDA devices"),
        (["--imgsz", "100"], 2, "multiple of 32"),
        (["--imgsz", "-32"], 2, "multiple of 32"),
        (["--images", "/nowhere"], 2, "needs --save-detections FILE"),
        (
            ["--images", "photos", "--json", "a.json", "--plots", "out"],
            2,
            "--plots: needs labels, which --images has none of; to see what is found: "
            "mask-gate-predict photos --weights",
        ),
        (
            ["--presentations", "--save-detections", "a.json"],
            2,
            "--save-detections: does not go with --presentations",
        ),
        (["--passages", "1", "--plots", "a"], 2, "--plots: does not go with --passages"),
        (["--engine", "onnx"], 2, "--engine: is of the gate that --passages plays to"),
        (["--out-of-domain", "a", "--plots", "a"], 2, "--plots: does not go with --out-of-domain"),
        (["--images", "/nowhere", "--save-detections", "x.json"], 2, "no images there"),
    ],
)
def test_a_mistake_gets_one_sentence(weights, drawn_dataset, capsys, change, code, complaint):
    assert main(["--weights", weights, "--data", str(drawn_dataset), *change]) == code
    said = capsys.readouterr().err
    assert complaint in said
    assert "Traceback" not in said


def test_two_images_of_one_name_are_refused(weights, drawn_dataset, capsys, tmp_path):
    images = drawn_dataset / "images"
    (images / "face0.jpg").write_bytes((images / "face0.png").read_bytes())
    out = str(tmp_path / "x.json")
    assert main(["--weights", weights, "--images", str(images), "--save-detections", out]) == 2
    assert "face0 first" in capsys.readouterr().err


def test_faces_are_shown_in_every_way(weights, draw, tmp_path, capsys):
    data = draw(tmp_path / "data", size_wh=(400, 300))
    out, plots = tmp_path / "shown.json", tmp_path / "plots"
    command = ["--presentations", "--weights", weights, "--data", str(data), "--limit", "1"]
    assert main([*command, "--json", str(out), "--plots", str(plots)]) == 0
    told = json.loads(out.read_text())
    assert told["totals"]["all ways"]["with_mask"]["shown"] == len(told["ways"])
    assert told["ways"]["upright"]["without_mask"]["shown"] == 1
    assert {path.name for path in plots.iterdir()} == {"presentations.png", "ways.png"}
    assert "upside down" in capsys.readouterr().out


def test_a_folder_with_labels_json_is_another_data_set(weights, tmp_path, capsys):
    box = {"xyxy": [10, 10, 60, 80], "label": "with_mask"}
    entry = {"file": "a.png", "width": 100, "height": 100, "boxes": [box]}
    (tmp_path / "labels.json").write_text(json.dumps([entry]))
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((100, 100, 3), np.uint8))
    out = tmp_path / "out.json"
    command = ["--weights", weights, "--bfloat16", "--json", str(out)]
    assert main([*command, "--out-of-domain", str(tmp_path)]) == 0
    told = json.loads(out.read_text())
    assert told["sizes"]["over 50 %"]["with_mask"]["shown"] == 1
    assert sum(told["confusion"]["with_mask"].values()) == 1
    assert main([*command, "--presentations", "--data", str(tmp_path)]) == 0
    assert "strict mAP@0.5" in capsys.readouterr().out


def test_who_has_no_data_set_is_shown_the_faces_that_come_along(
    weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MASK_GATE_DATA", raising=False)
    out = tmp_path / "out.json"
    command = ["--weights", weights, "--presentations", "--limit", "1", "--json", str(out)]
    assert main(command) == 0
    assert "assets/faces" in capsys.readouterr().out
    upright = json.loads(out.read_text())["ways"]["upright"]
    assert [upright[name]["shown"] for name in CLASS_NAMES] == [1, 1, 1]
    (tmp_path / "data").mkdir()
    assert main(command) == 2  # a folder of one's own comes first, though nothing is in it


def test_what_cannot_be_shown_is_said(weights, draw, tmp_path, capsys):
    data = draw(tmp_path / "data", 1, 1, size_wh=(64, 48))
    command = ["--weights", weights, "--data", str(data), "--presentations"]
    assert main([*command, "--limit", "0"]) == 2
    assert "--limit 0: expected a number above 0" in capsys.readouterr().err
    assert main(command) == 2
    assert "no face of 40 px or more" in capsys.readouterr().err
    assert main(["--weights", weights, "--out-of-domain", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
