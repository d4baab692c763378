"""COCO results: detections as other tools read them, so that anyone can score them again.

`image_id` is the image file's stem, `category_id` the index of `MaskLabel`, boxes are
`[left, top, width, height]` in image pixels. Results carry two keys more, which COCO tools pass
over: `margin`, and `objectness` where it is known.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mask_gate.training.evaluation.metrics import ImageResult


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


def save_detections(results: Sequence[ImageResult], path: Path) -> None:
    """Write `coco_results` as strict JSON; truths are not looked at and may be empty.

    Raises:
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry, allow_nan=False) for entry in coco_results(results))
    path.write_text(f"[\n{lines}\n]\n" if lines else "[]\n", encoding="utf-8")
