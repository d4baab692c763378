"""Record assets/readme/demo.webp: ten seconds of the demo, a nose left free and then covered.

    python assets/make_readme_clip.py [--weights FILE] [--out FILE]

The program itself records its demo (`mask-gate --camera demo --fast --record`); here the recording
is only cut, shrunk and made an animated WebP, which pages show like any picture.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.commands.gate import main as mask_gate

HERE = Path(__file__).resolve().parent

FROM_S, UNTIL_S = 9.0, 19.0
"""From the second visit's refusal to the third one's opening, as `make_demo.py` times them."""

FPS = 15
SIZE_WH = (480, 360)
QUALITY = 60


def main() -> int:
    """Record, cut, write."""
    parser = argparse.ArgumentParser(description="Record the README's clip.")
    parser.add_argument("--weights", help="a checkpoint; the bundled one unless given")
    parser.add_argument("--out", type=Path, default=HERE / "readme" / "demo.webp")
    options = parser.parse_args()
    pictures = [shrunk(frame) for frame in recorded(options.weights)]
    write(options.out, pictures[round(FROM_S * FPS) : round(UNTIL_S * FPS)])
    return 0


def recorded(weights: str | None) -> Iterator[NDArray[np.uint8]]:
    """Every frame of the demo as the program shows it, [H, W, 3] BGR."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "demo.avi"
        flags = ["--camera", "demo", "--fast", "--headless", "--mute", "--record", str(recording)]
        # In float32, and so the same on every machine, whichever engine is its fastest.
        flags += ["--engine", "onnx", "--seconds", str(UNTIL_S)]
        if (code := mask_gate([*flags, *(["--weights", weights] if weights else [])])) != 0:
            raise SystemExit(code)
        yield from frames_of(recording)


def frames_of(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Every frame of a recording, [H, W, 3] BGR."""
    capture = cv2.VideoCapture(str(path))
    if round(capture.get(cv2.CAP_PROP_FPS)) != FPS:
        raise SystemExit(f"make_readme_clip: {path} is not of {FPS} frames a second")
    while (found := capture.read())[0]:
        yield np.asarray(found[1], np.uint8)
    capture.release()


def shrunk(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A frame in the size of the clip."""
    return np.asarray(cv2.resize(frame, SIZE_WH, interpolation=cv2.INTER_AREA), np.uint8)


def write(path: Path, pictures: list[NDArray[np.uint8]]) -> None:
    """An animated WebP that begins again and again."""
    ends_ms = [round(1000 * (number + 1) / FPS) for number in range(len(pictures))]
    animation = cv2.Animation()
    animation.frames = pictures
    animation.durations = np.diff([0, *ends_ms]).tolist()
    animation.loop_count = 0
    if not cv2.imwriteanimation(str(path), animation, [cv2.IMWRITE_WEBP_QUALITY, QUALITY]):
        raise SystemExit(f"make_readme_clip: {path} cannot be written")


if __name__ == "__main__":
    raise SystemExit(main())
