"""The networks: sizes as published, raw maps as promised, any size, any batch."""

import pytest
import torch

from mask_gate.models.networks.darknet53 import ConvUnit
from mask_gate.models.networks.yolov3_tiny import PooledUnit
from mask_gate.models.networks.zoo import ARCHITECTURES, build

PARAMETERS = {"yolov3": 61_534_504, "yolov3_tiny": 8_674_496, "yolov3_lite": 2_215_593}
STRIDES = {"yolov3": (32, 16, 8), "yolov3_tiny": (32, 16), "yolov3_lite": (4,)}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parameter_counts(name):
    assert sum(p.numel() for p in build(name).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("batch", "size"), [(1, 64), (2, 96)])
def test_raw_maps_have_the_promised_shape(name, batch, size):
    network = build(name).eval()
    with torch.inference_mode():
        raw_maps = network(torch.rand(batch, 3, size, size))
        predictions = network.predict(torch.rand(batch, 3, size, size))
    cells = 0
    for raw, scale, stride in zip(raw_maps, network.scales, STRIDES[name], strict=True):
        grid = size // stride
        assert scale.stride == stride
        assert raw.shape == (batch, len(scale.anchors_wh), grid, grid, 8)
        cells += len(scale.anchors_wh) * grid * grid
    assert predictions.shape == (batch, cells, 8)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_new_network_sees_almost_nothing(name):
    torch.manual_seed(0)
    network = build(name).eval()
    with torch.inference_mode():
        objectness = network.predict(torch.rand(1, 3, 64, 64))[..., 4]
    if name != "yolov3_lite":  # its objectness comes with CenterFace
        assert float(objectness.max()) < 0.1


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_parameter_gets_a_gradient(name):
    network = build(name).train()
    sum(raw.square().mean() for raw in network(torch.rand(2, 3, 64, 64))).backward()
    missing = [n for n, p in network.named_parameters() if p.grad is None]
    assert not missing


def test_an_unknown_architecture_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="yolov3, yolov3_tiny, yolov3_lite; got 'yolov9'"):
        build("yolov9")


def test_a_rectifier_behind_the_pool_equals_one_before_it_to_the_bit():
    torch.manual_seed(0)
    pooled, plain = PooledUnit(3, 8, 3), ConvUnit(3, 8, 3)
    plain.load_state_dict(pooled.state_dict())
    images = torch.randn(2, 3, 32, 32)
    ours, theirs = pooled(images), torch.nn.functional.max_pool2d(plain(images), 2)
    assert torch.equal(ours, theirs)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    for one, other in zip(pooled.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one.grad, other.grad)
