"""Draw assets/readme/overlay.png: what the gate shows at each visit of its demo.

    python assets/make_readme_picture.py [--weights FILE] [--out FILE]

The program itself records its demo (see `make_readme_clip.py`); the frame in the middle of each
stay at the door is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from make_demo import TIMELINE
from make_readme_clip import FPS, recorded
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
COLUMNS = 3
GAP_PX = 6


def main() -> int:
    """Record, choose, write."""
    parser = argparse.ArgumentParser(description="Draw the README's picture.")
    parser.add_argument("--weights", help="a checkpoint; the bundled one unless given")
    parser.add_argument("--out", type=Path, default=HERE / "readme" / "overlay.png")
    options = parser.parse_args()
    coming = (TIMELINE[0].start_s + TIMELINE[0].at_door_s[0]) / 2
    moments = [coming, *(sum(visit.at_door_s) / 2 for visit in TIMELINE)]
    numbers = [round(moment_s * FPS) for moment_s in moments]
    frames = enumerate(recorded(options.weights))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out), _sheet([frame for at, frame in frames if at in numbers]))
    return 0


def _sheet(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // COLUMNS)
    size_hw = rows * (height + GAP_PX) - GAP_PX, COLUMNS * (width + GAP_PX) - GAP_PX
    sheet = np.full((*size_hw, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top = index // COLUMNS * (height + GAP_PX)
        left = index % COLUMNS * (width + GAP_PX)
        sheet[top : top + height, left : left + width] = picture
    return np.asarray(
        cv2.resize(sheet, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA), np.uint8
    )


if __name__ == "__main__":
    raise SystemExit(main())
