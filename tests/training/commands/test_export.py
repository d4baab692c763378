"""mask-gate-export: the exported file says what the checkpoint says, and knows where it is from."""

import functools
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from mask_gate.models.files.checkpoint import Checkpoint, save_checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.networks.zoo import ARCHITECTURES, build
from mask_gate.training.commands.export import main

pytestmark = pytest.mark.skipif(
    find_spec("onnx") is None, reason="needs the train extra: pip install 'mask-gate[train]'"
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


def test_mistakes_get_one_sentence(saved, tmp_path, capsys):
    assert main(["--weights", str(tmp_path / "none.pth")]) == 4
    assert "no such file" in capsys.readouterr().err
    saved(tmp_path / "a.pth", "yolov3_tiny")
    assert main(["--weights", str(tmp_path / "a.pth"), "--out", "/nowhere/a.onnx"]) == 5
    assert "/nowhere" in capsys.readouterr().err
