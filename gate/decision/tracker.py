"""Tracker: follows each face from frame to frame, in seconds rather than frames.

The idea is BYTE's (Zhang et al., ECCV 2022, section 3): sure detections choose their tracks first,
doubtful ones may then keep a track alive, but never begin one. A track coasts on its own velocity
while it is hidden, so two people who cross keep their names.
"""

from __future__ import annotations

import math
from collections import deque
from itertools import count

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from mask_gate.gate.decision.assignment import cheapest_pairs
from mask_gate.gate.domain import Sighting, Track
from mask_gate.gate.errors import ModelError
from mask_gate.models.boxes import pairwise_iou_xyxy, xyxy_to_cxcywh
from mask_gate.models.detections import Detections, DetectionsError
from mask_gate.models.labels import MaskLabel
from mask_gate.models.operating_point import UNMEASURED_FACE_SCORE, OperatingPoint
from mask_gate.models.section import Section

LOW_SCORE = 0.1
"""For models that bring no operating point."""

_JITTER_SPAN_S = 0.015  # positions nearer in time than this tell jitter of the boxes, not speed


class TrackerConfig(Section):
    """How detections become tracks; times in seconds, distances in face sizes."""

    high_score: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="a detection this sure may begin a track; low, because a face whose class is "
        "in doubt scores low, and doubt must reach the policy to keep the door shut; null: the "
        "model's own",
    )
    violation_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="one that shows no mask, or a badly worn one, may begin a track from this part "
        "of `high_score` on: a bare face that hardly shows must not go in unseen beside others",
    )
    low_score: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="a less sure one is not looked at at all; null: half of that, 0.1 at most",
    )
    min_iou: float = Field(
        default=0.2, gt=0, lt=1, description="overlap with the predicted box that is enough alone"
    )
    max_size_ratio: float = Field(
        default=2.0, gt=1, le=10, description="growth between sightings at most this"
    )
    reach: float = Field(
        default=0.5, gt=0, le=5, description="centre distance from the prediction allowed at once"
    )
    reach_per_s: float = Field(
        default=4.0, ge=0, le=50, description="what each second since the last sighting adds to it"
    )
    max_reach: float = Field(default=2.0, gt=0, le=10, description="and where that stops growing")
    velocity_window_s: float = Field(
        default=0.4, gt=0, le=2, description="past over which the speed of a face is measured"
    )
    max_missed_s: float = Field(
        default=0.8, gt=0, le=10, description="a face unseen for longer is gone"
    )
    max_gap_s: float = Field(
        default=0.5, gt=0, le=10, description="a longer pause between frames drops all tracks"
    )
    memory_s: float = Field(
        default=1.5, gt=0, le=60, description="sightings kept; at least the policy's `window_s`"
    )
    max_faces: int = Field(
        default=100, ge=1, le=1000, description="more detections in one frame are a model fault"
    )

    @model_validator(mode="after")
    def _ordered(self) -> TrackerConfig:
        high_score = UNMEASURED_FACE_SCORE if self.high_score is None else self.high_score
        if self.low_score is not None and self.low_score > high_score:
            raise ValueError(
                f"low_score: expected at most high_score ({high_score}), got {self.low_score}"
            )
        return self

    def scores(self, point: OperatingPoint | None) -> tuple[float, float]:
        """`high_score` and `low_score`, with a model that brings this operating point."""
        high = self.high_score
        if high is None:
            high = UNMEASURED_FACE_SCORE if point is None else point.face_score
        low = self.low_score
        if low is None:
            low = min(LOW_SCORE, high / 2)
        return high, min(low, high)


class _FollowedFace:
    """What is remembered of one face between frames."""

    def __init__(self, track_id: int, box_xyxy: NDArray[np.float64], sighting: Sighting) -> None:
        self.id = track_id
        self.first_seen_s = sighting.time_s
        self.box_xyxy = box_xyxy
        self.sightings: deque[Sighting] = deque()
        self._centres: deque[tuple[float, float, float]] = deque()  # time s, x px, y px
        self.add(box_xyxy, sighting, memory_s=math.inf, velocity_window_s=math.inf)

    @property
    def last_seen_s(self) -> float:
        return self.sightings[-1].time_s

    def add(
        self,
        box_xyxy: NDArray[np.float64],
        sighting: Sighting,
        memory_s: float,
        velocity_window_s: float,
    ) -> None:
        """Take in a new box; forget sightings and positions older than the two spans."""
        self.box_xyxy = box_xyxy
        self.sightings.append(sighting)
        while sighting.time_s - self.sightings[0].time_s > memory_s:
            self.sightings.popleft()
        x1, y1, x2, y2 = box_xyxy.tolist()
        self._centres.append((sighting.time_s, (x1 + x2) / 2, (y1 + y2) / 2))
        # Two positions always stay, else a slow camera would never show any speed.
        while len(self._centres) > 2 and sighting.time_s - self._centres[0][0] > velocity_window_s:
            self._centres.popleft()

    def predict(self, time_s: float) -> list[float]:
        """Box expected at `time_s`: on the line fitted to the recent centres; xyxy pixels."""
        centres = np.array(self._centres)  # [K, 3]
        mean = centres.mean(axis=0)
        apart = centres - mean
        spread = apart[:, 0] @ apart[:, 0] + len(centres) * _JITTER_SPAN_S**2
        x, y = mean[1:] + apart[:, 0] @ apart[:, 1:] / spread * (time_s - mean[0])
        left, top, right, bottom = self.box_xyxy.tolist()
        dx, dy = x - (left + right) / 2, y - (top + bottom) / 2
        return [left + dx, top + dy, right + dx, bottom + dy]

    def as_track(self) -> Track:
        left, top, right, bottom = self.box_xyxy.tolist()
        return Track(
            id=self.id,
            box_xyxy=(left, top, right, bottom),
            sightings=tuple(self.sightings),
            first_seen_s=self.first_seen_s,
            last_seen_s=self.last_seen_s,
        )


