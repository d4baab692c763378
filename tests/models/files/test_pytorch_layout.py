"""The widespread PyTorch layout: every tensor finds its layer, and nothing else is let in."""

import os

import pytest
import torch
from torch.nn import functional

from mask_gate.models.files.checkpoint import CheckpointError
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.files.pytorch_layout import (
    PytorchLayoutError,
    is_torch_file,
    load_state,
    read_state,
)
from mask_gate.models.networks.zoo import build

HEAD = "head"


def residuals(count, channels):
    return [("conv", channels // 2, 1, 1), ("conv", channels, 3, 1), ("shortcut",)] * count


def pairs(count, channels):
    return [("conv", channels, 1, 1), ("conv", channels * 2, 3, 1)] * count


# The layers of the published .cfg files; their places are the N of the layout.
TINY = [
    *(part for c in (16, 32, 64, 128, 256) for part in (("conv", c, 3, 1), ("pool", 2))),
    ("conv", 512, 3, 1),
    ("pool", 1),
    ("conv", 1024, 3, 1),
    ("conv", 256, 1, 1),
    *[("conv", 512, 3, 1), (HEAD,), ("yolo",)],
    *[("route", -4), ("conv", 128, 1, 1), ("upsample",), ("route", -1, 8)],
    *[("conv", 256, 3, 1), (HEAD,), ("yolo",)],
]
FULL = [
    ("conv", 32, 3, 1),
    *(
        part
        for channels, count in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
        for part in [("conv", channels, 3, 2), *residuals(count, channels)]
    ),
    *[*pairs(3, 512), (HEAD,), ("yolo",)],
    *[("route", -4), ("conv", 256, 1, 1), ("upsample",), ("route", -1, 61)],
    *[*pairs(3, 256), (HEAD,), ("yolo",)],
    *[("route", -4), ("conv", 128, 1, 1), ("upsample",), ("route", -1, 36)],
    *[*pairs(3, 128), (HEAD,), ("yolo",)],
]
PLANS = {"yolov3_tiny": TINY, "yolov3": FULL}


def made_by_rule(plan, classes=3):
    """A state dict with the names, shapes and order that code gives these layers."""
    state, outputs = {}, []
    width = 3
    for index, (kind, *about) in enumerate(plan):
        name = f"module_list.{index}."
        if kind in ("conv", HEAD):
            channels, kernel = about[:2] if kind == "conv" else (3 * (5 + classes), 1)
            shape = channels, width, kernel, kernel
            spread = (2 / (width * kernel * kernel)) ** 0.5
            if kind == "conv":
                spread *= 0.01  # small maps, so that the norms' eps counts
            state[f"{name}conv_{index}.weight"] = torch.randn(shape) * spread
            if kind == HEAD:
                state[f"{name}conv_{index}.bias"] = torch.randn(channels)
            else:
                norm = f"{name}batch_norm_{index}."
                state[f"{norm}weight"] = torch.rand(channels) / 2 + 0.5
                state[f"{norm}bias"] = torch.randn(channels) * 0.1
                state[f"{norm}running_mean"] = torch.randn(channels) * 0.01
                state[f"{norm}running_var"] = torch.rand(channels) * 1e-4 + 1e-5
                state[f"{norm}num_batches_tracked"] = torch.tensor(7)
            width = channels
        elif kind == "route":
            width = sum(outputs[at] for at in about)
        outputs.append(width)
    return state


def run_by_rule(plan, state, images):
    """The raw head maps of such a network, [B, 3 (5 + C), H, W] each, coarse first."""
    outputs, heads, x = [], [], images
    for index, (kind, *about) in enumerate(plan):
        if kind in ("conv", HEAD):
            own = {
                key.split(".", 2)[2].replace(f"_{index}", ""): value
                for key, value in state.items()
                if key.startswith(f"module_list.{index}.")
            }
            kernel, stride = about[1:] if kind == "conv" else (1, 1)
            x = functional.conv2d(x, own["conv.weight"], own.get("conv.bias"), stride, kernel // 2)
            if kind == "conv":
                norm = [own[f"batch_norm.{k}"] for k in ("running_mean", "running_var")]
                scale, shift = own["batch_norm.weight"], own["batch_norm.bias"]
                x = functional.batch_norm(x, *norm, scale, shift, eps=1e-5)
                x = functional.leaky_relu(x, 0.1)
        elif kind == "pool":
            x = functional.pad(x, (0, 1, 0, 1), "replicate") if about == [1] else x
            x = functional.max_pool2d(x, 2, about[0])
        elif kind == "shortcut":
            x = x + outputs[-3]
        elif kind == "upsample":
            x = functional.interpolate(x, scale_factor=2.0)
        elif kind == "route":
            x = torch.cat([outputs[at] for at in about], 1)
        elif kind == "yolo":
            heads.append(x)
        outputs.append(x)
    return heads


@pytest.fixture
def tiny_state():
    torch.manual_seed(1)
    return made_by_rule(TINY)


@pytest.mark.parametrize("architecture", PLANS)
def test_a_network_of_that_layout_says_here_what_it_says_there(architecture):
    torch.manual_seed(2)
    plan, network = PLANS[architecture], build(architecture)
    state, images = made_by_rule(plan), torch.rand(1, 3, 64, 64)
    norms = sum(key.endswith("num_batches_tracked") for key in state)
    said = load_state(network, architecture, state)
    assert said == f"all {len(state) - norms} tensors of its PyTorch layout taken"
    with torch.inference_mode():
        for raw, head in zip(network.eval()(images), run_by_rule(plan, state, images), strict=True):
            theirs = head.view(1, 3, 8, *head.shape[2:]).permute(0, 1, 3, 4, 2)
            assert (raw - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_the_order_of_the_names_in_the_file_does_not_matter(tiny_state):
    one, other = build("yolov3_tiny"), build("yolov3_tiny")
    load_state(one, "yolov3_tiny", tiny_state)
    load_state(other, "yolov3_tiny", dict(reversed(tiny_state.items())))
    theirs = other.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in one.state_dict().items())


def test_another_class_count_keeps_all_but_the_heads_last_layers():
    torch.manual_seed(3)
    network = build("yolov3_tiny")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    said = load_state(network, "yolov3_tiny", made_by_rule(TINY, classes=80))
    assert "tells 80 classes apart and this network 3" in said
    kept = {
        name
        for name, tensor in network.state_dict().items()
        if torch.equal(tensor, before[name]) and not name.endswith("num_batches_tracked")
    }
    assert kept == {
        f"{head}.1.{kind}" for head in ("coarse_head", "fine_head") for kind in ("weight", "bias")
    }


def without(state, *endings):
    return {key: value for key, value in state.items() if not key.endswith(endings)}


FAULTS = {
    "one layer too few": (
        lambda s: without(s, "conv_13.weight", "norm_13.weight", "_13.bias", "_mean", "_var"),
        "expected the 13 convolutions of yolov3_tiny",
    ),
    "one tensor too few": (
        lambda s: without(s, "batch_norm_13.running_var"),
        "expected the 13 convolutions of yolov3_tiny with 59 tensors, got 13 with 58",
    ),
    "another shape": (
        lambda s: s | {"module_list.2.conv_2.weight": torch.zeros(32, 16, 5, 5)},
        "module_list.2.conv_2.weight: expected [32, 16, 3, 3] for fine.2.0.weight of yolov3_tiny",
    ),
    "heads of different class counts": (
        lambda s: s | {"module_list.22.conv_22.weight": torch.zeros(255, 256, 1, 1)},
        "module_list.22.conv_22.weight: expected [24, 256, 1, 1]",
    ),
    "not finite": (
        lambda s: s | {"module_list.15.conv_15.bias": torch.full((24,), float("nan"))},
        "module_list.15.conv_15.bias: holds values that are not finite",
    ),
    "a stranger": (
        lambda s: s | {"module_list.3.lstm_3.weight": torch.zeros(1)},
        "module_list.3.lstm_3.weight: no entry of the PyTorch layout",
    ),
    "other anchors": (
        lambda s: s | {"module_list.16.yolo_16.anchors": torch.ones(3, 2)},
        "module_list.16.yolo_16.anchors: expected [81, 82, ",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(tiny_state, fault):
    change, complaint = FAULTS[fault]
    network = build("yolov3_tiny")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(PytorchLayoutError) as error:
        load_state(network, "yolov3_tiny", change(tiny_state))
    assert complaint in str(error.value)
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())


def test_the_anchors_newer_code_keeps_are_read_over(tiny_state):
    coarse = torch.tensor([[81.0, 82.0], [135.0, 169.0], [344.0, 319.0]])
    tiny_state["module_list.16.yolo_16.anchors"] = coarse
    tiny_state["module_list.16.yolo_16.anchor_grid"] = coarse.view(1, 3, 1, 1, 2)
    assert "all 59 tensors" in load_state(build("yolov3_tiny"), "yolov3_tiny", tiny_state)


@pytest.mark.parametrize("zipped", [True, False], ids=["today's format", "the old format"])
def test_the_gate_opens_such_a_file_of_three_classes(tiny_state, tmp_path, zipped):
    path = tmp_path / "yolov3_ckpt_99.pth"
    torch.save(tiny_state, path, _use_new_zipfile_serialization=zipped)
    checkpoint = open_weights(path)
    assert (checkpoint.architecture, checkpoint.input_size) == ("yolov3_tiny", 416)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        found = checkpoint.network()(images)[0]
    theirs = run_by_rule(TINY, tiny_state, images)[0].view(1, 3, 8, 2, 2).permute(0, 1, 3, 4, 2)
    assert (found - theirs).abs().max() < 1e-3 * theirs.abs().max()


def test_such_a_file_of_other_classes_does_not_become_a_gate(tmp_path):
    torch.save(made_by_rule(TINY, classes=80), tmp_path / "coco.pth")
    with pytest.raises(CheckpointError, match="no heads for the three mask classes"):
        open_weights(tmp_path / "coco.pth")


def test_such_a_file_of_another_network_is_refused_with_every_reason(tiny_state, tmp_path):
    torch.save(without(tiny_state, "conv_22.bias"), tmp_path / "odd.pth")
    with pytest.raises(CheckpointError) as error:
        open_weights(tmp_path / "odd.pth")
    assert "odd.pth: fits no network here: expected the 75 convolutions of yolov3 " in str(
        error.value
    )


class Mischief:
    """What a pickle may do to who opens it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_code_in_such_a_file_never_runs(tiny_state, tmp_path):
    made = tmp_path / "made"
    torch.save(tiny_state | {"module_list.0.conv_0.weight": Mischief(made)}, tmp_path / "bad.pth")
    assert read_state(tmp_path / "bad.pth") is None
    with pytest.raises(CheckpointError, match="is refused"):
        open_weights(tmp_path / "bad.pth")
    assert not made.exists()


@pytest.mark.parametrize(
    "content", [{}, [1], {"module_list.0.conv_0.weight": 3}, {"weights": torch.zeros(1)}]
)
def test_other_content_is_not_taken_for_this_layout(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    assert read_state(tmp_path / "other.pth") is None


def test_files_of_torch_are_known_by_their_first_bytes(tmp_path):
    torch.save({}, tmp_path / "new")
    torch.save({}, tmp_path / "old", _use_new_zipfile_serialization=False)
    (tmp_path / "darknet").write_bytes(b"\0\0\0\0\2\0\0\0")
    names = ("new", "old", "darknet", "missing")
    assert [is_torch_file(tmp_path / name) for name in names] == [True, True, False, False]


@pytest.mark.parametrize(
    "wrapped",
    [
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"epoch": 3, "state_dict": state},
        lambda state: {"model": {f"module.{n}": t for n, t in state.items()}, "best": 0.5},
    ],
    ids=["DataParallel", "compiled DataParallel", "beside an epoch", "both"],
)
@pytest.mark.parametrize("is_ours", [False, True])
def test_state_dicts_are_read_as_training_loops_save_them(tiny_state, tmp_path, wrapped, is_ours):
    state = build("yolov3_tiny").state_dict() if is_ours else tiny_state
    torch.save(wrapped(state), tmp_path / "BEST.PTH")
    checkpoint = open_weights(tmp_path / "BEST.PTH")
    assert checkpoint.architecture == "yolov3_tiny"
    theirs = next(tensor for tensor in state.values() if tensor.ndim == 4)
    assert torch.equal(checkpoint.weights["fine.0.0.weight"], theirs)


def test_a_state_dict_of_two_classes_says_what_is_missing(tmp_path):
    torch.save(build("yolov3_tiny", 2).state_dict(), tmp_path / "two.pth")
    with pytest.raises(CheckpointError, match=r"mask_weared_incorrect .*tells 2 classes apart"):
        open_weights(tmp_path / "two.pth")
