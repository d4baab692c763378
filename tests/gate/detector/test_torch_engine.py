"""The torch engine: a checkpoint that cannot be run is refused in a sentence, when it is opened."""

import pytest
import torch

from mask_gate.gate.detector.torch_engine import open_torch_engine
from mask_gate.gate.errors import ModelError
from mask_gate.models.files.checkpoint import FORMAT, Checkpoint, save_checkpoint
from mask_gate.models.networks.anchors import Scale
from mask_gate.models.networks.zoo import build


@pytest.fixture
def lite():
    torch.manual_seed(1)
    network = build("yolov3_lite")
    return Checkpoint("yolov3_lite", network.state_dict(), network.scales, 64)


def test_a_checkpoint_without_fields_is_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"format": FORMAT}, path)
    with pytest.raises(ModelError, match=r"a\.pth: lacks or garbles a field"):
        open_torch_engine(path, "cpu")


def test_an_input_size_no_network_takes_is_refused(lite, tmp_path):
    lite.input_size = 100
    save_checkpoint(tmp_path / "a.pth", lite)
    with pytest.raises(ModelError, match="multiple of 32 up to 4096, got 100"):
        open_torch_engine(tmp_path / "a.pth", "cpu")


def test_a_network_that_cannot_run_is_refused(lite, tmp_path, monkeypatch):
    def out_of_memory(self, images):
        raise RuntimeError("CUDA out of memory\nand a long story")

    monkeypatch.setattr("mask_gate.models.networks.network.DetectionNetwork.predict", out_of_memory)
    save_checkpoint(tmp_path / "a.pth", lite)
    with pytest.raises(ModelError, match=r"does not run on cpu \(CUDA out of memory\)"):
        open_torch_engine(tmp_path / "a.pth", "cpu")


def test_scales_that_do_not_fit_the_weights_are_refused(lite, tmp_path):
    lite.scales = tuple(Scale(scale.stride, scale.anchors_wh * 2) for scale in lite.scales)
    save_checkpoint(tmp_path / "a.pth", lite)
    with pytest.raises(ModelError, match=r"does not run on cpu \(shape"):
        open_torch_engine(tmp_path / "a.pth", "cpu")
