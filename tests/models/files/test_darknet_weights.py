"""Darknet weights: used up exactly, refused with both numbers, equal to OpenCV's own reader."""

import hashlib
import json

import numpy as np
import pytest
import torch

from mask_gate.models.files.checkpoint import CheckpointError
from mask_gate.models.files.darknet_weights import DarknetWeightsError, load_darknet
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.networks.anchors import decode
from mask_gate.models.networks.zoo import build


@pytest.fixture(scope="module")
def seeded(tmp_path_factory, opencv_darknet):
    path = tmp_path_factory.mktemp("darknet") / "seeded.weights"
    path.write_bytes(opencv_darknet.seeded_weights())
    return path


def our_rows(path, opencv_darknet):
    """Rows in OpenCV's order: cell by cell, anchors within; boxes as parts of the side."""
    network = build("yolov3_tiny", 80).eval()
    load_darknet(network, "yolov3_tiny", path)
    rows = []
    with torch.inference_mode():
        raw_maps = network(torch.from_numpy(opencv_darknet.seeded_input()))
    for raw, scale in zip(raw_maps, network.scales, strict=True):
        anchors, height, width = raw.shape[1:4]
        decoded = decode(raw, scale).view(anchors, height * width, -1)
        rows.append(decoded.transpose(0, 1).reshape(-1, decoded.shape[-1]).numpy())
    found = np.concatenate(rows)
    x1, y1, x2, y2 = found[:, :4].T / opencv_darknet.SIZE
    return np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, found[:, 4]], 1)


def compare(path, key, opencv_darknet, repo_root):
    fixture = json.loads(
        (repo_root / "tests/models/files/fixtures/opencv_darknet.json").read_text()
    )
    theirs = np.array(fixture[key])
    assert len(theirs) >= 24
    ours = our_rows(path, opencv_darknet)[theirs[:, 0].astype(int)]
    np.testing.assert_allclose(ours[:, 4], theirs[:, 5], atol=1e-4)
    np.testing.assert_allclose(ours[:, :4], theirs[:, 1:5], atol=1e-3)
    assert np.ptp(theirs[:, 5]) > 1e-3  # numbers that differ from each other, or it shows nothing


def test_outputs_equal_opencv_on_seeded_weights(seeded, opencv_darknet, repo_root):
    compare(seeded, "seeded", opencv_darknet, repo_root)


def test_outputs_equal_opencv_on_the_authors_weights(coco_tiny_weights, opencv_darknet, repo_root):
    compare(coco_tiny_weights, "coco", opencv_darknet, repo_root)


def test_the_authors_file_is_used_up_exactly(coco_tiny_weights):
    said = load_darknet(build("yolov3_tiny", 80), "yolov3_tiny", coco_tiny_weights)
    assert "all 8,858,734 values taken" in said


def test_another_class_count_keeps_the_trunk_and_says_so(seeded):
    network = build("yolov3_tiny", 3)
    heads = network.head_state()
    said = load_darknet(network, "yolov3_tiny", seeded)
    assert "80 classes" in said
    assert "last layer starts new" in said
    whole = build("yolov3_tiny", 80)
    load_darknet(whole, "yolov3_tiny", seeded)
    theirs = whole.state_dict()
    for name, tensor in network.state_dict().items():
        if tensor.shape == theirs[name].shape:
            assert torch.equal(tensor, theirs[name]), name
    assert all(torch.equal(a, b) for a, b in zip(heads, network.head_state(), strict=True))


@pytest.mark.parametrize("change", [-1, 1])
def test_weights_file_must_be_used_up(seeded, tmp_path, change):
    """One float short, one float long: refused with both numbers, the network unchanged."""
    content = seeded.read_bytes()
    path = tmp_path / "wrong.weights"
    path.write_bytes(content[:-4] if change < 0 else content + b"\0\0\0\0")
    network = build("yolov3_tiny", 80)
    before = network.state_dict()["fine.0.0.weight"].clone()
    with pytest.raises(DarknetWeightsError) as error:
        load_darknet(network, "yolov3_tiny", path)
    assert "8,858,734" in str(error.value)
    assert f"{8_858_734 + change:,}" in str(error.value)
    assert torch.equal(network.state_dict()["fine.0.0.weight"], before)


def test_the_full_networks_layout_is_that_of_the_published_files():
    """248,007,048 bytes of yolov3.weights, 162,482,580 of darknet53.conv.74, less 20 of header."""
    network = build("yolov3", 80)
    floats = sum(
        t.numel() for n, t in network.state_dict().items() if not n.endswith("num_batches_tracked")
    )
    trunk = sum(
        t.numel()
        for n, t in network.state_dict().items()
        if n.startswith("trunk.") and not n.endswith("num_batches_tracked")
    )
    assert floats * 4 + 20 == 248_007_048
    assert trunk * 4 + 20 == 162_482_580


def save_darknet(network, path):
    """Write Darknet's format, version 0.2.5: of each layer norm or bias first, then the kernel."""
    kinds = ("bias", "weight", "running_mean", "running_var")
    layers = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            layers.append([module.bias, module.weight])
        elif isinstance(module, torch.nn.BatchNorm2d):
            layers[-1][:1] = [getattr(module, kind) for kind in kinds]
    with path.open("wb") as file:
        np.array([0, 2, 5, 0, 0], "<i4").tofile(file)
        for tensor in (tensor for layer in layers for tensor in layer):
            tensor.detach().numpy().astype("<f4").tofile(file)


