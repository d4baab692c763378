"""Fusion: batch norms folded into the convolutions before them, for a network that only runs."""

from __future__ import annotations

import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse_norms(network: nn.Module) -> None:
    """Fold every norm that follows a convolution in a sequence, in place; outputs stay the same.

    Args:
        network: in evaluation mode, and never trained again.
    """
    for module in network.modules():
        if isinstance(module, nn.Sequential):
            for at, after in itertools.pairwise(range(len(module))):
                convolution, norm = module[at], module[after]
                if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[at] = fuse_conv_bn_eval(convolution, norm)
                    module[after] = nn.Identity()
