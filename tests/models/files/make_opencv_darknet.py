"""Write fixtures/opencv_darknet.json: what OpenCV 4's own Darknet reader says of YOLOv3-tiny.

OpenCV 5 has no Darknet reader any more, so its numbers are kept. To make them again, in an
environment with numpy and opencv-python-headless 4.x and nothing else:

    python tests/models/files/make_opencv_darknet.py [yolov3-tiny.weights]

Two networks are read: one whose weights come from a seed (the file is written here, by Darknet's
format alone), and, where the file is given, the authors' COCO network.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

SIZE = 160
SEED = 7
# channels in, channels out, kernel, batch norm: YOLOv3-tiny in the order of its file, 80 classes.
LAYERS = (
    (3, 16, 3, True), (16, 32, 3, True), (32, 64, 3, True), (64, 128, 3, True),
    (128, 256, 3, True), (256, 512, 3, True), (512, 1024, 3, True), (1024, 256, 1, True),
    (256, 512, 3, True), (512, 255, 1, False), (256, 128, 1, True), (384, 256, 3, True),
    (256, 255, 1, False),
)  # fmt: skip


def seeded_weights(seed: int = SEED) -> bytes:
    """A whole `.weights` file whose activations stay of order one from layer to layer."""
    rng = np.random.default_rng(seed)
    parts = [np.array([0, 2, 5], "<i4").tobytes(), np.array([0], "<i8").tobytes()]
    for channels_in, channels_out, kernel, norm in LAYERS:
        fan_in = channels_in * kernel * kernel
        values = [rng.normal(0, 0.1, channels_out)]
        if norm:
            values.append(rng.uniform(0.8, 1.2, channels_out))
            values.append(rng.normal(0, 0.1, channels_out))
            values.append(rng.uniform(0.8, 1.2, channels_out))
        values.append(rng.normal(0, np.sqrt(2 / fan_in), channels_out * fan_in))
        parts += [value.astype("<f4").tobytes() for value in values]
    return b"".join(parts)


def seeded_input(size: int = SIZE, seed: int = SEED) -> np.ndarray:
    """[1, 3, size, size] float32 in 0..1: smooth, as pictures are."""
    coarse = np.random.default_rng(seed + 1).random((1, 3, size // 16, size // 16), np.float32)
    return coarse.repeat(16, 2).repeat(16, 3)


CONVOLUTION = (
    "[convolutional]\n{norm}filters={filters}\nsize={size}\nstride=1\npad=1\nactivation={act}\n"
)
YOLO = (
    "[yolo]\nmask={mask}\nanchors=10,14, 23,27, 37,58, 81,82, 135,169, 344,319\nclasses=80\nnum=6\n"
)


def cfg(size: int = SIZE) -> str:
    """YOLOv3-tiny in Darknet's own words."""

    def convolution(layer: int) -> str:
        _, filters, kernel, norm = LAYERS[layer]
        return CONVOLUTION.format(
            norm="batch_normalize=1\n" if norm else "",
            filters=filters,
            size=kernel,
            act="leaky" if norm else "linear",
        )

    pool = "[maxpool]\nsize=2\nstride={}\n"
    text = f"[net]\nwidth={size}\nheight={size}\nchannels=3\n"
    for layer in range(6):
        text += convolution(layer) + pool.format(1 if layer == 5 else 2)
    text += "".join(convolution(layer) for layer in range(6, 10)) + YOLO.format(mask="3,4,5")
    text += (
        "[route]\nlayers=-4\n" + convolution(10) + "[upsample]\nstride=2\n[route]\nlayers=-1,8\n"
    )
    return text + convolution(11) + convolution(12) + YOLO.format(mask="0,1,2")


def opencv_rows(weights: Path) -> list[list[float]]:
    """[index, centre x, centre y, width, height, objectness] of rows spread over all cells."""
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        cfg_file = Path(folder) / "tiny.cfg"
        cfg_file.write_text(cfg())
        net = cv2.dnn.readNetFromDarknet(str(cfg_file), str(weights))
    net.setInput(seeded_input())
    rows = np.concatenate(net.forward(net.getUnconnectedOutLayersNames()))
    strong = np.argsort(-rows[:, 4])[:16]
    spread = np.linspace(0, len(rows) - 1, 24).astype(int)
    chosen = sorted({*strong.tolist(), *spread.tolist()})
    return [[i, *(round(float(v), 8) for v in rows[i, :5])] for i in chosen]


def main() -> None:
    """Write the fixture beside this script."""
    import cv2

    with tempfile.TemporaryDirectory() as folder:
        seeded = Path(folder) / "seeded.weights"
        seeded.write_bytes(seeded_weights())
        content = {"opencv": cv2.__version__, "size": SIZE, "seeded": opencv_rows(seeded)}
    if len(sys.argv) > 1:
        content["coco"] = opencv_rows(Path(sys.argv[1]))
    path = Path(__file__).parent / "fixtures" / "opencv_darknet.json"
    path.write_text(json.dumps(content, indent=None).replace("], [", "],\n["), encoding="utf-8")


if __name__ == "__main__":
    main()