def test_a_file_of_three_classes_is_the_whole_network(tmp_path):
    torch.manual_seed(3)
    network = build("yolov3_tiny").eval()
    save_darknet(network, tmp_path / "own.weights")
    checkpoint = open_weights(tmp_path / "own.weights")
    assert checkpoint.architecture == "yolov3_tiny"
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network.predict(images), checkpoint.network().predict(images))


def test_a_file_for_other_classes_does_not_become_a_gate(seeded):
    with pytest.raises(CheckpointError, match="no heads for the three mask classes"):
        open_weights(seeded)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty"),
        (b"\0" * 23, "got 23 bytes"),
        (np.array([0, 1, 0, 0, 0, 0], "<i4").tobytes(), "expected version 0.2 or later, got 0.1"),
        (
            np.array([0, 2, 0, 0, 0], "<i4").tobytes() + np.array([np.nan], "<f4").tobytes(),
            "1 values are not finite",
        ),
    ],
)
def test_files_that_are_no_weights_are_refused(tmp_path, content, complaint):
    path = tmp_path / "odd.weights"
    path.write_bytes(content)
    with pytest.raises(DarknetWeightsError, match=complaint):
        load_darknet(build("yolov3_tiny"), "yolov3_tiny", path)


LAYERS_OF = {"yolov3-tiny.conv.11": 6, "yolov3-tiny.conv.15": 9}
VALUES_OF = {"yolov3-tiny.conv.11": 1_575_792, "yolov3-tiny.conv.15": 7_743_344}


@pytest.mark.parametrize("name", LAYERS_OF)
def test_a_file_cut_after_some_layers_starts_those_and_no_others(seeded, tmp_path, name):
    """`darknet partial yolov3-tiny.cfg yolov3-tiny.weights NAME N` writes just such a file."""
    cut = tmp_path / name
    cut.write_bytes(seeded.read_bytes()[: 20 + 4 * VALUES_OF[name]])
    network, whole = build("yolov3_tiny"), build("yolov3_tiny", 80)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    said = load_darknet(network, "yolov3_tiny", cut)
    assert f"{VALUES_OF[name]:,} values are the first {LAYERS_OF[name]} of the 13 conv" in said
    load_darknet(whole, "yolov3_tiny", seeded)
    theirs = whole.state_dict()
    kernels = [key for key, tensor in before.items() if tensor.ndim == 4]
    for number, key in enumerate(kernels):
        expected = theirs[key] if number < LAYERS_OF[name] else before[key]
        assert torch.equal(network.state_dict()[key], expected), key


def test_a_cut_file_does_not_become_a_gate(seeded, tmp_path):
    cut = tmp_path / "yolov3-tiny.conv.15"
    cut.write_bytes(seeded.read_bytes()[: 20 + 4 * VALUES_OF[cut.name]])
    with pytest.raises(CheckpointError, match="no heads for the three mask classes"):
        open_weights(cut)


def test_a_file_of_two_classes_says_what_is_missing_and_starts_a_training(tmp_path):
    path = tmp_path / "MASK.WEIGHTS"
    save_darknet(build("yolov3_tiny", 2), path)
    with pytest.raises(CheckpointError, match=r"with_mask, .*tells 2 classes apart.* start="):
        open_weights(path)
    said = load_darknet(build("yolov3_tiny"), "yolov3_tiny", path)
    assert "it tells 2 classes apart and this network 3" in said


def test_a_shorter_file_that_would_fit_another_class_count_is_not_read_askew(seeded, tmp_path):
    """79 classes in length, 80 in content: everything behind the first head would be shifted."""
    path = tmp_path / "cut.weights"
    path.write_bytes(seeded.read_bytes()[: -4 * (3 * 513 + 3 * 257)])
    with pytest.raises(DarknetWeightsError, match="a variance in it is below zero"):
        load_darknet(build("yolov3_tiny"), "yolov3_tiny", path)


def test_a_missing_file_that_is_published_says_where(tmp_path):
    path = tmp_path / "darknet53.conv.74"
    with pytest.raises(DarknetWeightsError) as error:
        load_darknet(build("yolov3_tiny"), "yolov3_tiny", path)
    for part in (
        "cannot be read: No such file",
        "https://data.pjreddie.com/files/darknet53.conv.74",
        "162,482,580 bytes",
        "SHA-256 2495c2690283e4e0bc2050cbd4660b77a8074e14e9c11150c6412fd63db496a7",
    ):
        assert part in str(error.value)


def test_the_published_digest_is_that_of_the_file(coco_tiny_weights, tmp_path):
    with pytest.raises(DarknetWeightsError) as error:
        load_darknet(build("yolov3_tiny"), "yolov3_tiny", tmp_path / "yolov3-tiny.weights")
    assert hashlib.sha256(coco_tiny_weights.read_bytes()).hexdigest() in str(error.value)
    assert f"{coco_tiny_weights.stat().st_size:,} bytes" in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DarknetWeightsError, match=r"none\.weights: cannot be read"):
        load_darknet(build("yolov3_tiny"), "yolov3_tiny", tmp_path / "none.weights")
