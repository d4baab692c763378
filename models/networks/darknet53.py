"""Darknet-53: the trunk of YOLOv3 (section 2.4), and the convolution block the family shares."""

from __future__ import annotations

from torch import Tensor, nn


class ConvUnit(nn.Sequential):
    """Convolution, batch norm, leaky ReLU: Darknet's `[convolutional]` with `batch_normalize=1`."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, bias=False),
            # Darknet adds 1e-6 where PyTorch's default is 1e-5. Its running statistics take in a
            # hundredth of each batch; a tenth, PyTorch's default, lets short trainings settle too.
            nn.BatchNorm2d(channels_out, eps=1e-6, momentum=0.1),
            nn.LeakyReLU(0.1, inplace=True),
        )


class Residual(nn.Module):
    """Halve the channels by 1x1, restore them by 3x3, add the input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = ConvUnit(channels, channels // 2, 1)
        self.expand = ConvUnit(channels // 2, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to the same shape."""
        out: Tensor = self.expand(self.reduce(x))
        return x + out


class Darknet53(nn.Module):
    """52 convolutions in six stages; modules stand in the order of Darknet's weight files."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvUnit(3, 32, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(
                ConvUnit(channels // 2, channels, 3, stride=2),
                *(Residual(channels) for _ in range(blocks)),
            )
            for channels, blocks in ((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4))
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[B, 3, S, S] to maps of 256, 512 and 1024 channels at strides 8, 16 and 32."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[2], maps[3], maps[4]
