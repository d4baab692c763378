"""Calibration folded into a network: scores become probabilities, and no runtime knows of it.

The logits are the outputs of last convolutions, so a straight line through each is one more factor
of its weights and another bias: torch, ONNX Runtime and OpenVINO all give what was fitted. So is a
slope over the size of a box: its logarithm is an output beside the objectness.
"""

from __future__ import annotations

import math

import torch

from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.operating_point import SIZE_ORIGIN_PX, Calibration


@torch.no_grad()
def fold(network: DetectionNetwork, calibration: Calibration) -> None:
    """Let `network` give calibrated scores from now on, in place; once, for it adds up."""
    scales = iter(network.scales)
    for convolution, objectness, classes in network.score_outputs():
        weight, bias = convolution.weight, convolution.bias
        assert bias is not None
        weight[classes] *= calibration.class_slope
        bias[classes] *= calibration.class_slope
        if not objectness:
            continue
        for channel, anchor_wh in zip(objectness, next(scales).anchors_wh, strict=True):
            weight[channel] *= calibration.slope
            bias[channel] = bias[channel] * calibration.slope + calibration.offset
            for size, anchor in zip((channel - 2, channel - 1), anchor_wh, strict=True):
                # A side is exp(output) times the anchor's; the size is the mean of both logarithms.
                weight[channel] += weight[size] * (calibration.size_slope / 2)
                start = bias[size] + math.log(anchor / SIZE_ORIGIN_PX)
                bias[channel] += start * (calibration.size_slope / 2)
