"""Whether YOLOv3-tiny's COCO `person` could say that somebody is there whose face does not show.

    python tests/benchmarks/person_count.py --tiny yolov3-tiny.weights --folders FOLDER ... \
        --data DATA --lists DEV

In photographs: the share of faces of a tenth of the picture's height or more that have a person of
their own around them, which counting would need to miss nobody; and the share of pictures with more
persons than annotated faces, each a door that stays shut. In simulated passages: pictures, four a
second from when all are near, with fewer or more persons than there are people.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch

from mask_gate.models.files.darknet_weights import load_darknet
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.networks.yolov3_tiny import SCALES
from mask_gate.models.networks.zoo import build
from mask_gate.models.nms import suppress
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.data.labels_json import LabelledFolder
from mask_gate.training.evaluation.passage_video import FPS, people_of
from mask_gate.training.evaluation.passages import plan

COCO_CLASSES, PERSON, SIZE = 80, 0, 416
SCORES = (0.15, 0.3, 0.5)
NEAR = 0.1


class Persons:
    """Callable with a picture [H, W, 3] BGR: boxes [N, 4] in its pixels, and their scores."""

    def __init__(self, weights: Path) -> None:
        self.network = build("yolov3_tiny", COCO_CLASSES, SCALES).eval()
        print(load_darknet(self.network, "yolov3_tiny", weights))

    @torch.inference_mode()
    def __call__(self, image):
        box = Letterbox(image.shape[:2], SIZE)
        rgb = torch.from_numpy(box.image(image)[..., ::-1].copy()).permute(2, 0, 1)[None]
        rows = self.network.predict(rgb.float() / 255)[0].numpy()
        found = suppress(rows[:, [0, 1, 2, 3, 4, 5 + PERSON]], min(SCORES), one_label=False)
        return box.inverse_boxes(found.boxes_xyxy), found.scores


def owned(faces_xyxy, persons_xyxy) -> int:
    """How many faces lie in the upper part of a person that no face before them has."""
    left, found = list(persons_xyxy), 0
    for x1, y1, x2, y2 in faces_xyxy:
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        for at, (left_x, top, right_x, bottom) in enumerate(left):
            if left_x < x < right_x and top - (y2 - y1) < y < top + 0.6 * (bottom - top):
                del left[at]
                found += 1
                break
    return found


def photographs(find, samples) -> None:
    """Faces with a person of their own, and pictures with more persons than faces."""
    faces, with_own, more = 0, dict.fromkeys(SCORES, 0), dict.fromkeys(SCORES, 0)
    for sample in samples:
        boxes = sample.boxes_xyxy
        near = boxes[boxes[:, 3] - boxes[:, 1] >= NEAR * sample.image.shape[0]]
        persons, scores = find(sample.image)
        faces += len(near)
        for score in SCORES:
            with_own[score] += owned(near, persons[scores >= score])
            more[score] += int((scores >= score).sum()) > len(boxes)
    print(f"{len(samples)} photographs, {faces} near faces")
    for score in SCORES:
        print(
            f"  from {score}: a person of its own for {with_own[score] / max(faces, 1):.1%} of the "
            f"faces, more persons than faces in {more[score] / max(len(samples), 1):.1%}"
        )


def passages(find, people, count: int) -> None:
    """How many persons are found of those who walk up to the gate."""
    found = defaultdict(list)
    for _, approach in plan(people, count, seed=0):
        first = round(approach.near_s * FPS)
        for jpeg in list(approach.frames())[first :: round(FPS / 4)]:
            _, scores = find(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
            found[len(approach.people)].append([(scores >= score).sum() for score in SCORES])
    for there, counts in found.items():
        less, more = ((np.array(counts) < there).mean(0), (np.array(counts) > there).mean(0))
        for score, lower, higher in zip(SCORES, less, more, strict=True):
            print(f"  {there} there, from {score}: too few {lower:.1%}, too many {higher:.1%}")


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--tiny", type=Path, required=True, help="yolov3-tiny.weights")
    made.add_argument("--folders", type=Path, nargs="*", default=[], help="with labels.json")
    made.add_argument("--data", type=Path, help="the data set whose people walk up to the gate")
    made.add_argument("--lists", type=Path, help="its lists, where they are not in it")
    made.add_argument("--limit", type=int, default=150, help="pictures of each folder")
    made.add_argument("--passages", type=int, default=10, help="of each kind")
    options = made.parse_args()
    find = Persons(options.tiny)
    for root in options.folders:
        folder = LabelledFolder.open(root)
        chosen = np.random.default_rng(0).permutation(len(folder.images))[: options.limit]
        print(root)
        photographs(find, [folder.load(folder.images[at]) for at in chosen])
    if options.data:
        data = DatasetFolder.open(options.data, options.lists)
        print("passages")
        passages(find, people_of(list(map(data.load, data.split("valid")))), options.passages)


if __name__ == "__main__":
    main()
