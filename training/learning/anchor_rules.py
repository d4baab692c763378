"""Anchor rules: which cells and anchors of YOLOv3's maps answer for which face, by shape.

They need the faces and the shapes of the maps, not what a network says, so batches' targets can be
made ahead of time, on any processor.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mask_gate.models.networks.anchors import Scale, decode
from mask_gate.training.learning.targets import (
    MapShape,
    ScaleTargets,
    Truth,
    cells_of,
    face_middles,
    face_sizes,
    smallest_first,
    without_repeats,
)


def best_per_scale(shape: MapShape, scale: Scale, truth: Truth, ignore_iou: float) -> ScaleTargets:
    """The report's rule: every face takes its best-shaped anchor of every scale.

    In a face's own cell, further anchors whose shape overlaps it by more than `ignore_iou` are
    left alone; every other cell is negative.
    """
    order = smallest_first(truth)
    fit = _shape_iou(face_sizes(truth), torch.tensor(scale.anchors_wh))
    own = cells_of(face_middles(truth), scale.stride, shape)
    negative = shape.ones()
    face, anchor = (fit > ignore_iou).nonzero(as_tuple=True)
    negative[truth.image[face], anchor, own[face, 0], own[face, 1]] = 0.0
    best = fit.argmax(1) if len(truth) else truth.labels
    cells = torch.stack((truth.image, best, own[:, 0], own[:, 1]), dim=1)[order]
    return _full_weight_targets(cells, order, negative)


def best_of_all(
    shapes: Sequence[MapShape], scales: Sequence[Scale], truth: Truth
) -> list[ScaleTargets]:
    """YOLOv3's rule (section 2.1): every face takes the one best-shaped anchor of all scales."""
    order = smallest_first(truth)
    chosen = []
    for shape, scale, mask in zip(shapes, scales, _best_anchor_masks(scales, truth), strict=True):
        row, anchor = mask[order].nonzero(as_tuple=True)
        face = order[row]
        own = cells_of(face_middles(truth)[face], scale.stride, shape)
        cells = torch.cat((truth.image[face, None], anchor[:, None], own), dim=1)
        chosen.append(_full_weight_targets(cells, face, shape.ones()))
    return chosen


def _best_anchor_masks(scales: Sequence[Scale], truth: Truth) -> list[Tensor]:
    """[N, A] a scale: True where an anchor is the face's best of all scales."""
    anchors = truth.boxes_xyxy.new_tensor([pair for s in scales for pair in s.anchors_wh])
    fit = _shape_iou(face_sizes(truth), anchors)
    mask = torch.zeros_like(fit, dtype=torch.bool)
    if len(truth):
        mask[torch.arange(len(truth)), fit.argmax(1)] = True
    return list(torch.split(mask, [len(s.anchors_wh) for s in scales], dim=1))


def several_cells(
    shapes: Sequence[MapShape], scales: Sequence[Scale], truth: Truth, max_ratio: float
) -> list[ScaleTargets]:
    """Every anchor of like shape answers, in the face's cell and the two neighbours it leans to."""
    order = smallest_first(truth)
    chosen = []
    for shape, scale in zip(shapes, scales, strict=True):
        sizes = face_sizes(truth)[order]
        ratio = sizes[:, None] / torch.tensor(scale.anchors_wh)[None]
        fits = torch.maximum(ratio, 1 / ratio).amax(-1) < max_ratio
        row, anchor = fits.nonzero(as_tuple=True)
        face = order[row]
        point = face_middles(truth)[face] / scale.stride
        lean = torch.where(point % 1 < 0.5, -1, 1)
        steps = torch.stack((torch.zeros_like(lean), lean * _axis(lean, 0), lean * _axis(lean, 1)))
        at = (point.long()[None] + steps).reshape(-1, 2)
        image, anchors = truth.image[face].repeat(3), anchor.repeat(3)
        inside = ((at >= 0) & (at < at.new_tensor((shape.width, shape.height)))).all(1)
        cells = torch.stack((image, anchors, at[:, 1], at[:, 0]), 1)[inside]
        chosen.append(_full_weight_targets(cells, face.repeat(3)[inside], shape.ones()))
    return chosen


def _axis(like: Tensor, axis: int) -> Tensor:
    """[1, 2] that keeps one coordinate."""
    return torch.eye(2, dtype=like.dtype, device=like.device)[axis : axis + 1]


@torch.no_grad()
def free_of_overlap(
    raw: Tensor, scale: Scale, truth: Truth, counts: Sequence[int], ignore_iou: float
) -> Tensor:
    """[B, A, H, W]: 0 where the box said there overlaps a face of its image well, else 1.

    Args:
        raw: [B, A, H, W, 5 + C] of the network.
        scale: of this map.
        truth: the faces, in the order of their images, on the device of `raw`.
        counts: how many of them each image has.
        ignore_iou: what is more counts as well.
    """
    boxes = decode(raw.detach(), scale)[..., :4]
    weight = raw.new_ones(boxes.shape[:2])
    for index, faces in enumerate(torch.split(truth.boxes_xyxy, list(counts))):
        if len(faces):
            weight[index] = (pairwise_iou(boxes[index], faces).amax(1) <= ignore_iou).to(raw.dtype)
    return weight.view(raw.shape[:4])


def pairwise_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """[N, 4] and [M, 4] to [N, M]."""
    top_left = torch.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = torch.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(-1)
    area_a = (a_xyxy[:, 2:] - a_xyxy[:, :2]).prod(-1)
    area_b = (b_xyxy[:, 2:] - b_xyxy[:, :2]).prod(-1)
    return shared / (area_a[:, None] + area_b[None] - shared).clamp(min=1e-9)


def _full_weight_targets(cells: Tensor, faces: Tensor, negative_weight: Tensor) -> ScaleTargets:
    """Every chosen cell is an object of full weight; two faces in one cell: the smaller wins."""
    cells, first = without_repeats(cells)
    negative_weight[tuple(cells.T)] = 0.0
    ones = torch.ones(len(cells))
    return ScaleTargets(cells, faces[first], ones, ones, ones.bool(), negative_weight)


def _shape_iou(sizes: Tensor, scale_anchors: Tensor) -> Tensor:
    """[N, 2] and [A, 2] to [N, A], boxes laid on a common centre."""
    inner = torch.minimum(sizes[:, None], scale_anchors[None]).prod(-1)
    return inner / (sizes.prod(-1)[:, None] + scale_anchors.prod(-1)[None] - inner)
