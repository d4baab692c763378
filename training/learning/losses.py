"""Losses: what a detector's raw maps cost, as parts that add up to the total."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid, one_hot

from mask_gate.models.networks.anchors import MAX_SIZE_LOGIT, Scale, encode
from mask_gate.training.config import AssignConfig, Focal, LossConfig
from mask_gate.training.errors import UsageError
from mask_gate.training.learning.anchor_rules import free_of_overlap
from mask_gate.training.learning.assign import RULES_BY_OVERLAP, assign
from mask_gate.training.learning.targets import MapShape, ScaleTargets, Truth


@dataclass(frozen=True, slots=True)
class LossParts:
    """Scalars of one batch, gains included.

    Attributes:
        box: how far the boxes are off.
        objectness: faces not seen and seen where there are none.
        classes: classes mistaken.
    """

    box: Tensor
    objectness: Tensor
    classes: Tensor

    @property
    def total(self) -> Tensor:
        """What the optimizer makes smaller."""
        return self.box + self.objectness + self.classes


def cross_entropy(logits: Tensor, targets: Tensor, focal: Focal | None) -> Tensor:
    """Binary cross-entropy of each logit, focally weighted: -alpha_t (1 - p_t)^gamma log p_t.

    Args:
        logits: any shape.
        targets: same shape, 0 or 1.
        focal: none is the plain cross-entropy, as is Focal(gamma=0) without alpha.

    Returns:
        Same shape, not reduced.
    """
    plain = binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if focal is None:
        return plain
    signed = logits * (2 * targets - 1)  # log p_t = logsigmoid(signed)
    weight = torch.exp(logsigmoid(-signed) * focal.gamma)
    if focal.alpha is not None:
        alpha_positive, alpha_negative = focal.alpha, 1 - focal.alpha
        weight = weight * (alpha_positive * targets + alpha_negative * (1 - targets))
    if focal.positives_only:
        weight = torch.where(targets > 0, weight, torch.ones_like(weight))
    return weight * plain


def complete_iou(a_xyxy: Tensor, b_xyxy: Tensor) -> Tensor:
    """CIoU of boxes pair by pair (Zheng et al., 2020, equation 10): [N, 4] twice to [N]."""
    wh_a, wh_b = a_xyxy[:, 2:] - a_xyxy[:, :2], b_xyxy[:, 2:] - b_xyxy[:, :2]
    top_left = torch.maximum(a_xyxy[:, :2], b_xyxy[:, :2])
    bottom_right = torch.minimum(a_xyxy[:, 2:], b_xyxy[:, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(1)
    iou = shared / (wh_a.prod(1) + wh_b.prod(1) - shared).clamp(min=1e-9)
    hull_start = torch.minimum(a_xyxy[:, :2], b_xyxy[:, :2])
    hull = torch.maximum(a_xyxy[:, 2:], b_xyxy[:, 2:]) - hull_start
    apart = (a_xyxy[:, :2] + a_xyxy[:, 2:] - b_xyxy[:, :2] - b_xyxy[:, 2:]) / 2
    distance = apart.square().sum(1) / hull.square().sum(1).clamp(min=1e-9)
    angle = torch.atan(wh_a[:, 0] / wh_a[:, 1].clamp(min=1e-9)) - torch.atan(
        wh_b[:, 0] / wh_b[:, 1].clamp(min=1e-9)
    )
    shape = 4 / math.pi**2 * angle.square()
    with torch.no_grad():
        trade = shape / (1 - iou + shape).clamp(min=1e-9)
    return iou - distance - trade * shape


class DetectionLoss:
    """The loss of one network.

    Args:
        scales: of the network.
        config: terms and gains.
        assigner: which cells answer for which face.
        device: where the raw maps are.

    Raises:
        UsageError: class weights for another number of classes.
    """

    def __init__(
        self,
        scales: Sequence[Scale],
        num_classes: int,
        config: LossConfig,
        assigner: AssignConfig,
        device: torch.device | None = None,
    ) -> None:
        weights = config.class_weights or (1.0,) * num_classes
        if len(weights) != num_classes:
            raise UsageError(
                f"loss.class_weights: expected {num_classes} values, one a class, "
                f"got {len(weights)}"
            )
        self.scales = tuple(scales)
        self.num_classes = num_classes
        self.config = config
        self.assigner = assigner
        self.class_weights = torch.tensor(weights, device=device)
        self._anchors_wh = [torch.tensor(scale.anchors_wh, device=device) for scale in scales]

    def __call__(
        self,
        raw_maps: Sequence[Tensor],
        truth: Truth,
        targets: Sequence[ScaleTargets] | None = None,
        counts: Sequence[int] | None = None,
    ) -> LossParts:
        """Loss of a batch; finite, and a gradient for every map, also without any face.

        Args:
            raw_maps: as the network returned them.
            truth: the batch's faces, in the order of their images.
            targets: made ahead by `assign`; none: made here.
            counts: how many faces each image has; none: counted here.
        """
        if targets is None:
            shapes = [MapShape.of(raw) for raw in raw_maps]
            targets = assign(shapes, self.scales, truth, self.assigner)
        if counts is None:
            counts = torch.bincount(truth.image, minlength=len(raw_maps[0])).tolist()
        parts = [
            self._scale_parts(level, raw, target, truth, counts)
            for level, (raw, target) in enumerate(zip(raw_maps, targets, strict=True))
        ]
        box, objectness, classes = (torch.stack(terms).sum() for terms in zip(*parts, strict=True))
        if self.config.average == "per_face":
            faces = max(1, len(truth))
            box, objectness, classes = box / faces, objectness / faces, classes / faces
        gains = self.config
        return LossParts(
            box * gains.box_gain, objectness * gains.objectness_gain, classes * gains.class_gain
        )

    def _scale_parts(
        self, level: int, raw: Tensor, target: ScaleTargets, truth: Truth, counts: Sequence[int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        chosen = raw[tuple(target.cells.T)]  # [P, 5 + C]
        per_box = self._box_term(chosen, level, target, truth) * target.box_weight
        per_class = self._class_term(chosen, target, truth) * target.class_weight
        negative_weight = target.negative_weight
        if self.assigner.rule in RULES_BY_OVERLAP:
            scale, most = self.scales[level], self.assigner.ignore_iou
            free = free_of_overlap(raw, scale, truth, counts, most)
            negative_weight = negative_weight * free
        objects, nothing = self._objectness_terms(raw, chosen, target.is_object, negative_weight)
        if self.config.average == "per_cell":
            positives = max(1, len(chosen))
            negatives = negative_weight.count_nonzero().clamp(min=1)
            return (
                per_box.sum() / positives,
                objects.sum() / positives + self.config.no_object_gain * nothing.sum() / negatives,
                per_class.sum() / (positives * self.num_classes),
            )
        return (
            per_box.sum(),
            objects.sum() + self.config.no_object_gain * nothing.sum(),
            per_class.sum(),
        )

    def _box_term(self, chosen: Tensor, level: int, target: ScaleTargets, truth: Truth) -> Tensor:
        """[P]: squared errors as in YOLOv3 (section 2.1), or 1 - CIoU of the decoded boxes."""
        wanted = truth.boxes_xyxy[target.truth]
        cells_xy = target.cells[:, [3, 2]].to(chosen.dtype)
        anchors = self._anchors_wh[level][target.cells[:, 1]]
        stride = self.scales[level].stride
        if self.config.box == "mse":
            logits = encode(wanted, cells_xy, anchors, stride)
            centre_error = (torch.sigmoid(chosen[:, :2]) - torch.sigmoid(logits[:, :2])).square()
            return centre_error.sum(1) + (chosen[:, 2:4] - logits[:, 2:]).square().sum(1)
        centre = (torch.sigmoid(chosen[:, :2]) + cells_xy) * stride
        half = torch.exp(chosen[:, 2:4].clamp(max=MAX_SIZE_LOGIT)) * anchors / 2
        return 1 - complete_iou(torch.cat((centre - half, centre + half), 1), wanted)

    def _class_term(self, chosen: Tensor, target: ScaleTargets, truth: Truth) -> Tensor:
        """[P]: cross-entropies summed over classes, times the weight of the true class.

        A class of which the label of a face says nothing is left out: it would be learnt as wrong
        for faces that may be of it.
        """
        focal = self.config.classes if isinstance(self.config.classes, Focal) else None
        labels = truth.labels[target.truth]
        wanted = one_hot(labels, self.num_classes).to(chosen.dtype)
        of_each = cross_entropy(chosen[:, 5:], wanted, focal)
        if truth.unknown is not None:
            of_each = of_each * ~truth.unknown[target.truth]
        return of_each.sum(1) * self.class_weights.to(chosen)[labels]

    def _objectness_terms(
        self, raw: Tensor, chosen: Tensor, is_object: Tensor, negative_weight: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Terms of the chosen cells that are objects, and of all others by their weight."""
        focal = self.config.objectness if isinstance(self.config.objectness, Focal) else None
        logits = chosen[:, 4]
        objects = cross_entropy(logits, torch.ones_like(logits), focal)
        everywhere = raw[..., 4]
        nothing = cross_entropy(everywhere, torch.zeros_like(everywhere), focal)
        return objects * is_object, nothing * negative_weight
