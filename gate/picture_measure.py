"""PictureMeasure: how bright, how rich in contrast and how sharp a picture is."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_SMALL_SIDE_PX = 120  # brightness and sharpness are judged on a picture about this small


def measure(image: NDArray[np.uint8]) -> tuple[float, float, float]:
    """Mean and standard deviation of grey, and variance of the Laplacian, of a small copy.

    Args:
        image: [H, W, 3] uint8 BGR.
    """
    height, width = image.shape[:2]
    step = max(1, min(height, width) // _SMALL_SIDE_PX)
    small = cv2.resize(
        image, (max(1, width // step), max(1, height // step)), interpolation=cv2.INTER_LINEAR
    )
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    mean, deviation = cv2.meanStdDev(grey)
    # Smoothed first, else the noise of the sensor passes for detail behind a covered lens.
    edges = cv2.Laplacian(cv2.GaussianBlur(grey, (3, 3), 0), cv2.CV_16S)
    _, edge_deviation = cv2.meanStdDev(edges)
    return float(mean[0, 0]), float(deviation[0, 0]), float(edge_deviation[0, 0]) ** 2
