"""A sheet of images with their boxes, to see with one's own eyes what the labels say."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.models.class_colours import class_bgr
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.data.samples import Sample

CELL_WH = (360, 270)
GAP_PX = 8
CAPTION_PX = 22
PAPER_BGR = (250, 250, 250)
INK_BGR = (40, 40, 40)

_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_sheet(samples: Sequence[Sample], columns: int) -> NDArray[np.uint8]:
    """Samples in rows of `columns`, each with its name, boxes in the colours of the legend on top.

    Args:
        samples: at least one; left as they are.
        columns: images a row.

    Returns:
        [H, W, 3] uint8 BGR.
    """
    rows = [_row(samples[at : at + columns], columns) for at in range(0, len(samples), columns)]
    return np.vstack([_legend(rows[0].shape[1]), *rows])


def _row(samples: Sequence[Sample], columns: int) -> NDArray[np.uint8]:
    """Images side by side, captioned, the row as high as its highest; columns may stay empty."""
    images = [_boxed(sample) for sample in samples]
    height = CAPTION_PX + max(len(image) for image in images) + GAP_PX
    row = np.full((height, columns * (CELL_WH[0] + GAP_PX), 3), PAPER_BGR, np.uint8)
    for column, (sample, image) in enumerate(zip(samples, images, strict=True)):
        left = column * (CELL_WH[0] + GAP_PX) + GAP_PX // 2
        row[CAPTION_PX : CAPTION_PX + len(image), left : left + image.shape[1]] = image
        faces = f"{len(sample.labels)} face{'' if len(sample.labels) == 1 else 's'}"
        _write(row, f"{_end_of(sample.name, f', {faces}')}, {faces}", (left, CAPTION_PX - 6))
    return row


def _end_of(name: str, rest: str) -> str:
    """As much of a name's end as fits over a cell beside `rest`; its beginning is often shared."""
    shown = name
    while len(shown) > 1 and cv2.getTextSize(f"..{shown}{rest}", _FONT, 0.45, 1)[0][0] > CELL_WH[0]:
        shown = shown[1:]
    return name if shown == name else f"..{shown}"


def _boxed(sample: Sample) -> NDArray[np.uint8]:
    """An image fitted into a cell; boxes are drawn after scaling, so that lines stay sharp."""
    height, width = sample.size_hw
    scale = min(CELL_WH[0] / width, CELL_WH[1] / height)
    size_wh = (max(1, round(width * scale)), max(1, round(height * scale)))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(sample.image, size_wh, interpolation=smooth), np.uint8)
    for (x1, y1, x2, y2), label in zip(sample.boxes_xyxy * scale, sample.labels, strict=True):
        first, second = (round(float(x1)), round(float(y1))), (round(float(x2)), round(float(y2)))
        cv2.rectangle(image, first, second, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.rectangle(image, first, second, class_bgr(int(label)), 2, cv2.LINE_AA)
    return image


def _legend(width: int) -> NDArray[np.uint8]:
    strip = np.full((CAPTION_PX + GAP_PX, width, 3), PAPER_BGR, np.uint8)
    x = GAP_PX
    for label, name in enumerate(CLASS_NAMES):
        cv2.rectangle(strip, (x, 9), (x + 14, 21), class_bgr(label), cv2.FILLED)
        cv2.rectangle(strip, (x, 9), (x + 14, 21), INK_BGR, 1)
        _write(strip, name, (x + 20, 20))
        x += 44 + cv2.getTextSize(name, _FONT, 0.45, 1)[0][0]
    return strip


def _write(image: NDArray[np.uint8], text: str, at_xy: tuple[int, int]) -> None:
    cv2.putText(image, text, at_xy, _FONT, 0.45, INK_BGR, 1, cv2.LINE_AA)
