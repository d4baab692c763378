"""What a picture without its grey bars saves: square, 4:3 and 16:9, engine by engine, in turns.

    python tests/benchmarks/trimmed.py [--rounds 20]

Three calls go uncounted before each that counts; the ratio is to the square of the same round.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from mask_gate.models.files.onnx_file import OnnxFile
from mask_gate.models.files.openvino_file import OpenVinoFile, has_bfloat16
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.shipped import BUNDLED_WEIGHTS

FRAMES_HW = ((480, 480), (480, 640), (1080, 1920))
UNCOUNTED = 3


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--rounds", type=int, default=20)
    options = made.parse_args()
    exported = BUNDLED_WEIGHTS.with_suffix(".onnx")
    files = {"onnx": OnnxFile(exported), "openvino": OpenVinoFile(exported)}
    if has_bfloat16():
        files["openvino-bf16"] = OpenVinoFile(exported, precision="bf16")
    rng = np.random.default_rng(0)
    for engine, file in files.items():
        pictures = {}
        for frame_hw in FRAMES_HW:
            canvas_hw = Letterbox(frame_hw, file.about.input_size, trimmed=True).canvas_hw
            pictures[canvas_hw] = rng.integers(0, 256, (1, *canvas_hw, 3), np.uint8)
        took: dict[tuple[int, int], list[float]] = {size_hw: [] for size_hw in pictures}
        for _ in range(options.rounds):
            for size_hw, picture in pictures.items():
                for _ in range(UNCOUNTED):
                    file(picture)
                began_s = time.perf_counter()
                file(picture)
                took[size_hw].append(1000 * (time.perf_counter() - began_s))
        square = next(iter(took.values()))
        for (height, width), ms in took.items():
            ratio = statistics.median(a / b for a, b in zip(ms, square, strict=True))
            spread = f"{statistics.median(ms):.1f} ({min(ms):.1f} to {max(ms):.1f}) ms"
            print(f"{engine:14} {width} x {height}: {spread}, {ratio:.2f}")


if __name__ == "__main__":
    main()
