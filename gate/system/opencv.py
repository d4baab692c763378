"""OpenCV's settings for the whole process, which it reads from the environment."""

from __future__ import annotations

import os

import cv2

V4L_SELECT_TIMEOUT_S = 2  # OpenCV waits 10 s if nothing is said


def prepare_opencv() -> None:
    """Make OpenCV give up on a dead device soon, and keep its own chatter off the terminal.

    The variables are read at the first capture of the process; what the operator set stays.
    """
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", str(V4L_SELECT_TIMEOUT_S))
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    if "OPENCV_LOG_LEVEL" not in os.environ:
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
