"""Quantized networks: nearly the same results, from inputs and weights of 256 levels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mask_gate.models.networks.quantized import QuantizedConv, quantize
from mask_gate.models.networks.zoo import build

LEVELS = 256


def built(architecture):
    torch.manual_seed(0)
    network = build(architecture).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, not 0 and 1
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    return network


@pytest.mark.parametrize("architecture", ["yolov3_tiny", "yolov3_lite"])
def test_the_results_are_nearly_the_same(architecture):
    network, pictures = built(architecture), torch.rand(4, 3, 64, 96)
    with torch.inference_mode():
        expected = torch.cat([raw.flatten() for raw in network(pictures)])
        quantize(network, pictures.split(2))
        said = torch.cat([raw.flatten() for raw in network(pictures)])
    assert not torch.equal(said, expected)
    assert (said - expected).norm() < 0.05 * (expected - expected.mean()).norm()


def test_every_convolution_is_quantized_but_those_that_give_the_results():
    network = built("yolov3_lite")
    quantize(network, [torch.rand(1, 3, 64, 64)])
    wrapped = {m.convolution for m in network.modules() if isinstance(m, QuantizedConv)}
    plain = {m for m in network.modules() if type(m) is nn.Conv2d} - wrapped
    assert plain == {output for output, _, _ in network.score_outputs()}


def test_the_same_pictures_and_seed_give_the_same_network():
    ends = []
    for _ in range(2):
        network = built("yolov3_lite")
        torch.manual_seed(len(ends))  # chance elsewhere does not matter
        quantize(network, [torch.linspace(0, 1, 3 * 64 * 64).view(1, 3, 64, 64)], seed=3)
        ends.append([m.scale for m in network.modules() if isinstance(m, QuantizedConv)])
    assert ends[0] == ends[1]


def test_without_pictures_there_are_no_ranges():
    with pytest.raises(ValueError, match="no pictures"):
        quantize(built("yolov3_lite"), [])


def test_a_black_picture_is_an_ordinary_one():
    network = built("yolov3_tiny")
    quantize(network, [torch.zeros(1, 3, 64, 64)])
    with torch.inference_mode():
        assert all(torch.isfinite(raw).all() for raw in network(torch.rand(1, 3, 64, 64)))


@given(low=st.floats(-9, 0), high=st.floats(0.01, 9), seed=st.integers(0, 99))
def test_inputs_and_weights_have_256_levels_and_zero_is_one_of_them(low, high, seed):
    torch.manual_seed(seed)
    identity = nn.Conv2d(1, 1, 1)
    with torch.no_grad():
        identity.weight.fill_(1.0)
        identity.bias.fill_(0.0)
    quantized = QuantizedConv(identity, low, high)
    given_to = torch.empty(1, 1, 100, 100).uniform_(2 * low - 1, 2 * high + 1)
    with torch.inference_mode():
        said = quantized(given_to)
        assert float(quantized(torch.zeros(1, 1, 1, 1))) == 0.0
    step = (high - low) / (LEVELS - 1)
    assert len(said.unique()) <= LEVELS
    inside = (given_to > low + step) & (given_to < high - step)
    assert ((said - given_to).abs()[inside] <= 0.5 * step * 1.01 + 1e-6).all()
    assert said.min() >= low - step
    assert said.max() <= high + step
