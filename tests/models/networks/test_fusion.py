"""Fused norms: gone from the network, and the outputs stay the same."""

import pytest
import torch
from torch import nn

from mask_gate.models.networks.fusion import fuse_norms
from mask_gate.models.networks.zoo import build


@pytest.mark.parametrize("architecture", ["yolov3_tiny", "yolov3_lite"])
def test_the_outputs_stay_the_same(architecture):
    torch.manual_seed(0)
    network = build(architecture)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # as after training, not 0 and 1
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2)
    network.eval()
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        expected = network.predict(images)
        fuse_norms(network)
        torch.testing.assert_close(network.predict(images), expected, atol=1e-3, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
