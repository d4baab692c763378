"""mask-gate-export: the exported file says what the checkpoint says, and knows where it is from."""

import functools
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from mask_gate.gate.detector.processor import has_vnni
from mask_gate.models.files.checkpoint import Checkpoint, save_checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.networks.zoo import ARCHITECTURES, build
from mask_gate.training.commands.export import main

pytestmark = pytest.mark.skipif(
    find_spec("onnx") is None, reason="needs the train extra: pip install 'mask-gate[train]'"
)
needs_vnni = pytest.mark.skipif(
    not has_vnni(), reason="needs a processor with VNNI (grep vnni /proc/cpuinfo)"
)


@pytest.fixture
def saved(operating_point):
    return functools.partial(save, operating_point)


def save(point, path, architecture, size=64):
    torch.manual_seed(2)
    network = build(architecture)
    checkpoint = Checkpoint(architecture, network.state_dict(), network.scales, size)
    checkpoint.operating_point = point
    save_checkpoint(path, checkpoint)
    return checkpoint.network()


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if a != "yolov3"])
def test_the_exported_file_says_what_the_checkpoint_says(
    saved, operating_point, tmp_path, architecture, capsys
):
    network = saved(tmp_path / "a.pth", architecture)
    assert main(["--weights", str(tmp_path / "a.pth")]) == 0
    assert architecture in capsys.readouterr().out
    exported = OnnxFile(tmp_path / "a.onnx")
    squares = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype(np.uint8)
    rgb = torch.from_numpy(squares[..., ::-1].transpose(0, 3, 1, 2).copy()).float() / 255
    with torch.inference_mode():
        expected = network.predict(rgb).numpy()
    np.testing.assert_allclose(exported(squares), expected, atol=1e-3, rtol=1e-4)
    assert exported.about.input_size == 64
    assert exported.about.operating_point == operating_point
    assert exported.about.made_from == fingerprint(tmp_path / "a.pth")


def test_int8_writes_a_second_file_that_says_nearly_the_same(
    saved, operating_point, tmp_path, drawn_dataset
):
    saved(tmp_path / "a.pth", "yolov3_lite", 96)
    assert main(["--weights", str(tmp_path / "a.pth"), "--int8", "--data", str(drawn_dataset)]) == 0
    plain, quantized = OnnxFile(tmp_path / "a.onnx"), OnnxFile(tmp_path / "a.int8.onnx")
    assert not plain.about.is_quantized
    assert quantized.about.is_quantized
    assert quantized.about.operating_point == operating_point
    assert quantized.about.made_from == plain.about.made_from == fingerprint(tmp_path / "a.pth")
    assert (tmp_path / "a.int8.onnx").stat().st_size < 0.4 * (tmp_path / "a.onnx").stat().st_size
    squares = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8)
    expected, said = plain(squares), quantized(squares)
    assert not np.array_equal(said, expected)
    if has_vnni():  # without, sums of products may not fit
        np.testing.assert_allclose(said[..., 4:], expected[..., 4:], atol=0.05)


@needs_vnni
def test_openvino_calculates_in_8_bits_what_the_file_says(saved, tmp_path, drawn_dataset):
    pytest.importorskip("openvino", reason="OpenVINO has no wheel for this machine")
    from mask_gate.models.files.openvino_file import OpenVinoFile

    saved(tmp_path / "a.pth", "yolov3_lite", 96)
    main(["--weights", str(tmp_path / "a.pth"), "--int8", "--data", str(drawn_dataset)])
    square = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8)
    expected = OnnxFile(tmp_path / "a.int8.onnx")(square)
    said = OpenVinoFile(tmp_path / "a.int8.onnx")(square)
    np.testing.assert_allclose(said[..., 4:], expected[..., 4:], atol=0.02)


def test_int8_needs_pictures_to_measure_on(saved, tmp_path, capsys):
    saved(tmp_path / "a.pth", "yolov3_lite", 96)
    nothing = str(tmp_path / "nothing")
    assert main(["--weights", str(tmp_path / "a.pth"), "--int8", "--data", nothing]) != 0
    assert nothing in capsys.readouterr().err
    assert not (tmp_path / "a.int8.onnx").exists()


def test_int8_without_training_images_is_told_so(saved, tmp_path, drawn_dataset, capsys):
    saved(tmp_path / "a.pth", "yolov3_lite", 96)
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("")
    stems = sorted(path.stem for path in (drawn_dataset / "images").iterdir())
    (lists / "valid.txt").write_text("\n".join(stems))
    flags = ["--int8", "--data", str(drawn_dataset), "--lists", str(lists)]
    assert main(["--weights", str(tmp_path / "a.pth"), *flags]) != 0
    assert "train.txt: names no image" in capsys.readouterr().err
    assert not (tmp_path / "a.int8.onnx").exists()


def test_mistakes_get_one_sentence(saved, tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none.pth")]) == 4
    assert "no such file" in capsys.readouterr().err
    saved(tmp_path / "a.pth", "yolov3_tiny")
    assert main(["--weights", str(tmp_path / "a.pth"), "--out", "/nowhere/a.onnx"]) == 5
    assert "/nowhere" in capsys.readouterr().err
