"""COCO files: detections as COCO results and truths as a COCO data set, so anyone can score again.

`image_id` is the image file's stem, `category_id` the index of `MaskLabel`, boxes are
`[left, top, width, height]` in image pixels. Results carry two keys more, which COCO tools pass
over: `margin`, and `objectness` where it is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.boxes import area_xyxy
from mask_gate.models.detections import Detections
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.metrics import ImageResult

CLASSES = len(CLASS_NAMES)
LARGEST = 1e9  # no picture is as wide; bounds what a float32 box must hold


class DetectionsFileError(ValueError):
    """A detections file is not what `save_detections` writes; the message says where and how."""


def coco_results(results: Sequence[ImageResult]) -> list[dict[str, Any]]:
    """All detections as COCO results, one entry each, image by image in the order given."""
    entries = []
    for result in results:
        found = result.detections
        corners = found.boxes_xyxy.astype(np.float64)
        for row, (left, top, right, bottom) in enumerate(corners.tolist()):
            entry = {
                "image_id": result.name,
                "category_id": int(found.labels[row]),
                "bbox": [left, top, right - left, bottom - top],
                "score": float(found.scores[row]),
                "margin": float(found.margins[row]),
            }
            if result.objectness is not None:
                entry["objectness"] = float(result.objectness[row])
            entries.append(entry)
    return entries


def coco_ground_truth(results: Sequence[ImageResult]) -> dict[str, Any]:
    """All truths as a COCO data set: images (also those without faces), annotations, categories."""
    annotations: list[dict[str, Any]] = []
    for result in results:
        corners = result.truth_boxes_xyxy.astype(np.float64)
        areas = area_xyxy(corners).tolist()
        for row, (left, top, right, bottom) in enumerate(corners.tolist()):
            annotations.append(
                {
                    "id": len(annotations) + 1,  # 0 would read as "unmatched" to pycocotools
                    "image_id": result.name,
                    "category_id": int(result.truth_labels[row]),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": areas[row],
                    "iscrowd": 0,
                }
            )
    images = [{"id": r.name, "height": r.size_hw[0], "width": r.size_hw[1]} for r in results]
    categories = [{"id": index, "name": name} for index, name in enumerate(CLASS_NAMES)]
    return {
        "info": {"description": "mask-gate"},
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def save_detections(results: Sequence[ImageResult], path: Path) -> None:
    """Write `coco_results` as strict JSON; truths are not looked at and may be empty.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in coco_results(results))
    path.write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")


def save_ground_truth(results: Sequence[ImageResult], path: Path) -> None:
    """Write `coco_ground_truth` as strict JSON.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(coco_ground_truth(results), allow_nan=False) + "\n", "utf-8")


def load_detections(path: Path) -> dict[str, tuple[Detections, NDArray[np.float32] | None]]:
    """Read COCO results of ours or of another tool: image stem to detections and objectness.

    Images without detections have no entry in the file and none here. Where `margin` is missing it
    is 0 (no lead is known); objectness is None unless every detection of the image has it.

    Raises:
        DetectionsFileError: no JSON, no list, or an entry that is no COCO box of our classes.
        OSError: the file cannot be read.
    """
    try:
        entries = json.loads(path.read_bytes(), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:  # broken, NaN, no text, or nested without end
        raise DetectionsFileError(f"{path}: expected JSON; {error}") from error
    if not isinstance(entries, list):
        raise DetectionsFileError(f"{path}: expected a list of COCO results; got another value")
    rows: dict[str, list[_Row]] = {}
    for number, entry in enumerate(entries, start=1):
        image, row = _row(entry, f"{path}: entry {number}")
        rows.setdefault(image, []).append(row)
    return {image: _detections(found) for image, found in rows.items()}


class _Row(NamedTuple):
    """One entry of a file, checked; boxes still as COCO writes them."""

    box_xywh: tuple[float, ...]
    score: float
    label: int
    margin: float
    objectness: float | None


def _row(entry: object, where: str) -> tuple[str, _Row]:
    """An entry's image and values, or one sentence on what is wrong with it."""
    if not isinstance(entry, dict):
        raise DetectionsFileError(f"{where}: expected an object with image_id, category_id, ...")
    image, label, box = (entry.get(key) for key in ("image_id", "category_id", "bbox"))
    if not isinstance(image, str | int) or isinstance(image, bool):
        raise DetectionsFileError(f"{where}: image_id: expected an image's stem, got {image!r}")
    if not isinstance(label, int) or isinstance(label, bool) or label not in range(CLASSES):
        raise DetectionsFileError(
            f"{where}: category_id: expected 0..{CLASSES - 1}, the order of "
            f"{', '.join(CLASS_NAMES)}; got {label!r}"
        )
    if not isinstance(box, list) or len(box) != 4:
        raise DetectionsFileError(
            f"{where}: bbox: expected [left, top, width, height], got {box!r}"
        )
    objectness = entry.get("objectness")
    return str(image), _Row(
        tuple(_number(side, f"{where}: bbox") for side in box),
        _number(entry.get("score"), f"{where}: score"),
        label,
        _number(entry.get("margin", 0.0), f"{where}: margin"),
        None if objectness is None else _number(objectness, f"{where}: objectness"),
    )


def _number(value: object, where: str) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST:
        return float(value)
    raise DetectionsFileError(f"{where}: expected a plain number, got {value!r:.40}")


def _detections(rows: Sequence[_Row]) -> tuple[Detections, NDArray[np.float32] | None]:
    """One image's rows as arrays."""
    xywh = np.array([row.box_xywh for row in rows], np.float64)
    corners = np.hstack([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]])
    detections = Detections(
        corners.astype(np.float32),
        np.array([row.score for row in rows], np.float32),
        np.array([row.label for row in rows], np.int64),
        np.array([row.margin for row in rows], np.float32),
    )
    objectness = [row.objectness for row in rows if row.objectness is not None]
    return detections, np.array(objectness, np.float32) if len(objectness) == len(rows) else None


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
