"""Targets: what the raw maps of a batch should say, and the faces they come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor


class _Tensors:
    """A frozen group of tensors that travels as one."""

    __slots__ = ()

    def to(self, device: torch.device) -> Self:
        """The same on `device`; from pinned memory nobody waits for the copy."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same in memory that a GPU can copy from by itself."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        values = (getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]
        return type(self)(*(None if value is None else change(value) for value in values))


@dataclass(frozen=True, slots=True)
class Truth(_Tensors):
    """The faces of a batch, flat, in the order of their images.

    Attributes:
        image: [N] index of the image in the batch.
        boxes_xyxy: [N, 4] input pixels.
        labels: [N] class indices.
        unknown: [N, C] bool, of which classes the labels say nothing; None: they tell all apart.
    """

    image: Tensor
    boxes_xyxy: Tensor
    labels: Tensor
    unknown: Tensor | None = None

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True, slots=True)
class ScaleTargets(_Tensors):
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


@dataclass(frozen=True, slots=True)
class MapShape:
    """The shape of one raw map.

    Attributes:
        batch: images.
        anchors: of a cell.
        height, width: in cells.
    """

    batch: int
    anchors: int
    height: int
    width: int

    @classmethod
    def of(cls, raw: Tensor) -> Self:
        """Of a raw map [B, A, H, W, 5 + C]."""
        return cls(*raw.shape[:4])

    def ones(self) -> Tensor:
        """[B, A, H, W] of ones."""
        return torch.ones(self.batch, self.anchors, self.height, self.width)


def face_sizes(truth: Truth) -> Tensor:
    """[N, 2] width and height in pixels."""
    return (truth.boxes_xyxy[:, 2:] - truth.boxes_xyxy[:, :2]).clamp(min=1e-3)


def face_middles(truth: Truth) -> Tensor:
    """[N, 2] x and y in pixels."""
    return (truth.boxes_xyxy[:, 2:] + truth.boxes_xyxy[:, :2]) / 2


def smallest_first(truth: Truth) -> Tensor:
    """[N] positions of the faces by their area."""
    return face_sizes(truth).prod(1).argsort(stable=True)


def cells_of(points: Tensor, stride: int, shape: MapShape) -> Tensor:
    """[N, 2] row and column of each point's cell; a point on the far border is in the last one."""
    column = (points[:, 0] / stride).long().clamp(0, shape.width - 1)
    row = (points[:, 1] / stride).long().clamp(0, shape.height - 1)
    return torch.stack((row, column), dim=1)


def without_repeats(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Drop later rows that repeat an earlier one; returns cells and the positions kept."""
    if not len(cells):
        return cells, torch.zeros(0, dtype=torch.long)
    unique, inverse = torch.unique(cells, dim=0, return_inverse=True)
    first = torch.full((len(unique),), len(cells), dtype=torch.long)
    first = first.scatter_reduce(0, inverse, torch.arange(len(cells)), "amin")
    return unique, first
