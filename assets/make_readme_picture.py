"""Draw assets/readme/overlay.png: what the gate shows at each visit of its demo.

    python assets/make_readme_picture.py [--weights FILE] [--out FILE]

The clip runs through detector, tracker, policy and door by its own time; the frame in the middle of
each stay at the door is kept as the window would show it.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from gate.camera import open_camera
from gate.config import GateConfig
from gate.detector import Detector
from gate.domain import Frame
from gate.overlay import draw
from gate.policy import Policy
from gate.run import BUNDLED_WEIGHTS
from gate.tracker import Tracker
from gate.words import load_words

HERE = Path(__file__).resolve().parent
COLUMNS = 3
GAP_PX = 6


def demo_script() -> ModuleType:
    """`make_demo.py`, which knows when somebody stands at the door."""
    spec = importlib.util.spec_from_file_location("make_demo", HERE / "make_demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_demo"] = module
    spec.loader.exec_module(module)
    return module


def main() -> int:
    """Run the demo through the gate's parts and write the sheet."""
    parser = argparse.ArgumentParser(description="Draw the README's picture.")
    parser.add_argument("--weights", type=Path, default=BUNDLED_WEIGHTS)
    parser.add_argument("--out", type=Path, default=HERE / "readme" / "overlay.png")
    options = parser.parse_args()
    visits = demo_script().TIMELINE
    moments = [(visit.start_s + visit.at_door_s[0]) / 2 for visit in visits[:1]]
    moments += [sum(visit.at_door_s) / 2 for visit in visits]
    config = GateConfig()
    detector = Detector(options.weights, "cpu")
    tracker, policy = Tracker(config.tracker), Policy(config.policy)
    camera = open_camera("demo", realtime=False)
    pictures = []
    while moments and (frame := camera.read(1.0)) is not None:
        pictures += _shown(frame, detector, tracker, policy, moments)
    camera.close()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(options.out), _sheet(pictures))
    return 0


def _shown(
    frame: Frame, detector: Detector, tracker: Tracker, policy: Policy, moments: list[float]
) -> list[np.ndarray]:
    """The window's picture if this frame is the first one at or after the next moment."""
    tracks = tracker.update(detector(frame), frame.time_s)
    decision = policy.decide(tracks, frame.time_s, frame.image.shape[:2])
    if frame.time_s < moments[0]:
        return []
    moments.pop(0)
    return [draw(frame.image, tracks, decision, load_words("en"))]


def _sheet(pictures: list[np.ndarray]) -> np.ndarray:
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // COLUMNS)
    size_hw = rows * (height + GAP_PX) - GAP_PX, COLUMNS * (width + GAP_PX) - GAP_PX
    sheet = np.full((*size_hw, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top = index // COLUMNS * (height + GAP_PX)
        left = index % COLUMNS * (width + GAP_PX)
        sheet[top : top + height, left : left + width] = picture
    return cv2.resize(sheet, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    raise SystemExit(main())
