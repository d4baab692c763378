"""Assignment: which cells and anchors answer for which face, by four rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mask_gate.models.networks.anchors import Scale, decode
from mask_gate.training.config import AssignConfig

# CornerNet (Law and Deng, 2018, section 3.2): a box this good still counts; sets how wide the
# centre rule's reward spreads around a face's middle.
CENTRE_MIN_IOU = 0.7
# How far from a face's middle, as a part of its shorter side, cells answer for its class.
CLASS_SPREAD = 0.12


@dataclass(frozen=True, slots=True)
class Truth:
    """The faces of a batch, flat.

    Attributes:
        image: [N] index of the image in the batch.
        boxes_xyxy: [N, 4] input pixels.
        labels: [N] class indices.
    """

    image: Tensor
    boxes_xyxy: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, slots=True)
class ScaleTargets:
    """What one raw map should say.

    Attributes:
        cells: [P, 4] batch, anchor, row, column of the cells that answer for a face.
        truth: [P] which face of the batch each answers for.
        box_weight: [P] how much each counts in the box term; those of one face add up to 1
            under the centre rule and are 1 each under the others.
        class_weight: [P] the same for the class term.
        is_object: [P] bool, whether objectness is asked of it too.
        negative_weight: [B, A, H, W] how much "no face here" counts; 0 leaves a cell alone.
    """

    cells: Tensor
    truth: Tensor
    box_weight: Tensor
    class_weight: Tensor
    is_object: Tensor
    negative_weight: Tensor


def assign(
    raw_maps: Sequence[Tensor], scales: Sequence[Scale], truth: Truth, config: AssignConfig
) -> list[ScaleTargets]:
    """Targets of every raw map by the configured rule; a batch without faces is all negative."""
    if config.rule == "centre":
        return [
            _centre_rule(raw, scale, truth) for raw, scale in zip(raw_maps, scales, strict=True)
        ]
    if config.rule == "best_per_scale":
        return [
            _best_per_scale(raw, scale, truth, config.ignore_iou)
            for raw, scale in zip(raw_maps, scales, strict=True)
        ]
    if config.rule == "best_of_all":
        chosen = _best_of_all(raw_maps, scales, truth)
    else:
        chosen = _several_cells(raw_maps, scales, truth, config.max_side_ratio)
    return [
        _full_weight_targets(
            raw, cells, faces, _free_of_overlap(raw, scale, truth, config.ignore_iou)
        )
        for raw, scale, (cells, faces) in zip(raw_maps, scales, chosen, strict=True)
    ]


def _sizes(truth: Truth) -> Tensor:
    return (truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]).clamp(min=1e-3)


def _middles(truth: Truth) -> Tensor:
    return (truth.boxes_xyxy[:, 2:] + truth.boxes_xyxy[:, :2]) / 2


def _shape_iou(sizes: Tensor, scale_anchors: Tensor) -> Tensor:
    """[N, 2] and [A, 2] to [N, A], boxes laid on a common centre."""
    inner = torch.minimum(sizes[:, None], scale_anchors[None]).prod(-1)
    return inner / (sizes.prod(-1)[:, None] + scale_anchors.prod(-1)[None] - inner)


def _own_cells(raw: Tensor, stride: int, points: Tensor) -> Tensor:
    """[N, 2] row and column of each point's cell; a point on the far border is in the last one."""
    height, width = raw.shape[2:4]
    column = (points[:, 0] / stride).long().clamp(0, width - 1)
    row = (points[:, 1] / stride).long().clamp(0, height - 1)
    return torch.stack((row, column), dim=1)


def _full_weight_targets(
    raw: Tensor, cells: Tensor, faces: Tensor, negative_weight: Tensor
) -> ScaleTargets:
    """Every chosen cell is an object of full weight; two faces in one cell: the smaller wins."""
    cells, first = _without_repeats(cells)
    negative_weight[tuple(cells.T)] = 0.0
    ones = raw.new_ones(len(cells))
    return ScaleTargets(cells, faces[first], ones, ones, ones.bool(), negative_weight)


