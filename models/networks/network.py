"""DetectionNetwork: the one contract every detector of the family keeps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mask_gate.models.networks.anchors import Scale, decode


class DetectionNetwork(nn.Module):
    """A convolutional detector in the YOLOv3 manner.

    `forward` maps images [B, 3, S, S] (RGB, float, 0..1) to one raw map a scale,
    [B, A, S / stride, S / stride, 5 + C] logits: x, y, w, h, objectness, classes.

    Attributes:
        scales: stride and anchors of each raw map, in the order `forward` returns them.
        num_classes: C.
    """

    def __init__(self, scales: tuple[Scale, ...], num_classes: int) -> None:
        super().__init__()
        self.scales = scales
        self.num_classes = num_classes

    def predict(self, images: Tensor) -> Tensor:
        """Decoded boxes and probabilities of all scales, [B, N, 5 + C] (see `anchors.decode`)."""
        raw_maps = self(images)
        return torch.cat(
            [decode(raw, scale) for raw, scale in zip(raw_maps, self.scales, strict=True)], dim=1
        )

    def head_outputs(self) -> list[nn.Conv2d]:
        """The last convolution of each head, which depends on the number of classes."""
        raise NotImplementedError

    def score_outputs(self) -> list[tuple[nn.Conv2d, list[int], list[int]]]:
        """Each convolution that scores come from: its channels of objectness, and of classes."""
        per_anchor, found = 5 + self.num_classes, []
        for output, scale in zip(self.head_outputs(), self.scales, strict=True):
            starts = range(0, len(scale.anchors_wh) * per_anchor, per_anchor)
            classes = [at + 5 + index for at in starts for index in range(self.num_classes)]
            found.append((output, [at + 4 for at in starts], classes))
        return found

    def head_state(self) -> list[Tensor]:
        """Copies of the weights of `head_outputs`."""
        return [output.weight.detach().clone() for output in self.head_outputs()]

    def split_anchors(self, output: Tensor, scale: Scale) -> Tensor:
        """A head's channels [B, A * (5 + C), H, W] as a raw map [B, A, H, W, 5 + C]."""
        batch, _, height, width = output.shape
        shape = (batch, len(scale.anchors_wh), 5 + self.num_classes, height, width)
        return output.view(shape).permute(0, 1, 3, 4, 2)


def last_convolution(head: nn.Module) -> nn.Conv2d:
    """The convolution a head ends with."""
    assert isinstance(head, nn.Sequential)
    output = head[-1]
    assert isinstance(output, nn.Conv2d)
    return output


# A detector starts by believing that almost every cell is empty (RetinaNet, section 4.1);
# otherwise the first steps are spent, and the transferred trunk shaken, on unlearning noise.
PRIOR_OBJECTNESS = 0.01


def start_head(output: nn.Conv2d, anchors: int, num_classes: int) -> None:
    """Initialise a head's last convolution: near-zero weights, rare objects, even classes."""
    nn.init.normal_(output.weight, std=0.01)
    assert output.bias is not None
    with torch.no_grad():
        bias = output.bias.view(anchors, 5 + num_classes)
        bias.zero_()
        bias[:, 4] = -torch.log(torch.tensor((1 - PRIOR_OBJECTNESS) / PRIOR_OBJECTNESS))
