"""Assignment: which cells and anchors answer for which face, by the configured rule."""

from __future__ import annotations

from collections.abc import Sequence

from mask_gate.models.networks.anchors import Scale
from mask_gate.training.config import AssignConfig
from mask_gate.training.learning.anchor_rules import best_of_all, best_per_scale, several_cells
from mask_gate.training.learning.centre_rule import centre_rule
from mask_gate.training.learning.targets import MapShape, ScaleTargets, Truth

# Cells without a face whose box overlaps one are left alone; only the network's answer tells which.
RULES_BY_OVERLAP = ("best_of_all", "several_cells")


def assign(
    shapes: Sequence[MapShape], scales: Sequence[Scale], truth: Truth, config: AssignConfig
) -> list[ScaleTargets]:
    """Targets of every raw map; a batch without faces is all negative.

    Args:
        shapes: of the raw maps.
        scales: of the network.
        truth: the batch's faces, in main memory.
        config: the rule.
    """
    if config.rule == "best_of_all":
        return best_of_all(shapes, scales, truth)
    if config.rule == "several_cells":
        return several_cells(shapes, scales, truth, config.max_side_ratio)
    if config.rule == "centre":
        return [centre_rule(*pair, truth) for pair in zip(shapes, scales, strict=True)]
    return [
        best_per_scale(*pair, truth, config.ignore_iou) for pair in zip(shapes, scales, strict=True)
    ]


def map_shapes(images: int, size: int, scales: Sequence[Scale]) -> list[MapShape]:
    """Shapes of a network's raw maps for a batch of square images."""
    return [
        MapShape(images, len(scale.anchors_wh), size // scale.stride, size // scale.stride)
        for scale in scales
    ]
