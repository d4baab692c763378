"""SelfTest: pictures a detector must understand before any answer of it counts.

It is there to keep an inverted, damaged or untrained detector from a door, not to examine a good
one: a face counts as found from the score on at which the gate follows one, and a class as known
when it leads by the margin a vote needs. What would only keep the door locked is a remark, and so
is what few detectors do rightly: a bare face that is tilted, or lit in one colour.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.detector.second_look import SecondLook
from mask_gate.gate.domain import Frame, Image
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel

MIN_MARGIN = 0.05
"""No class is known with a smaller lead, whatever the gate's margin: untrained heads reach it."""

_EMPTY = "empty"
# Where the stills of assets/make_demo.py have their one face, in fractions of the picture.
_FACE_XYXY = (0.34, 0.30, 0.67, 0.66)
_SIZE_RATIO = 2.0  # a box on the face is at most so many times larger or smaller than that
_TILTS_DEGREES = (-45.0, -30.0, 30.0, 45.0)
_TINTS_BGR = {"blue": (1.5, 0.9, 0.6), "red": (0.6, 0.8, 1.5)}
_REFUSED = (
    "these weights are damaged, untrained or made for other classes, and the gate refuses to start "
    "with them; give a checkpoint that tells masks from bare faces"
)


class SelfTest:
    """Asks a detector about pictures with known answers.

    Refused is a detector that sees no face where one is or a face where none is, that does not tell
    a worn mask from a bare face, or that might let a bare face vote for a worn mask. Badly worn
    masks are rare in training data, so that weak detectors miss them: that is a remark.

    Args:
        folder: holds `empty.jpg` and one picture named for each class.
        high_score: of `TrackerConfig`: from here on the gate follows a face.
        votes: which sightings the policy counts.
        second_look_score: of `PolicyConfig`, where faces are looked at once more.

    Raises:
        ModelError: a picture is missing or damaged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        high_score: float,
        votes: VoteThresholds,
        second_look_score: float | None = None,
    ) -> None:
        self._second_look_score = second_look_score
        self._least_score = min(high_score, *votes.min_scores.values())
        self._min_margin = votes.min_margin
        self._min_scores = np.array([votes.min_scores[label] for label in MaskLabel], np.float32)
        self._stills = {name: _still(folder, name) for name in (_EMPTY, *map(_name, MaskLabel))}

    def __call__(self, detect: Callable[[Frame], Detections]) -> list[str]:
        """Ask about every picture; returns remarks for the operator, one sentence each.

        Raises:
            ModelError: the detector must not be used, with the reason; or what `detect` raises.
        """
        found = {
            name: self._followed(detect(Frame(still, 0.0, index)))
            for index, (name, still) in enumerate(self._stills.items())
        }
        if len(ghost := found[_EMPTY]):
            raise _refused(f"sees {_best(ghost)} in {_EMPTY}.jpg, where nobody is")
        remarks = [
            *self._check_class(MaskLabel.WITH_MASK, found),
            *self._check_class(MaskLabel.WITHOUT_MASK, found),
        ]
        bare = found[_name(MaskLabel.WITHOUT_MASK)]
        if (bare[self._votes(bare)].labels == MaskLabel.WITH_MASK).any():
            raise _refused("also takes the bare face for one that wears a mask")
        remarks += self._remarks_on_badly_worn(found[_name(MaskLabel.MASK_WEARED_INCORRECT)])
        return remarks + self._remarks_on_other_looks(detect)

    def _followed(self, found: Detections) -> Detections:
        """The faces that may begin a track or vote in one, best first."""
        found = found[found.scores >= self._least_score]
        return found[np.argsort(-found.scores, kind="stable")]

    def _votes(self, found: Detections) -> NDArray[np.bool_]:
        sure: NDArray[np.bool_] = found.scores >= self._min_scores[found.labels]
        return sure & (found.margins >= self._min_margin)

    def _check_class(self, label: MaskLabel, found: dict[str, Detections]) -> list[str]:
        """Refuse unless the best face of a picture is where it must be, and of this class."""
        name = _name(label)
        faces, height = found[name], self._stills[name].shape[0]
        if not len(faces):
            raise _refused(f"sees no face in {name}.jpg")
        if faces.labels[0] != label or not _is_on_face(faces.boxes_xyxy[0] / height):
            raise _refused(f"sees {_best(faces)} in {name}.jpg")
        if not faces.margins[0] >= max(self._min_margin, MIN_MARGIN):
            margin = f"the next class is only {faces.margins[0]:.2f} behind"
            raise _refused(f"cannot tell the class in {name}.jpg ({margin})")
        if self._votes(faces)[0]:
            return []
        return [
            f"the detector is unsure of a plain face: it sees {_best(faces)}, and votes for {name} "
            f"count from {self._min_scores[label]:.2f} (policy.min_score)"
        ]

    def _remarks_on_badly_worn(self, faces: Detections) -> list[str]:
        if len(faces) and faces.labels[0] == MaskLabel.MASK_WEARED_INCORRECT:
            return []
        seen = _best(faces) if len(faces) else "no face"
        return [f"the detector may miss badly worn masks: it sees {seen} where the nose is free"]

    def _remarks_on_other_looks(self, detect: Callable[[Frame], Detections]) -> list[str]:
        """Where the bare face, tilted or tinted, would be believed to wear a mask."""
        fooled = [
            name
            for name, still in _other_looks(self._stills[_name(MaskLabel.WITHOUT_MASK)]).items()
            if self._is_believed(Frame(still, 0.0, 0), detect)
        ]
        if not fooled:
            return []
        return [f"the detector takes a bare face for a masked one when it is {', '.join(fooled)}"]

    def _is_believed(self, frame: Frame, detect: Callable[[Frame], Detections]) -> bool:
        """Whether all that is seen votes for a worn mask, and a second look does not doubt it."""
        found = self._followed(detect(frame))
        if not (len(found) and (self._votes(found) & (found.labels == MaskLabel.WITH_MASK)).all()):
            return False
        if self._second_look_score is None:
            return True
        look = SecondLook(detect, {MaskLabel.WITH_MASK}, self._second_look_score)
        x1, y1, x2, y2 = found.boxes_xyxy[0].tolist()
        return look(frame, (x1, y1, x2, y2))


def _other_looks(still: Image) -> dict[str, Image]:
    """The still tilted about its face and in light of one colour, each with a name."""
    height, width = still.shape[:2]
    left, top, right, bottom = _FACE_XYXY
    centre = (left + right) / 2 * width, (top + bottom) / 2 * height
    looks = {
        f"tilted by {degrees:+.0f} degrees": cv2.warpAffine(
            still,
            cv2.getRotationMatrix2D(centre, degrees, 1.0),
            (width, height),
            borderMode=cv2.BORDER_REFLECT,
        )
        for degrees in _TILTS_DEGREES
    }
    looks |= {f"in {name} light": (still * tint).clip(0, 255) for name, tint in _TINTS_BGR.items()}
    return {name: np.asarray(look, np.uint8) for name, look in looks.items()}


def _still(folder: Path, name: str) -> Image:
    path = folder / f"{name}.jpg"
    try:
        data = path.read_bytes()
    except OSError:
        data = b""
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise ModelError(f"{path}: missing or damaged; the self-test needs it: install again")
    return np.asarray(image, np.uint8)


def _name(label: MaskLabel) -> str:
    return label.name.lower()


def _best(faces: Detections) -> str:
    """The surest face in words, such as `with_mask at score 0.43, margin 0.40`."""
    x1, y1, x2, y2 = faces.boxes_xyxy[0].round().astype(int).tolist()
    return (
        f"{_name(MaskLabel(faces.labels[0]))} with score {faces.scores[0]:.2f} at {x1},{y1} to "
        f"{x2},{y2}"
    )


def _is_on_face(box_xyxy: NDArray[np.float32]) -> bool:
    """Whether a box, in fractions of the still, is one of its face."""
    x1, y1, x2, y2 = (float(corner) for corner in box_xyxy)
    left, top, right, bottom = _FACE_XYXY
    ratio = max(x2 - x1, y2 - y1) / max(right - left, bottom - top)
    return (
        left < (x1 + x2) / 2 < right
        and top < (y1 + y2) / 2 < bottom
        and 1 / _SIZE_RATIO < ratio < _SIZE_RATIO
    )


def _refused(what: str) -> ModelError:
    return ModelError(f"the detector {what}: {_REFUSED}")