def _without_repeats(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Drop later rows that repeat an earlier one; returns cells and the positions kept."""
    if not len(cells):
        return cells, torch.zeros(0, dtype=torch.long, device=cells.device)
    unique, inverse = torch.unique(cells, dim=0, return_inverse=True)
    order = torch.arange(len(cells), device=cells.device)
    first = torch.full((len(unique),), len(cells), dtype=torch.long, device=cells.device)
    first = first.scatter_reduce(0, inverse, order, "amin")
    return unique, first


def _smallest_first(truth: Truth) -> Tensor:
    return _sizes(truth).prod(1).argsort(stable=True)


def _best_per_scale(raw: Tensor, scale: Scale, truth: Truth, ignore_iou: float) -> ScaleTargets:
    """The report's rule: every face takes its best-shaped anchor of every scale.

    In a face's own cell, further anchors whose shape overlaps it by more than `ignore_iou` are
    left alone; every other cell is negative.
    """
    order = _smallest_first(truth)
    shape = _shape_iou(_sizes(truth), raw.new_tensor(scale.anchors_wh))
    own = _own_cells(raw, scale.stride, _middles(truth))
    negative = raw.new_ones(raw.shape[:4])
    face, anchor = (shape > ignore_iou).nonzero(as_tuple=True)
    negative[truth.image[face], anchor, own[face, 0], own[face, 1]] = 0.0
    best = shape.argmax(1) if len(truth) else truth.labels
    cells = torch.stack((truth.image, best, own[:, 0], own[:, 1]), dim=1)[order]
    return _full_weight_targets(raw, cells, order, negative)


def _best_of_all(
    raw_maps: Sequence[Tensor], scales: Sequence[Scale], truth: Truth
) -> list[tuple[Tensor, Tensor]]:
    """YOLOv3's rule (section 2.1): every face takes the one best-shaped anchor of all scales."""
    order = _smallest_first(truth)
    chosen = []
    for raw, scale, mask in zip(raw_maps, scales, _best_anchor_masks(scales, truth), strict=True):
        row, anchor = mask[order].nonzero(as_tuple=True)
        face = order[row]
        own = _own_cells(raw, scale.stride, _middles(truth)[face])
        cells = torch.cat((truth.image[face, None], anchor[:, None], own), dim=1)
        chosen.append((cells, face))
    return chosen


def _best_anchor_masks(scales: Sequence[Scale], truth: Truth) -> list[Tensor]:
    """[N, A] a scale: True where an anchor is the face's best of all scales."""
    anchors = truth.boxes_xyxy.new_tensor([pair for s in scales for pair in s.anchors_wh])
    shape = _shape_iou(_sizes(truth), anchors)
    mask = torch.zeros_like(shape, dtype=torch.bool)
    if len(truth):
        mask[torch.arange(len(truth)), shape.argmax(1)] = True
    return list(torch.split(mask, [len(s.anchors_wh) for s in scales], dim=1))


def _several_cells(
    raw_maps: Sequence[Tensor], scales: Sequence[Scale], truth: Truth, max_ratio: float
) -> list[tuple[Tensor, Tensor]]:
    """Every anchor of like shape answers, in the face's cell and the two neighbours it leans to."""
    order = _smallest_first(truth)
    chosen = []
    for raw, scale in zip(raw_maps, scales, strict=True):
        sizes = _sizes(truth)[order]
        ratio = sizes[:, None] / raw.new_tensor(scale.anchors_wh)[None]
        fits = torch.maximum(ratio, 1 / ratio).amax(-1) < max_ratio
        row, anchor = fits.nonzero(as_tuple=True)
        face = order[row]
        point = _middles(truth)[face] / scale.stride
        lean = torch.where(point % 1 < 0.5, -1, 1)
        steps = torch.stack((torch.zeros_like(lean), lean * _axis(lean, 0), lean * _axis(lean, 1)))
        at = (point.long()[None] + steps).reshape(-1, 2)
        image, anchors = truth.image[face].repeat(3), anchor.repeat(3)
        inside = ((at >= 0) & (at < at.new_tensor((raw.shape[3], raw.shape[2])))).all(1)
        cells = torch.stack((image, anchors, at[:, 1], at[:, 0]), 1)[inside]
        chosen.append((cells, face.repeat(3)[inside]))
    return chosen


def _axis(like: Tensor, axis: int) -> Tensor:
    """[1, 2] that keeps one coordinate."""
    return torch.eye(2, dtype=like.dtype, device=like.device)[axis : axis + 1]


@torch.no_grad()
def _free_of_overlap(raw: Tensor, scale: Scale, truth: Truth, ignore_iou: float) -> Tensor:
    """[B, A, H, W]: 0 where the box said there overlaps a face of its image well, else 1."""
    batch, anchors, height, width, _ = raw.shape
    boxes = decode(raw.detach(), scale)[..., :4]
    weight = raw.new_ones(batch, boxes.shape[1])
    for index in range(batch):
        faces = truth.boxes_xyxy[truth.image == index]
        if len(faces):
            weight[index] = (pairwise_iou(boxes[index], faces).amax(1) <= ignore_iou).to(raw.dtype)
    return weight.view(batch, anchors, height, width)


def pairwise_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """[N, 4] and [M, 4] to [N, M]."""
    top_left = torch.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = torch.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(-1)
    area_a = (a_xyxy[:, 2:] - a_xyxy[:, :2]).prod(-1)
    area_b = (b_xyxy[:, 2:] - b_xyxy[:, :2]).prod(-1)
    return shared / (area_a[:, None] + area_b[None] - shared).clamp(min=1e-9)


def _centre_rule(raw: Tensor, scale: Scale, truth: Truth) -> ScaleTargets:
    """CenterNet's rule (Zhou et al., 2019, section 3) for one anchor a cell.

    The cell of a face's middle is the object. Around it "no face here" counts less, by
    (1 - g)^4 of a Gaussian g as wide as the face allows. Cells a peak may slip to answer for the
    box too, and a wider neighbourhood for the class, so that a peak one cell off still brings a
    good box and the right class.
    """
    height, width = raw.shape[2:4]
    spread = torch.zeros_like(raw[:, 0, ..., 0])
    own = _own_cells(raw, scale.stride, _middles(truth))
    sizes = (_sizes(truth) / scale.stride).tolist()
    parts = []
    for face in _smallest_first(truth).tolist():
        sigma = _centre_sigma(*sizes[face])
        class_sigma = max(sigma, CLASS_SPREAD * min(sizes[face]))
        rows, columns, away = _neighbourhood(own[face], round(3 * class_sigma) + 1, height, width)
        image = int(truth.image[face])
        patch = spread[image, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        bump = torch.exp(-away / (2 * sigma * sigma))
        patch.copy_(torch.maximum(patch, bump))
        parts.append(_centre_cells(image, face, rows, columns, away, sigma, class_sigma))
    negative = (1 - spread).pow(4)[:, None]
    if not parts:
        none = truth.image.new_zeros(0)
        empty = raw.new_zeros(0)
        return ScaleTargets(none.view(0, 4), none, empty, empty, none.bool(), negative)
    cells, faces, for_box, for_class, is_object = (torch.cat(c) for c in zip(*parts, strict=True))
    return _centre_targets(cells, faces, for_box, for_class, is_object, negative)


def _centre_sigma(width: float, height: float) -> float:
    """Width of the Gaussian, in cells, for a face of this size in cells.

    A box of the face's size shifted by r along both axes has IoU (w-r)(h-r) / (2wh - (w-r)(h-r));
    r is where that is CENTRE_MIN_IOU, and the Gaussian is a third of it wide, as in CornerNet.
    """
    shared = 2 * CENTRE_MIN_IOU / (1 + CENTRE_MIN_IOU) * width * height
    total = width + height
    radius = (total - max(0.0, total * total - 4 * (width * height - shared)) ** 0.5) / 2
    return float(max(radius, 1.0) * 2 + 1) / 6


def _neighbourhood(
    cell: Tensor, reach: int, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and columns within `reach` of a cell, and [R, C] squared distances to it."""
    row, column = cell.tolist()
    rows = torch.arange(max(0, row - reach), min(height, row + reach + 1), device=cell.device)
    columns = torch.arange(
        max(0, column - reach), min(width, column + reach + 1), device=cell.device
    )
    away = (rows - row)[:, None] ** 2 + (columns - column)[None] ** 2
    return rows, columns, away.float()


def _centre_cells(
    image: int,
    face: int,
    rows: Tensor,
    columns: Tensor,
    away: Tensor,
    sigma: float,
    class_sigma: float,
) -> tuple[Tensor, ...]:
    """Cells [P, 4], face [P], box and class weights [P], is_object [P] of one face."""
    for_box = torch.exp(-away / (2 * sigma * sigma))
    for_class = torch.exp(-away / (2 * class_sigma * class_sigma))
    for_box, for_class = for_box * (for_box >= 0.5), for_class * (for_class >= 0.5)
    for_box, for_class = for_box / for_box.sum(), for_class / for_class.sum()
    row, column = for_class.nonzero(as_tuple=True)
    at = torch.stack((rows[row], columns[column]), 1)
    cells = torch.cat((at.new_tensor([[image, 0]]).expand(len(at), 2), at), 1)
    return (
        cells,
        torch.full((len(at),), face, device=away.device),
        for_box[row, column],
        for_class[row, column],
        away[row, column] == 0,
    )


def _centre_targets(
    cells: Tensor,
    faces: Tensor,
    for_box: Tensor,
    for_class: Tensor,
    objects: Tensor,
    negative: Tensor,
) -> ScaleTargets:
    """A cell claimed by two faces answers for the one it is the middle of, else for the smaller."""
    order = objects.to(torch.int8).argsort(descending=True, stable=True)
    unique, first = _without_repeats(cells[order])
    kept = order[first]
    is_object = objects[kept]
    negative[tuple(unique[is_object].T)] = 0.0
    return ScaleTargets(unique, faces[kept], for_box[kept], for_class[kept], is_object, negative)
