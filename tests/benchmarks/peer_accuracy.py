"""A mask detector that another project ships, beside the bundled one: accuracy, ways and time.

    python tests/benchmarks/peer_accuracy.py --data DATA --aizoo face_mask_detection.tflite

AIZOO's FaceMaskDetection (2020, MIT): an SSD of about 1 M parameters for 260 x 260 px and two
classes, from its repository's folder `models`. It is given pictures as its authors do, stretched,
and is believed from their threshold of .5 on; the bundled model from its own. Both run in OpenVINO
in float32; where the processor has it, the bundled one in bfloat16 too. AP is strict, IoU .5, on
the 100 validation images; presentations are faces of them, boxes paired from an IoU of .3 on.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from mask_gate.models.detections import Detections
from mask_gate.models.files.open_weights import open_weights
from mask_gate.models.files.openvino_file import OpenVinoFile, has_bfloat16, openvino_runtime
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.nms import suppress
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.evaluation.choose_operating_point import Thresholds
from mask_gate.training.evaluation.inference import LOWEST_SCORE, result_of
from mask_gate.training.evaluation.metrics import ImageResult, evaluate_strict
from mask_gate.training.evaluation.presentation_run import (
    choose_faces,
    show_faces,
    shown_table,
    summarise_shown,
)

SIDE = 260
MAPS = (33, 17, 9, 5, 3)
SIZES = ((0.04, 0.056), (0.08, 0.11), (0.16, 0.22), (0.32, 0.45), (0.64, 0.72))
RATIOS = (0.62, 0.42)
VARIANCES = np.array([0.1, 0.1, 0.2, 0.2])
BELIEVED = 0.5
ROUNDS = 40


def anchors_cxcywh():
    """[5972, 4] in parts of the picture: four of each cell, as its authors describe them."""
    found = []
    for cells, (small, large) in zip(MAPS, SIZES, strict=True):
        shapes = [(small, small), (large, large)]
        shapes += [(small * ratio**0.5, small / ratio**0.5) for ratio in RATIOS]
        middles = (np.arange(cells) + 0.5) / cells
        found += [(x, y, *shape) for y in middles for x in middles for shape in shapes]
    return np.array(found)


class Aizoo(nn.Module):
    """Its network with the contract of ours: `predict` gives boxes, objectness 1 and classes."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        core = openvino_runtime().Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        model = core.read_model(path)
        model.reshape([1, SIDE, SIDE, 3])
        self.request = core.compile_model(model, "CPU", settings).create_infer_request()
        self.anchors = anchors_cxcywh()

    def run(self, rgb):
        """[260, 260, 3] RGB in 0..1 to boxes and scores as the network gives them."""
        outputs = self.request.infer({0: rgb[None].astype(np.float32)})
        return sorted((output[0] for output in outputs.to_tuple()), key=lambda o: -o.shape[1])

    def rows(self, rgb, size_wh):
        """[N, 8] in pixels of a picture of that size; the third class it does not know."""
        offsets, classes = self.run(rgb)
        offsets = offsets * VARIANCES
        middles = self.anchors[:, :2] + offsets[:, :2] * self.anchors[:, 2:]
        halves = self.anchors[:, 2:] * np.exp(offsets[:, 2:]) / 2
        boxes = np.hstack([middles - halves, middles + halves]) * np.tile(size_wh, 2)
        scores = np.hstack([np.ones((len(boxes), 1)), classes, np.zeros((len(boxes), 1))])
        return np.hstack([boxes, scores]).astype(np.float32)

    def rows_of(self, image):
        """The same for a picture [H, W, 3] BGR, stretched to the network's square."""
        rgb = cv2.resize(image, (SIDE, SIDE))[..., ::-1] / 255
        return self.rows(rgb, image.shape[1::-1])

    def predict(self, images):
        """[B, 3, S, S] RGB in 0..1 to [B, N, 8] in its pixels."""
        squares = images.permute(0, 2, 3, 1).numpy()
        told = [self.rows(cv2.resize(s, (SIDE, SIDE)), (len(s), len(s))) for s in squares]
        return torch.from_numpy(np.stack(told))


def result(sample, rows):
    """What counts of a picture for the strict protocol."""
    found = suppress(rows, LOWEST_SCORE, one_label=False)
    height, width = sample.size_hw
    boxes = found.boxes_xyxy.clip(0, np.array([width, height, width, height], np.float32))
    seen = Detections(boxes, found.scores, found.labels, found.margins)
    return ImageResult(sample.name, sample.boxes_xyxy, sample.labels, seen, sample.size_hw)


def in_turns(calls) -> None:
    """Milliseconds of each call, three uncounted before each one that counts."""
    took = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for _ in range(3):
                call()
            began_s = time.perf_counter()
            call()
            took[name].append(1000 * (time.perf_counter() - began_s))
    first = next(iter(took))
    for name, ms in took.items():
        ratio = statistics.median(a / b for a, b in zip(ms, took[first], strict=True))
        spread = f"{statistics.median(ms):6.1f} ms ({min(ms):.1f} to {max(ms):.1f})"
        print(f"{name:34} {spread}  {ratio:.2f}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--data", type=Path, required=True)
    made.add_argument("--lists", type=Path)
    made.add_argument("--aizoo", type=Path, required=True, help="face_mask_detection.tflite or .pb")
    made.add_argument("--limit", type=int, default=40, help="faces of each class shown")
    options = made.parse_args()
    data = DatasetFolder.open(options.data, options.lists)
    images = data.split("valid")
    peer, checkpoint = Aizoo(options.aizoo), open_weights(BUNDLED_WEIGHTS)
    ours, size = checkpoint.network().eval(), checkpoint.input_size
    file = OpenVinoFile(BUNDLED_WEIGHTS.with_suffix(".onnx"))

    samples = [data.load(image) for image in images]
    told = {
        "AIZOO": [result(sample, peer.rows_of(sample.image)) for sample in samples],
        "ours": [
            result_of(s, file(Letterbox(s.size_hw, size).image(s.image)[None])[0].copy(), size)
            for s in samples
        ],
    }
    for name, results in told.items():
        strict = evaluate_strict(results)
        per_class = ", ".join(f"{CLASS_NAMES[x]} {strict.scores.ap50[x]:.3f}" for x in MaskLabel)
        print(f"{name}: AP50 {per_class}")

    faces = choose_faces(images, options.limit, 0)
    at_peer = Thresholds(dict.fromkeys(MaskLabel, BELIEVED), 0.0, BELIEVED)
    for name, network, thresholds in (
        ("AIZOO", peer, at_peer),
        ("ours", ours, Thresholds.of(checkpoint.operating_point)),
    ):
        shown = show_faces(faces, data.load, network, size, torch.device("cpu"))
        print(f"\n{name}\n{shown_table(summarise_shown(shown, thresholds))}")

    small = np.zeros((SIDE, SIDE, 3), np.float32)
    square, wide = (np.zeros((1, height, size, 3), np.uint8) for height in (size, size * 3 // 4))
    calls = {
        "AIZOO 260 x 260, float32": lambda: peer.run(small),
        f"ours {size} x {size}, float32": lambda: file(square),
        f"ours {size} x {size * 3 // 4}, float32": lambda: file(wide),
    }
    if has_bfloat16():
        half = OpenVinoFile(BUNDLED_WEIGHTS.with_suffix(".onnx"), 0, "bf16")
        calls[f"ours {size} x {size * 3 // 4}, bfloat16"] = lambda: half(wide)
    in_turns(calls)


if __name__ == "__main__":
    main()
