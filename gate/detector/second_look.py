"""SecondLook: one face asked about again, as it would look if it were shown another way.

A detector that takes a bare face for a masked one seldom does so from every side. The most telling
views: a tilted head turned upright, a face mirrored, and colours without the light that fell on it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

import cv2
import numpy as np

from mask_gate.gate.domain import Frame, Image
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel
from mask_gate.models.letterbox import BORDER_GREY

VIEW_PX = 256
"""Side of one view; four of them fill a picture that the detector sees as any other."""

FACE = 0.5
"""Longer side of the face, in parts of a view."""

TURN_DEGREES = 40.0

_NEAR = 0.25  # of a view from its middle: there is the face, and not one beside it
_MOST_LIGHT = 2.5  # a dark face is lightened by this factor at most
_MIDDLE_GREY = 120.0


class SecondLook:
    """Callable with a frame and a box: whether a further look bears out that the face complies.

    Four views of the face go to the detector as one picture. It is borne out unless a view shows a
    violation; a view in which no face is found says nothing.

    Args:
        detector: finds faces in a frame; what it raises is raised.
        compliant: the classes that may pass.
        min_score: from here on a violation is believed.
    """

    def __init__(
        self,
        detector: Callable[[Frame], Detections],
        compliant: Collection[MaskLabel],
        min_score: float,
    ) -> None:
        self._detector = detector
        self._violations = [int(label) for label in MaskLabel if label not in compliant]
        self._min_score = min_score

    def __call__(self, frame: Frame, box_xyxy: tuple[float, float, float, float]) -> bool:
        """Ask about the face in a box of a frame."""
        image = views_of(frame.image, box_xyxy)
        found = self._detector(Frame(image, frame.time_s, frame.index))
        middles = (found.boxes_xyxy[:, :2] + found.boxes_xyxy[:, 2:]) / 2
        away = np.abs(middles % VIEW_PX - VIEW_PX / 2).max(1, initial=0.0)
        against = np.isin(found.labels, self._violations) & (found.scores >= self._min_score)
        return not (against & (away <= _NEAR * VIEW_PX)).any()


def views_of(image: Image, box_xyxy: tuple[float, float, float, float]) -> Image:
    """[512, 512, 3]: the face mirrored, turned to one side, to the other, and in balanced colours.

    Args:
        image: [H, W, 3] uint8 BGR.
        box_xyxy: the face in its pixels; a box without area counts as one pixel.
    """
    plain = _view(image, box_xyxy, 0.0)
    turned = [_view(image, box_xyxy, degrees) for degrees in (TURN_DEGREES, -TURN_DEGREES)]
    above = np.hstack([plain[:, ::-1], turned[0]])
    below = np.hstack([turned[1], _balanced(plain)])
    return np.ascontiguousarray(np.vstack([above, below]))


def _view(image: Image, box_xyxy: tuple[float, float, float, float], degrees: float) -> Image:
    """The face in the middle of a square, turned counter-clockwise; grey where the picture ends."""
    x1, y1, x2, y2 = box_xyxy
    gain = FACE * VIEW_PX / max(x2 - x1, y2 - y1, 1.0)
    centre = (x1 + x2) / 2, (y1 + y2) / 2
    if gain < 1.0:  # sampling alone would skip pixels: the part around it is made smaller first
        reach = VIEW_PX / gain  # more than the square's diagonal, whichever way it is turned
        left, top = (max(0, int(middle - reach)) for middle in centre)
        part = image[top : int(centre[1] + reach) + 1, left : int(centre[0] + reach) + 1]
        image = np.asarray(
            cv2.resize(part, None, fx=gain, fy=gain, interpolation=cv2.INTER_AREA), np.uint8
        )
        centre, gain = ((centre[0] - left) * gain, (centre[1] - top) * gain), 1.0
    matrix = np.asarray(cv2.getRotationMatrix2D(centre, degrees, gain), np.float64)
    matrix[:, 2] += VIEW_PX / 2 - np.array(centre)
    border = (BORDER_GREY,) * 3
    return np.asarray(cv2.warpAffine(image, matrix, (VIEW_PX, VIEW_PX), borderValue=border))


def _balanced(view: Image) -> Image:
    """Colours by which the face is grey on average, and not too dark to see."""
    edge = VIEW_PX // 6
    mean = view[edge:-edge, edge:-edge].reshape(-1, 3).mean(0) + 1.0
    light = min(_MOST_LIGHT, _MIDDLE_GREY / float(mean.mean()))
    return np.asarray((view * (mean.mean() / mean * light)).clip(0, 255), np.uint8)
