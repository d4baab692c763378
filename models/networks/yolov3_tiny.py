"""YOLOv3-tiny: seven convolutions with pooling, heads at strides 32 and 16."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mask_gate.models.networks.anchors import Scale
from mask_gate.models.networks.darknet53 import ConvUnit
from mask_gate.models.networks.network import DetectionNetwork, last_convolution, start_head

# The six anchors of the authors' yolov3-tiny.cfg.
SCALES = (
    Scale(32, ((81, 82), (135, 169), (344, 319))),
    Scale(16, ((10, 14), (23, 27), (37, 58))),
)


class SamePool(nn.Module):
    """Maximum over 2 x 2 at stride 1 that keeps the size: what lies outside is not counted."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        return nn.functional.max_pool2d(nn.functional.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)


class PooledUnit(ConvUnit):
    """Convolution, batch norm, maximum over 2 x 2, leaky ReLU.

    The rectifier keeps the order of values: behind the maximum it says the same as before it, and
    has a quarter to do, there and back.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, C', H / 2, W / 2]."""
        convolution, norm, rectifier = self
        out: Tensor = rectifier(nn.functional.max_pool2d(norm(convolution(x)), 2))
        return out


class YOLOv3Tiny(DetectionNetwork):
    """8.7 million parameters at three classes; modules stand in the order of Darknet's files."""

    def __init__(self, num_classes: int, scales: tuple[Scale, ...] = SCALES) -> None:
        super().__init__(scales, num_classes)
        outputs = [len(scale.anchors_wh) * (5 + num_classes) for scale in scales]
        fine: list[nn.Module] = []
        for channels_in, channels_out in itertools.pairwise((3, 16, 32, 64, 128)):
            # Each unit pools; the empty place behind it keeps the names of saved weights.
            fine += [PooledUnit(channels_in, channels_out, 3), nn.Identity()]
        self.fine = nn.Sequential(*fine, ConvUnit(128, 256, 3))
        self.coarse = nn.Sequential(
            nn.MaxPool2d(2),
            ConvUnit(256, 512, 3),
            SamePool(),
            ConvUnit(512, 1024, 3),
            ConvUnit(1024, 256, 1),
        )
        self.coarse_head = nn.Sequential(ConvUnit(256, 512, 3), nn.Conv2d(512, outputs[0], 1))
        self.raise_coarse = ConvUnit(256, 128, 1)
        self.fine_head = nn.Sequential(ConvUnit(384, 256, 3), nn.Conv2d(256, outputs[1], 1))
        for output, scale in zip(self.head_outputs(), scales, strict=True):
            start_head(output, len(scale.anchors_wh), num_classes)

    def head_outputs(self) -> list[nn.Conv2d]:
        """The last convolution of each head, in the order of `scales`."""
        return [last_convolution(self.coarse_head), last_convolution(self.fine_head)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, S, S] to raw maps at strides 32 and 16 (see `DetectionNetwork`)."""
        fine = self.fine(images)
        coarse = self.coarse(fine)
        raised = nn.functional.interpolate(self.raise_coarse(coarse), scale_factor=2.0)
        outputs = (self.coarse_head(coarse), self.fine_head(torch.cat((raised, fine), dim=1)))
        return tuple(
            self.split_anchors(output, scale)
            for output, scale in zip(outputs, self.scales, strict=True)
        )
