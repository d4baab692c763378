"""The confusion matrix at one score threshold, background included, and the pairing behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mask_gate.models.boxes import pairwise_iou_xyxy
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.evaluation.metrics import MATCH_IOU, ImageResult


def pair_class_blind(
    result: ImageResult, min_score: float, min_iou: float = MATCH_IOU
) -> list[tuple[int, int]]:
    """(truth, detection) index pairs at one score threshold, whatever the labels say.

    Detections of at least `min_score` go best first and take the free face they overlap most:
    it is the pairing behind the confusion matrix and the sheet of mistakes.
    """
    ious = pairwise_iou_xyxy(result.detections.boxes_xyxy, result.truth_boxes_xyxy)
    pairs = []
    for found in np.argsort(-result.detections.scores, kind="stable"):
        if result.detections.scores[found] < min_score or ious.shape[1] == 0:
            break
        truth = int(ious[found].argmax())
        if ious[found, truth] >= min_iou:
            pairs.append((truth, int(found)))
            ious[:, truth] = -1.0
    return pairs


def confusion_matrix(
    results: Sequence[ImageResult], min_score: float, min_iou: float = MATCH_IOU
) -> NDArray[np.int64]:
    """[C + 1, C + 1] counts, truth by row and detection by column, background last in both.

    The last column holds missed faces, the last row detections of nothing; their corner is 0.
    """
    background = len(CLASS_NAMES)
    matrix = np.zeros((background + 1, background + 1), np.int64)
    for result in results:
        said = result.detections.labels
        pairs = pair_class_blind(result, min_score, min_iou)
        for truth, found in pairs:
            matrix[result.truth_labels[truth], said[found]] += 1
        missed = np.delete(result.truth_labels, [truth for truth, _ in pairs])
        np.add.at(matrix[:, background], missed, 1)
        invented = result.detections.scores >= min_score
        invented[[found for _, found in pairs]] = False
        np.add.at(matrix[background], said[invented], 1)
    return matrix
