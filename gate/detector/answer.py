"""Answer: what a detector said about one frame, held against what a sound one can say."""

from __future__ import annotations

import numpy as np

from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel


def refuse_nonsense(found: Detections, size_hw: tuple[int, int]) -> None:
    """Let pass only numbers that a sound detector can give.

    Args:
        found: the whole answer about one frame.
        size_hw: height and width of that frame in pixels.

    Raises:
        ModelError: one number is not; then nothing of the answer counts.
    """
    boxes = found.boxes_xyxy
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > boxes[:, :2]).all()):
        raise ModelError("the model gave a box without area or with corners that are not finite")
    height, width = size_hw
    if not ((boxes >= 0).all() and (boxes <= [width, height, width, height]).all()):
        raise ModelError(f"the model gave a box outside of a picture of {width} x {height}")
    for name, values in (("score", found.scores), ("margin", found.margins)):
        if not ((values >= 0.0) & (values <= 1.0)).all():  # NaN fails both
            raise ModelError(f"the model gave a {name} outside 0..1")
    if not ((found.labels >= 0) & (found.labels < len(MaskLabel))).all():
        raise ModelError(f"the model gave a class outside 0..{len(MaskLabel) - 1}")
