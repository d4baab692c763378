"""mask-gate-eval as people run it: a report, files anyone can score again, clear refusals."""

import json

import pytest
import torch

from models.checkpoint import Checkpoint, save_checkpoint
from models.zoo import build
from training.coco_json import load_detections
from training.evaluate import main


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
    found = load_detections(tmp_path / "dets.json")
    assert set(found) <= {f"face{i}" for i in range(12)}
    assert found


def test_images_without_labels_are_answered(weights, drawn_dataset, tmp_path, capsys):
    out = tmp_path / "dets.json"
    images = str(drawn_dataset / "images")
    assert main(["--weights", weights, "--images", images, "--save-detections", str(out)]) == 0
    assert len(load_detections(out)) == 12
    assert "12 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "code", "complaint"),
    [
        (["--weights", "none.pth"], 4, "none.pth: no such file"),
        (["--data", "/nowhere"], 2, "/nowhere"),
        (["--split", "extra"], 2, "extra"),
        (["--device", "cuda:9"], 2, "CUDA devices"),
        (["--imgsz", "100"], 2, "multiple of 32"),
        (["--images", "/nowhere"], 2, "needs --save-detections"),
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