class Tracker:
    """Gives every face a name (`Track.id`) that it keeps while it is in view.

    Args:
        config: how.
        point: of the model whose detections come, if it brings one.
    """

    def __init__(self, config: TrackerConfig, point: OperatingPoint | None = None) -> None:
        self._config = config
        self._high_score, self._low_score = config.scores(point)
        self._ids = count(1)
        self._faces: list[_FollowedFace] = []
        self._time_s = -math.inf

    def reset(self) -> None:
        """Forget every face, as after a change of picture size; ids and time go on."""
        self._faces = []

    def update(self, detections: Detections, time_s: float) -> tuple[Track, ...]:
        """Take in the detections of one frame taken at `time_s` (monotonic seconds).

        Returns:
            Every face still followed, oldest first; one missed in this frame keeps its last box
            and has `last_seen_s < time_s`.

        Raises:
            ModelError: a number no sound model would give; no track has changed then.
            ValueError: `time_s` is not later than that of the frame before.
        """
        if not (math.isfinite(time_s) and time_s > self._time_s):
            raise ValueError(f"time_s: expected finite seconds after {self._time_s}, got {time_s}")
        try:
            detections.check(None, self._config.max_faces)
        except DetectionsError as error:
            raise ModelError(str(error)) from error
        if time_s - self._time_s > self._config.max_gap_s:
            self.reset()
        self._time_s = time_s

        oldest_s = time_s - self._config.max_missed_s
        self._faces = [face for face in self._faces if face.last_seen_s >= oldest_s]
        share = np.where(
            detections.labels == MaskLabel.WITH_MASK, 1.0, self._config.violation_share
        )
        sure = detections.scores >= share * self._high_score
        doubtful = ~sure & (detections.scores >= self._low_score)
        unseen, newcomers = self._follow(self._faces, detections[sure], time_s)
        self._follow(unseen, detections[doubtful], time_s)
        for box_xyxy, sighting in newcomers:
            self._faces.append(_FollowedFace(next(self._ids), box_xyxy, sighting))
        return tuple(face.as_track() for face in self._faces)

    def _follow(
        self, faces: list[_FollowedFace], detections: Detections, time_s: float
    ) -> tuple[list[_FollowedFace], list[tuple[NDArray[np.float64], Sighting]]]:
        """Continue `faces` with `detections`; returns what is left over of both."""
        boxes_xyxy = detections.boxes_xyxy.astype(np.float64)
        seen = [
            (box_xyxy, Sighting(time_s, MaskLabel(label), score, margin))
            for box_xyxy, label, score, margin in zip(
                boxes_xyxy,
                detections.labels.tolist(),
                detections.scores.tolist(),
                detections.margins.tolist(),
                strict=True,
            )
        ]
        if not faces or not seen:
            return faces, seen
        chosen = cheapest_pairs(self._costs(faces, boxes_xyxy, time_s))
        for row, column in chosen.items():
            faces[row].add(
                *seen[column],
                memory_s=self._config.memory_s,
                velocity_window_s=self._config.velocity_window_s,
            )
        taken = set(chosen.values())
        return (
            [face for row, face in enumerate(faces) if row not in chosen],
            [face for column, face in enumerate(seen) if column not in taken],
        )

    def _costs(
        self, faces: list[_FollowedFace], boxes_xyxy: NDArray[np.float64], time_s: float
    ) -> NDArray[np.float64]:
        """Cost [T, N] of continuing face t with box n: 0 perfect, 2 the limit, inf forbidden."""
        config = self._config
        predicted_xyxy = np.array([face.predict(time_s) for face in faces])
        iou = pairwise_iou_xyxy(predicted_xyxy, boxes_xyxy)  # [T, N]
        expected, found = xyxy_to_cxcywh(predicted_xyxy), xyxy_to_cxcywh(boxes_xyxy)
        size_t, size_n = np.sqrt(expected[:, 2:].prod(1)), np.sqrt(found[:, 2:].prod(1))
        ratio = np.maximum(size_t[:, None], size_n) / np.minimum(size_t[:, None], size_n)
        shift = np.linalg.norm(expected[:, None, :2] - found[:, :2], axis=2)  # [T, N] px
        unseen_s = time_s - np.array([face.last_seen_s for face in faces])
        reach_px = np.minimum(config.reach + config.reach_per_s * unseen_s, config.max_reach)
        nearness = shift / (reach_px * size_t)[:, None]  # 1 at the edge of reach
        near = (iou >= config.min_iou) | (nearness <= 1.0)
        cost = (1.0 - iou) + np.minimum(nearness, 1.0)
        return np.where(near & (ratio <= config.max_size_ratio), cost, np.inf)
