"""Approach: people of still images walking up to a camera, rendered frame by frame.

Each frame is what a cheap camera would make of it: faces grow from far to near and sway, light
drifts, movement blurs, the sensor has grain, JPEG takes its part. The people themselves stand
still: an approach is a simulation from stills, no film of anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.training.data.augment import crop_face
from mask_gate.training.data.samples import Sample

Image = NDArray[np.uint8]

SIZE_WH = (640, 480)
FPS = 15
SECONDS = 3.0
MIN_FACE_PX = 40.0
"""A smaller face, enlarged, shows no mask any more."""

NEAR = 0.10
"""From this part of the picture's height on a face may be let in; the gate's own `min_face`."""

_CONTEXT = 0.6  # of the face's size around it: hair, shoulders, nobody else
_FAR, _CLOSE = 0.08, (0.28, 0.42)  # first and last size, parts of the picture's height
_WALK = 0.7  # part of the time that is walked; then they stand before the door


@dataclass(frozen=True, slots=True)
class Approach:
    """One passage: who comes, and how the frames are drawn by chance.

    Attributes:
        people: each a face with its surroundings (`person_of`).
        seed: the same seed gives the same frames.
    """

    people: tuple[Sample, ...]
    seed: int

    @property
    def labels(self) -> tuple[int, ...]:
        """Class index of each of the people."""
        return tuple(int(person.labels[0]) for person in self.people)

    @property
    def near_s(self) -> float:
        """When the last of them has come as near as `NEAR`."""
        walks = [walk.size for walk in self._walks(np.random.default_rng(self.seed))]
        return max(int(np.argmax(size >= NEAR)) / FPS for size in walks)

    def frames(self) -> Iterator[bytes]:
        """The frames as JPEG files, `FPS` a second for `SECONDS`."""
        rng = np.random.default_rng(self.seed)
        walks = self._walks(rng)
        wall, light = _wall(rng), _light(rng)
        quality = int(rng.integers(60, 91))
        for number in range(round(SECONDS * FPS)):
            frame = wall.copy()
            # Who is nearer stands before the others.
            for person, walk in sorted(
                zip(self.people, walks, strict=True), key=lambda pair: pair[1].size[number]
            ):
                _lay(frame, person, walk, number)
            grain = rng.normal(0, 3, frame.shape[:2])[..., None]
            seen = (frame * light[number] + grain).clip(0, 255).astype(np.uint8)
            yield cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()

    def _walks(self, rng: np.random.Generator) -> list[_Walk]:
        places = (np.arange(len(self.people)) + 0.5) / len(self.people)
        return [_walk(rng, place) for place in places]


def person_of(sample: Sample, face: int) -> Sample | None:
    """One face with its surroundings; None for one too small, or with another face beside it."""
    x1, y1, x2, y2 = sample.boxes_xyxy[face]
    width, height = x2 - x1, y2 - y1
    if max(width, height) < MIN_FACE_PX:
        return None
    reach_xy = np.array([width, height]) * (_CONTEXT + 0.3)
    low, high = sample.boxes_xyxy[face, :2] - reach_xy, sample.boxes_xyxy[face, 2:] + reach_xy
    middles = (sample.boxes_xyxy[:, :2] + sample.boxes_xyxy[:, 2:]) / 2
    if int(((middles > low) & (middles < high)).all(1).sum()) > 1:
        return None
    return crop_face(sample, face, _CONTEXT)


def people_of(samples: Sequence[Sample]) -> list[Sample]:
    """Everybody in these images who can walk alone."""
    found = (person_of(s, face) for s in samples for face in range(len(s.labels)))
    return [person for person in found if person is not None]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Way of one person: longer side of the face and its middle, in parts of the picture."""

    size: NDArray[np.float64]
    middle_xy: NDArray[np.float64]


def _walk(rng: np.random.Generator, place: float) -> _Walk:
    time = np.linspace(0, 1, round(SECONDS * FPS))
    gone = np.minimum(1.0, time / _WALK)
    size = _FAR * (rng.uniform(*_CLOSE) / _FAR) ** gone
    phase, rate = rng.uniform(0, 2 * np.pi, 2), rng.uniform(3, 7, 2)
    sway = 0.08 * size[:, None] * np.sin(time[:, None] * rate * 2 + phase)
    jitter = rng.normal(0, 0.004, (len(time), 2))
    start_xy = np.array([place + rng.uniform(-0.04, 0.04), rng.uniform(0.4, 0.55)])
    return _Walk(size, start_xy + sway + jitter)


def _wall(rng: np.random.Generator) -> NDArray[np.float32]:
    """A hall without anybody: a wall in uneven light, and a floor."""
    width, height = SIZE_WH
    low, high = sorted(rng.uniform(50, 190, 2))
    shade = np.linspace(low, high, width, dtype=np.float32)
    wall = np.repeat(np.repeat(shade[None, :, None], height, 0), 3, 2)
    wall *= rng.uniform(0.9, 1.1, 3).astype(np.float32)
    wall[int(height * 0.75) :] *= 0.6
    return wall


def _light(rng: np.random.Generator) -> NDArray[np.float64]:
    """Exposure of each frame, drifting."""
    time = np.linspace(0, 1, round(SECONDS * FPS))
    return rng.uniform(0.75, 1.15) + rng.uniform(0, 0.15) * np.sin(
        time * rng.uniform(2, 8) + rng.uniform(0, 6)
    )


def _lay(frame: NDArray[np.float32], person: Sample, walk: _Walk, number: int) -> None:
    """Draw a person into the frame, blurred along the way made since the frame before."""
    box = person.boxes_xyxy[0]
    gain = walk.size[number] * SIZE_WH[1] / float((box[2:] - box[:2]).max())
    at_xy = walk.middle_xy[number] * SIZE_WH
    shift = at_xy - (box[:2] + box[2:]) / 2 * gain
    matrix = np.array([[gain, 0, shift[0]], [0, gain, shift[1]]])
    height, width = person.size_hw
    image, opacity = (
        np.asarray(cv2.warpAffine(part, matrix, SIZE_WH, flags=cv2.INTER_LINEAR), np.float32)
        for part in (person.image.astype(np.float32), _soft_oval(height, width))
    )
    before_xy = walk.middle_xy[max(0, number - 1)] * SIZE_WH
    image = _blurred(image, (at_xy - before_xy) / 2)  # the shutter is open half of the time
    frame += opacity[..., None] * (image - frame)


def _soft_oval(height: int, width: int) -> NDArray[np.float32]:
    """1 in the middle, 0 at the edges of the crop."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    return np.asarray(((1 - np.sqrt(x**2 + y**2)) * 4).clip(0, 1), np.float32)


def _blurred(image: NDArray[np.float32], way_xy: NDArray[np.float64]) -> NDArray[np.float32]:
    length = int(np.ceil(np.hypot(*way_xy)))
    if length < 2:
        return image
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    ends = [tuple(round(length + side * float(part)) for part in way_xy) for side in (-0.5, 0.5)]
    cv2.line(kernel, ends[0], ends[1], 1.0)
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.float32)
