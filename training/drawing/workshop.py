"""Workshop: many faces drawn on by several processes; their number changes nothing."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2

from mask_gate.training.drawing.chest import MaskChest
from mask_gate.training.drawing.faces import BareFace
from mask_gate.training.drawing.landmarks import Landmarker
from mask_gate.training.drawing.painter import Drawn, Painter, Task

TASKS_AT_ONCE = 16  # pictures a worker has in memory


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be drawn.

    Attributes:
        templates: a folder of mask pictures, or None.
        shares: variants, and how often each is drawn against the others.
        each: pictures of each face, on average.
        seed: of everything drawn by chance.
    """

    templates: Path | None
    shares: tuple[tuple[str, float], ...]
    each: float
    seed: int


def draw_faces(
    order: Order, faces: Sequence[BareFace], workers: int
) -> Iterator[tuple[BareFace, list[Drawn]]]:
    """Every face with its pictures, in their order.

    Args:
        order: what to draw.
        faces: whom to draw on.
        workers: processes; the pictures are the same with any number of them.

    Raises:
        DataError: a picture or the templates cannot be read.
        ModuleNotFoundError: the extra `draw` is not installed.
    """
    if workers <= 1:
        for face in faces:
            yield face, _draw(order, _task(face))
        return
    _painter(order)  # what is missing is told once, and before any process is started
    with multiprocessing.get_context("spawn").Pool(workers, cv2.setNumThreads, (1,)) as pool:
        step = TASKS_AT_ONCE * workers
        for at in range(0, len(faces), step):
            batch = faces[at : at + step]
            jobs = ((order, _task(face)) for face in batch)
            yield from zip(batch, pool.starmap(_draw, jobs, chunksize=2), strict=True)


@cache
def _painter(order: Order) -> Painter:
    chest = MaskChest.open(order.templates)
    return Painter(Landmarker(), chest, dict(order.shares), order.each, order.seed)


def _task(face: BareFace) -> Task:
    return Task(face.person, face.read(), face.box_xyxy, face.others_xyxy, face.other_labels)


def _draw(order: Order, task: Task) -> list[Drawn]:
    return _painter(order).draw(task)
