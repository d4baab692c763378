"""YOLOv3-lite: the family's compact member for CPUs, on the face-trained trunk of CenterFace.

CenterFace (Xu et al., 2019; MIT) is MobileNetV2 with a narrow top-down pyramid and one head at
stride 4 that says where a face is centred, how large it is and where in the cell its centre lies.
That is a YOLOv3 head with one 4 x 4 pixel anchor, written in other words: heat is objectness, its
exp(size) times the stride is YOLOv3's exp(tw) times the anchor, its offset the sigmoid's argument.
So the published face detector is this network's first day; only the classes are learnt from
nothing, by a branch that looks at all strides, because whether a mask covers the nose is seen in
fine maps and what a mask is in coarse ones.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mask_gate.models.networks.anchors import Scale
from mask_gate.models.networks.network import DetectionNetwork

SCALES = (Scale(4, ((4.0, 4.0),)),)

# MobileNetV2 (Sandler et al., 2018, table 2): expansion, channels, blocks, first stride.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
PYRAMID_CHANNELS = 24
CLASS_CHANNELS = 96


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel by 3x3, narrow by 1x1; biases only, norms are folded in."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers += [nn.Conv2d(channels_in, width, 1), nn.ReLU(inplace=True)]
        layers += [
            nn.Conv2d(width, width, 3, stride, 1, groups=width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, channels_out, 1),
        ]
        self.layers = nn.Sequential(*layers)
        self.adds_input = stride == 1 and channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        """[B, C_in, H, W] to [B, C_out, H / stride, W / stride]."""
        out: Tensor = self.layers(x)
        return x + out if self.adds_input else out


class MobileTrunk(nn.Module):
    """MobileNetV2 without its classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(inplace=True))
        self.stages = nn.ModuleList()
        channels_in = 32
        for expansion, channels, blocks, stride in STAGES:
            self.stages.append(
                nn.Sequential(
                    *(
                        InvertedResidual(
                            channels if block else channels_in,
                            channels,
                            1 if block else stride,
                            expansion,
                        )
                        for block in range(blocks)
                    )
                )
            )
            channels_in = channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[B, 3, S, S] to maps of 24, 32, 96 and 320 channels at strides 4, 8, 16 and 32."""
        x = self.stem(images)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps[1], maps[2], maps[4], maps[6]


class FacePyramid(nn.Module):
    """CenterFace's top-down path: four trunk maps to one of 24 channels at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        width = PYRAMID_CHANNELS
        self.laterals = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, width, 1), nn.ReLU(inplace=True))
            for channels in (320, 96, 32, 24)
        )
        self.raises = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(width, width, 2, 2), nn.ReLU(inplace=True))
            for _ in range(3)
        )

    def forward(self, maps: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        """Maps at strides 4, 8, 16, 32 to [B, 24, S / 4, S / 4]."""
        x: Tensor = self.laterals[0](maps[3])
        for lateral, raise_, finer in zip(
            self.laterals[1:], self.raises, reversed(maps[:3]), strict=True
        ):
            x = raise_(x) + lateral(finer)
        return x


def _unit(channels_in: int, channels_out: int, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU, for the parts that are learnt from nothing."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, 1, kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class ClassBranch(nn.Module):
    """Which class a face at each stride-4 cell is, from the trunk's maps at all strides.

    It thinks at stride 8, where two cells span the nose of a small face; the fine maps come to it
    unthinned, four neighbours as one cell's channels.
    """

    def __init__(self, num_classes: int, width: int = CLASS_CHANNELS) -> None:
        super().__init__()
        self.from_32 = _unit(320, width, 1)
        self.from_16 = _unit(96, width, 1)
        self.mix_16 = nn.Sequential(_unit(width, width, 3), _unit(width, width, 3))
        self.from_8 = _unit(32, width, 1)
        self.from_4 = _unit(4 * (24 + PYRAMID_CHANNELS), width, 1)
        self.mix_8 = nn.Sequential(_unit(width, width, 3), _unit(width, width, 3))
        self.classes = nn.Conv2d(width, num_classes * 4, 1)  # each class at four fine cells
        nn.init.normal_(self.classes.weight, std=0.01)
        nn.init.zeros_(self.classes.bias)  # type: ignore[arg-type]

    def forward(self, maps: tuple[Tensor, Tensor, Tensor, Tensor], pyramid: Tensor) -> Tensor:
        """Trunk maps and the pyramid's map to class logits [B, C, S / 4, S / 4]."""
        fine, at_8, at_16, at_32 = maps
        x = self.mix_16(self.from_16(at_16) + _double(self.from_32(at_32)))
        near = nn.functional.pixel_unshuffle(torch.cat((fine, pyramid), dim=1), 2)
        x = self.mix_8(self.from_4(near) + self.from_8(at_8) + _double(x))
        return nn.functional.pixel_shuffle(self.classes(x), 2)


def _double(x: Tensor) -> Tensor:
    return nn.functional.interpolate(x, scale_factor=2.0)


class YOLOv3Lite(DetectionNetwork):
    """About 2 million parameters; one raw map at stride 4 with one anchor."""

    def __init__(self, num_classes: int, scales: tuple[Scale, ...] = SCALES) -> None:
        super().__init__(scales, num_classes)
        self.trunk = MobileTrunk()
        self.pyramid = FacePyramid()
        self.face_features = nn.Sequential(
            nn.Conv2d(PYRAMID_CHANNELS, PYRAMID_CHANNELS, 3, 1, 1), nn.ReLU(inplace=True)
        )
        self.face = nn.Conv2d(PYRAMID_CHANNELS, 5, 1)
        self.class_branch = ClassBranch(num_classes)

    def head_outputs(self) -> list[nn.Conv2d]:
        """The class branch's last convolution."""
        return [self.class_branch.classes]

    def score_outputs(self) -> list[tuple[nn.Conv2d, list[int], list[int]]]:
        """Objectness comes from the face head, the classes from their branch."""
        return [
            (self.face, [4], []),
            (self.class_branch.classes, [], [*range(self.class_branch.classes.out_channels)]),
        ]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """[B, 3, S, S] to one raw map [B, 1, S / 4, S / 4, 5 + C]."""
        maps = self.trunk(images)
        pyramid = self.pyramid(maps)
        face = self.face(self.face_features(pyramid))
        classes = self.class_branch(maps, pyramid)
        return (self.split_anchors(torch.cat((face, classes), dim=1), self.scales[0]),)
