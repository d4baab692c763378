"""ExportMetadata: what an exported detector says of itself, checked before anything of it runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mask_gate.models.errors import ModelFileError
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.letterbox import BORDER_GREY, INPUT_STEP
from mask_gate.models.nms import IOU_THRESHOLD, MAX_CANDIDATES, MAX_DETECTIONS
from mask_gate.models.operating_point import OperatingPoint, OperatingPointError

FORMAT = "mask-gate onnx 1"
"""OpenVINO's files are translations of the ONNX file and carry its words unchanged."""

METADATA_KEY = "mask_gate"

INPUT_NAME = "squares"
"""Of what the graph takes; from when it took nothing else."""


class ExportedFileError(ModelFileError):
    """The file is not an exported detector that can be trusted; the message says why."""


def read_exported(path: Path) -> bytes:
    """The content of an exported file, read once, so that what is checked is what runs.

    Raises:
        ExportedFileError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExportedFileError(
            f"{path}: cannot be read ({error.strerror}); check its rights"
        ) from error


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """What whoever runs the file must know.

    Attributes:
        architecture: a name of `models.networks.zoo`.
        input_size: longer side of the pictures it takes, in pixels.
        operating_point: from which scores on it is believed, if it says so.
        made_from: fingerprint of the checkpoint it was exported from.
        is_quantized: whether it calculates in 8 bits (`models.networks.quantized`).
    """

    architecture: str
    input_size: int
    operating_point: OperatingPoint | None
    made_from: str
    is_quantized: bool = False

    def to_json(self) -> str:
        """The metadata, and in words and numbers what comes before the network and after it."""
        point = self.operating_point
        about: dict[str, Any] = {
            "format": FORMAT,
            "architecture": self.architecture,
            "classes": list(CLASS_NAMES),
            "input_size": self.input_size,
            "operating_point": None if point is None else point.to_plain(),
            "made_from": self.made_from,
            "quantized": self.is_quantized,
            "input": f"{INPUT_NAME}: [B, H, W, 3] uint8 BGR, letterboxed with grey {BORDER_GREY}; "
            f"sides are multiples of {INPUT_STEP}",
            "output": "predictions: [B, N, 5 + C] x1 y1 x2 y2 in input pixels, objectness, classes",
            "preprocessing": {
                "letterbox": "longer side to input_size, centred; rounded to whole pixels",
                "border": BORDER_GREY,
                "shrinking": "halved by averages down to a factor below 2, then bilinear",
                "growing": "bilinear",
                "in_the_graph": "BGR to RGB, channels first, float, divided by 255",
            },
            "postprocessing": {
                "in_the_graph": "anchors, sigmoids and exponentials are decoded",
                "score": "objectness times class probability",
                "iou_threshold": IOU_THRESHOLD,
                "max_candidates": MAX_CANDIDATES,
                "max_detections": MAX_DETECTIONS,
                "suppression": "one label a box, the best; boxes beat others across classes",
                "boxes": "undo the letterbox, clip to the picture",
            },
        }
        return json.dumps(about)

    @classmethod
    def from_json(cls, text: str | None, path: Path) -> ExportMetadata:
        """The metadata found in a file.

        Args:
            text: what stands under `METADATA_KEY`, if anything.
            path: of the file, for messages.

        Raises:
            ExportedFileError: not written by this project, or with other classes.
        """
        try:
            about = json.loads(text or "{}")
            found = cls(
                architecture=str(about["architecture"]),
                input_size=int(about["input_size"]),
                operating_point=OperatingPoint.from_plain(about.get("operating_point")),
                made_from=str(about["made_from"]),
                is_quantized=bool(about.get("quantized", False)),
            )
            classes = tuple(about["classes"])
        except OperatingPointError as error:
            raise ExportedFileError(f"{path}: {error}; export it again") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ExportedFileError(
                f"{path}: not exported by this project: it says nothing of classes and input size; "
                "give a file that mask-gate-export has written"
            ) from error
        if about.get("format") != FORMAT:
            raise ExportedFileError(f"{path}: expected {FORMAT!r}, got {about.get('format')!r}")
        if classes != CLASS_NAMES:
            # A swapped order would open the door to the wrong people.
            raise ExportedFileError(f"{path}: expected the classes {CLASS_NAMES}, got {classes}")
        return found
