"""Head: the pose of a head and the surface of its lower face, from its landmarks.

The head's own frame has its origin between the eyes and its unit is from there to the chin: x to
the viewer's right, y down to the chin (1.0), z towards the viewer.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.drawing.landmarks import Points

# Places in the list of 468 points.
BRIDGE, CHIN, LEFT_EAR, RIGHT_EAR = 168, 152, 234, 454
NOSE_TIP, NOSE_BASE, UPPER_LIP, LIPS, LOWER_LIP = 1, 2, 0, 14, 17
MIDDLE = [10, 151, 9, 8, 168, 6, 197, 195, 5, 4, 1, 19, 94, 2, 164, 0, 11, 13, 14, 15, 17, 18,
          200, 199, 175, 152]  # fmt: skip
# Outline and the ring inside of it, from the forehead to the chin, of either side.
OUTER = {
    -1: [54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152],
    1: [284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152],
}
INNER = {
    -1: [68, 71, 139, 116, 227, 137, 177, 215, 138, 135, 169, 170, 140, 171, 175],
    1: [298, 301, 368, 345, 447, 366, 401, 435, 367, 364, 394, 395, 369, 396, 175],
}
OVAL = [
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
]  # fmt: skip
NOSE = [195, 5, 4, 1, 2, 97, 326, 98, 327, 64, 294, 48, 278, 115, 344, 220, 440]
# The middle line goes on below the chin: how far the neck falls back from it (y, z to the chin).
NECK = np.array([[1.07, -0.06], [1.16, -0.16], [1.35, -0.26], [1.8, -0.3]])

Vector = NDArray[np.float64]


class Head:
    """A head as landmarks show it.

    Attributes:
        points: [468, 3] as the landmarker gave them.
        unit_px: pixels from between the eyes to the chin.
        local: [468, 3] the points in the head's frame.
        yaw_deg: how far it is turned; positive shows the viewer's left ear less.
    """

    def __init__(self, points: Points) -> None:
        self.points = points
        towards = points.astype(np.float64) * [1, 1, -1]
        x = towards[RIGHT_EAR] - towards[LEFT_EAR]
        x /= np.linalg.norm(x)
        y = towards[CHIN] - towards[BRIDGE]
        y -= x * (y @ x)
        self.unit_px = float(np.linalg.norm(y))
        y /= self.unit_px
        self._axes = np.stack([x, y, np.cross(x, y)])
        self._origin = towards[BRIDGE]
        self.local = (towards - self._origin) @ self._axes.T / self.unit_px
        self.yaw_deg = math.degrees(math.asin(float(np.clip(-x[2], -1, 1))))

    def to_picture(self, local: Vector) -> Vector:
        """[..., 3] of the head's frame as pixels; the third is nearness to the camera."""
        return np.asarray(np.asarray(local) @ self._axes * self.unit_px + self._origin)

    def directions_to_picture(self, local: Vector) -> Vector:
        """[..., 3] directions, turned into the camera's frame."""
        return np.asarray(local @ self._axes)

    def height_of(self, place: int) -> float:
        """The y of one landmark in the head's frame."""
        return float(self.local[place, 1])

    def cheek(self, y: float, outward: float, side: int, lowest: float) -> Vector:
        """The point of a side of the face at a height.

        Args:
            y: height in the head's frame.
            outward: 0 on the inner ring, 1 on the outline of the face.
            side: -1 for the viewer's left, 1 for the right.
            lowest: the jaw's shape is read no lower than here.
        """
        ring = self.local[OUTER[side]] * outward + self.local[INNER[side]] * (1 - outward)
        ring = ring[np.argsort(ring[:, 1])]
        at = min(y, lowest)
        x, z = (float(np.interp(at, ring[:, 1], ring[:, axis])) for axis in (0, 2))
        return np.array([x, y, z])

    def middle(self, top: float, bottom: float, count: int) -> tuple[Vector, Vector]:
        """Cloth stretched down the middle of the face: y and z of `count` points along it."""
        chin = self.local[CHIN]
        line = np.concatenate([self.local[MIDDLE][:, 1:], NECK + np.array([0, chin[2]])])
        line = line[np.argsort(line[:, 0])]
        inside = line[(line[:, 0] > top) & (line[:, 0] < bottom)]
        ends = np.array([[y, np.interp(y, line[:, 0], line[:, 1])] for y in (top, bottom)])
        hull = _stretched(np.concatenate([ends[:1], inside, ends[1:]]))
        along = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(hull, axis=0).T))])
        at = np.linspace(0, along[-1], count)
        return np.interp(at, along, hull[:, 0]), np.interp(at, along, hull[:, 1])

    def filled(self, places: list[int], size_hw: tuple[int, int]) -> NDArray[np.float32]:
        """[H, W] 1 inside the hull of some landmarks."""
        layer = np.zeros(size_hw, np.float32)
        hull = cv2.convexHull(self.points[places, :2].astype(np.float32))
        cv2.fillConvexPoly(layer, hull.astype(np.int32), 1.0)
        return layer


def _stretched(line: Vector) -> Vector:
    """The upper hull of (y, z): cloth lies on what stands out and spans what lies deeper."""
    hull: list[Vector] = []
    for point in line:
        while len(hull) > 1:
            (y0, z0), (y1, z1) = hull[-2], hull[-1]
            if (z1 - z0) * (point[0] - y0) > (point[1] - z0) * (y1 - y0):
                break
            hull.pop()
        hull.append(point)
    return np.array(hull)
