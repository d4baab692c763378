"""Calibration folded into a network: scores become probabilities, and no runtime knows of it.

The logits are the outputs of last convolutions, so a straight line through each is one more factor
of its weights and another bias: torch, ONNX Runtime and OpenVINO all give what was fitted.
"""

from __future__ import annotations

import torch

from mask_gate.models.networks.network import DetectionNetwork
from mask_gate.models.operating_point import Calibration


@torch.no_grad()
def fold(network: DetectionNetwork, calibration: Calibration) -> None:
    """Let `network` give calibrated scores from now on, in place; once, for it adds up."""
    for convolution, objectness, classes in network.score_outputs():
        assert convolution.bias is not None
        lines = [
            (objectness, calibration.slope, calibration.offset),
            (classes, calibration.class_slope, 0.0),
        ]
        for channels, slope, offset in lines:
            convolution.weight[channels] *= slope
            convolution.bias[channels] = convolution.bias[channels] * slope + offset
