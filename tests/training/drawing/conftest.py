"""A head made of formulas: landmarks, and a picture of them."""

import cv2
import numpy as np
import pytest

from mask_gate.training.drawing import head as places
from mask_gate.training.drawing.landmarks import COUNT, LEFT_EYE, RIGHT_EYE

# Down the middle of the face: height below the eyes and how far it stands out, in face heights.
HEIGHTS = [-0.55, -0.4, -0.25, -0.12, 0, 0.08, 0.16, 0.25, 0.33, 0.40, 0.44, 0.48, 0.51, 0.53,
           0.58, 0.64, 0.67, 0.69, 0.70, 0.73, 0.78, 0.83, 0.88, 0.92, 0.96, 1.0]  # fmt: skip
DEPTHS = [-0.10, -0.04, 0, 0.02, 0, 0.06, 0.11, 0.17, 0.22, 0.25, 0.26, 0.22, 0.17, 0.13, 0.10,
          0.13, 0.13, 0.12, 0.12, 0.12, 0.10, 0.06, 0.07, 0.08, 0.05, 0.0]  # fmt: skip


def upright_face():
    """[468, 3] in the frame of `Head`: x right, y down, z towards the viewer."""
    points = np.random.default_rng(0).normal([0, 0.4, 0], [0.15, 0.1, 0.02], (COUNT, 3))
    for ring, wide, back in ((places.INNER, 0.48, -0.12), (places.OUTER, 0.6, -0.35)):
        for side in (-1, 1):
            y = np.linspace(-0.35, 0.97, len(ring[side]))
            x = side * wide * np.sqrt((1 - ((y - 0.2) / 0.85) ** 2).clip(0.04))
            points[ring[side]] = np.stack([x, y, back - 0.1 * np.abs(y - 0.3)], 1)
    forehead = [338, 297, 332, 103, 67, 109]
    x = np.array([0.12, 0.26, 0.38, -0.38, -0.26, -0.12])
    points[forehead] = np.stack([x, -0.53 + 0.6 * x**2, -0.15 - x**2], 1)
    for k, place in enumerate([97, 326, 98, 327, 64, 294, 48, 278, 115, 344, 220, 440]):
        points[place] = [(0.06 + 0.01 * k) * (-1 if k % 2 == 0 else 1), 0.5 - 0.02 * k, 0.1]
    points[places.MIDDLE] = np.stack([np.zeros(len(HEIGHTS)), HEIGHTS, DEPTHS], 1)
    points[[LEFT_EYE, RIGHT_EYE]] = [[-0.36, 0.02, -0.1], [0.36, 0.02, -0.1]]
    return points


@pytest.fixture(scope="session")
def face():
    """`face(yaw_deg=0, unit=100, at=(160, 110))`: landmarks of a head in pixels."""

    def landmarks(yaw_deg=0.0, unit=100.0, at=(160.0, 110.0)):
        a = np.radians(yaw_deg)
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        towards = upright_face() @ turn.T * unit
        return (towards * [1, 1, -1] + [*at, 0]).astype(np.float32)

    return landmarks


@pytest.fixture
def portrait(face):
    """A skin-coloured oval with eyes and a mouth before a grey wall, 320 x 280."""
    picture = np.full((280, 320, 3), 150, np.uint8)
    picture += np.random.default_rng(1).integers(0, 6, picture.shape, np.uint8)
    points = face()
    hull = cv2.convexHull(points[places.OVAL, :2].astype(np.int32))
    cv2.fillConvexPoly(picture, hull, (120, 150, 200))
    for place, size in ((LEFT_EYE, 6), (RIGHT_EYE, 6), (places.LIPS, 12)):
        x, y = points[place, :2]
        cv2.circle(picture, (int(x), int(y)), size, (40, 30, 60), -1)
    return picture


class KnownFace:
    """A landmarker that knows where the face of every picture is."""

    def __init__(self, points, score=0.99, count=1):
        self._points, self._score, self._count = points, score, count

    def boxes(self, bgr):
        xy = self._points[:, :2]
        return np.tile(np.concatenate([xy.min(0), xy.max(0)]), (self._count, 1)).astype(float)

    def points(self, bgr, box_xyxy):
        return self._points.copy(), self._score


@pytest.fixture
def known_face():
    return KnownFace
