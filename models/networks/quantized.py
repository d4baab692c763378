"""Quantized: convolutions that calculate in 8 bits, with ranges measured on pictures.

Here the arithmetic is still done in floating point. What is rounded, and how, goes into an exported
file as QuantizeLinear and DequantizeLinear, which tell a runtime that it may calculate in integers.
Inputs have a scale and a zero point, weights a scale for each channel (Jacob et al., CVPR 2018,
sections 2.1 and 3). The range of the inputs is the one that costs the least squared error: rare
values are cut off, so that all others are rounded less.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mask_gate.models.networks.fusion import fuse_norms
from mask_gate.models.networks.network import DetectionNetwork

_LEVELS = 255  # above the lowest
_WEIGHT_LOW, _WEIGHT_HIGH = -128, 127
_VALUES_A_BATCH = 2_000  # remembered of a convolution's inputs; some maps have millions
_SHARES = torch.linspace(0.3, 1.0, 29)  # of the whole range, to choose from


def quantize(network: DetectionNetwork, batches: Iterable[Tensor], seed: int = 0) -> None:
    """Let all convolutions calculate in 8 bits, in place, but those that give the results.

    Args:
        network: in evaluation mode, and never trained again; norms are folded in first.
        batches: [B, 3, H, W] each, RGB in 0..1: what the network will see. Some hundred pictures
            will do.
        seed: of the inputs that are drawn for measuring.

    Raises:
        ValueError: there were no pictures.
    """
    fuse_norms(network)
    results = [output for output, _, _ in network.score_outputs()]
    inputs: dict[nn.Conv2d, list[Tensor]] = {
        module: []
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module not in results
    }
    drawing = torch.Generator().manual_seed(seed)

    def watch(convolution: nn.Module, given: tuple[Tensor, ...]) -> None:
        values = given[0].flatten()
        chosen = torch.randint(len(values), (_VALUES_A_BATCH,), generator=drawing)
        inputs[convolution].append(values[chosen])  # type: ignore[index]

    watching = [convolution.register_forward_pre_hook(watch) for convolution in inputs]
    with torch.no_grad():
        for batch in batches:
            network(batch)
    for handle in watching:
        handle.remove()
    if not all(inputs.values()):
        raise ValueError("there are no pictures to measure the ranges on")
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.Conv2d) and child in inputs:
                low, high = _best_range(torch.cat(inputs[child]))
                setattr(module, name, QuantizedConv(child, low, high))


class QuantizedConv(nn.Module):
    """A convolution of rounded inputs and rounded weights; the bias stays as it is.

    Args:
        convolution: its weights are taken over.
        low: lowest input, 0 at most; less counts as this.
        high: highest input, above `low`.
    """

    weight_scales: Tensor
    weight_zeros: Tensor

    def __init__(self, convolution: nn.Conv2d, low: float, high: float) -> None:
        super().__init__()
        self.convolution = convolution
        self.scale, self.zero_point = _affine(low, high)
        largest = convolution.weight.detach().abs().amax((1, 2, 3))
        scales = (largest / _WEIGHT_HIGH).clamp(min=torch.finfo(largest.dtype).eps)
        self.register_buffer("weight_scales", scales)
        self.register_buffer("weight_zeros", torch.zeros(len(scales), dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        """As the convolution's."""
        convolution = self.convolution
        x = torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero_point, 0, _LEVELS)
        weight = torch.fake_quantize_per_channel_affine(
            convolution.weight, self.weight_scales, self.weight_zeros, 0, _WEIGHT_LOW, _WEIGHT_HIGH
        )
        return nn.functional.conv2d(
            x,
            weight,
            convolution.bias,
            convolution.stride,
            convolution.padding,
            convolution.dilation,
            convolution.groups,
        )


def _affine(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point by which 0..255 stand for `low` to `high`; 0 stands for itself."""
    scale = (high - low) / _LEVELS
    return scale, round(-low / scale)


def _best_range(values: Tensor) -> tuple[float, float]:
    """Lowest and highest value by whose levels these are met best."""
    low = min(float(values.min()), 0.0)
    high = max(float(values.max()), low + 1e-6, 1e-6)

    def error(share: float) -> float:
        scale, zero_point = _affine(low * share, high * share)
        met = torch.fake_quantize_per_tensor_affine(values, scale, zero_point, 0, _LEVELS)
        return float((met - values).square().mean())

    best = min(_SHARES.tolist(), key=error)
    return low * best, high * best
