"""Anchors: raw maps to boxes and back, as exact inverses."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# exp() of a larger logit would be a face 1,000 times its anchor: no picture holds one, and an
# unbounded exp() turns one odd activation into an infinite box (YOLOv3 leaves it unbounded).
MAX_SIZE_LOGIT = math.log(1000.0)


@dataclass(frozen=True, slots=True)
class Scale:
    """One output map of a detector: its stride and the anchors each of its cells holds.

    Attributes:
        stride: input pixels per cell.
        anchors_wh: widths and heights in input pixels, one pair an anchor.
    """

    stride: int
    anchors_wh: tuple[tuple[float, float], ...]


def decode(raw: Tensor, scale: Scale) -> Tensor:
    """Turn one raw map into boxes and probabilities (YOLOv3, section 2.1).

    Args:
        raw: [B, A, H, W, 5 + C] logits: x, y, w, h, objectness, classes.
        scale: stride and anchors of this map.

    Returns:
        [B, A * H * W, 5 + C]: corners x1, y1, x2, y2 in input pixels, objectness and class
        probabilities in 0..1.
    """
    raw = raw.float()  # sizes inside the clamp are beyond half precision's range
    batch, _, height, width, channels = raw.shape
    grid_y = torch.arange(height, device=raw.device, dtype=raw.dtype).view(1, 1, height, 1)
    grid_x = torch.arange(width, device=raw.device, dtype=raw.dtype).view(1, 1, 1, width)
    # Filled where they are needed: a copy from the host could not be captured as a CUDA graph.
    sides = [raw.new_full((), side) for pair in scale.anchors_wh for side in pair]
    anchors = torch.stack(sides).view(1, -1, 1, 1, 2)
    center_x = (torch.sigmoid(raw[..., 0]) + grid_x) * scale.stride
    center_y = (torch.sigmoid(raw[..., 1]) + grid_y) * scale.stride
    half_wh = torch.exp(raw[..., 2:4].clamp(max=MAX_SIZE_LOGIT)) * anchors / 2
    center = torch.stack((center_x, center_y), dim=-1)
    decoded = torch.cat((center - half_wh, center + half_wh, torch.sigmoid(raw[..., 4:])), dim=-1)
    return decoded.reshape(batch, -1, channels)


def encode(
    boxes_xyxy: Tensor, cells_xy: Tensor, anchors_wh: Tensor, stride: int, margin: float = 1e-4
) -> Tensor:
    """The logits that `decode` turns into these boxes: its inverse for given cells and anchors.

    Args:
        boxes_xyxy: [N, 4] input pixels, each centred in its cell.
        cells_xy: [N, 2] column and row of the cell.
        anchors_wh: [N, 2] input pixels.
        stride: input pixels per cell.
        margin: how far a centre is kept from its cell's border, where the logit is infinite.

    Returns:
        [N, 4] logits x, y, w, h.
    """
    center = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    offset = (center / stride - cells_xy).clamp(margin, 1 - margin)
    size = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).clamp(min=margin)
    return torch.cat((torch.logit(offset), torch.log(size / anchors_wh)), dim=1)
