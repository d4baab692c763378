"""YOLOv3 (Redmon and Farhadi, 2018): Darknet-53, a top-down pyramid, heads at strides 32, 16, 8."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mask_gate.models.networks.anchors import Scale
from mask_gate.models.networks.darknet53 import ConvUnit, Darknet53
from mask_gate.models.networks.network import DetectionNetwork, last_convolution, start_head

# Section 2.3: nine anchors by k-means on COCO at 416 x 416.
SCALES = (
    Scale(32, ((116, 90), (156, 198), (373, 326))),
    Scale(16, ((30, 61), (62, 45), (59, 119))),
    Scale(8, ((10, 13), (16, 30), (33, 23))),
)


class PyramidLevel(nn.Module):
    """One scale: merge with the coarser level, five alternating convolutions, a head."""

    def __init__(self, channels_in: int, channels: int, channels_above: int, outputs: int) -> None:
        super().__init__()
        self.from_above = ConvUnit(channels_above, channels, 1) if channels_above else None
        merged = channels_in + (channels if channels_above else 0)
        self.neck = nn.Sequential(
            ConvUnit(merged, channels, 1),
            ConvUnit(channels, channels * 2, 3),
            ConvUnit(channels * 2, channels, 1),
            ConvUnit(channels, channels * 2, 3),
            ConvUnit(channels * 2, channels, 1),
        )
        self.head = nn.Sequential(
            ConvUnit(channels, channels * 2, 3), nn.Conv2d(channels * 2, outputs, 1)
        )

    def forward(self, trunk_map: Tensor, above: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns this level's features for the next finer level, and the head's output."""
        x = trunk_map
        if self.from_above is not None and above is not None:
            raised = nn.functional.interpolate(self.from_above(above), scale_factor=2.0)
            x = torch.cat((raised, trunk_map), dim=1)
        features = self.neck(x)
        return features, self.head(features)


class YOLOv3(DetectionNetwork):
    """The full network: 61.5 million parameters at three classes."""

    def __init__(self, num_classes: int, scales: tuple[Scale, ...] = SCALES) -> None:
        super().__init__(scales, num_classes)
        self.trunk = Darknet53()
        plan = ((1024, 512, 0), (512, 256, 512), (256, 128, 256))
        self.levels = nn.ModuleList(
            PyramidLevel(*channels, len(scale.anchors_wh) * (5 + num_classes))
            for channels, scale in zip(plan, scales, strict=True)
        )
        for output, scale in zip(self.head_outputs(), scales, strict=True):
            start_head(output, len(scale.anchors_wh), num_classes)

    def head_outputs(self) -> list[nn.Conv2d]:
        """The last convolution of each head, in the order of `scales`."""
        return [last_convolution(level.get_submodule("head")) for level in self.levels]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, S, S] to raw maps at strides 32, 16 and 8 (see `DetectionNetwork`)."""
        above: Tensor | None = None
        raw_maps = []
        for level, trunk_map, scale in zip(
            self.levels, reversed(self.trunk(images)), self.scales, strict=True
        ):
            above, output = level(trunk_map, above)
            raw_maps.append(self.split_anchors(output, scale))
        return tuple(raw_maps)
