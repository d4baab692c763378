"""Policy: the rule of the entrance, from the tracks of one frame to a decision.

Nothing here looks at a clock or a picture: frame times come in with the tracks, so the same trace
always gives the same decisions. Every comparison is written so that NaN falls on the locked side.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.domain import Decision, Reason, Sighting, State, Track
from mask_gate.models.labels import MaskLabel
from mask_gate.models.operating_point import OperatingPoint

Point = tuple[float, float]
_ROUNDING_S = 1e-6  # sums of frame times are not exact; a frame must not be lost to the last bit


def _as_points(value: object) -> object:
    """YAML has lists only; points are pairs."""
    if isinstance(value, list | tuple):
        return tuple(tuple(point) if isinstance(point, list) else point for point in value)
    return value


class PolicyConfig(BaseModel):
    """Who may pass: evidence in seconds AND distinct frames, whatever the frame rate."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    zone: Annotated[tuple[Point, ...], BeforeValidator(_as_points)] = Field(
        default=((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)),
        description="polygon (x, y) in fractions of the picture; a face counts when the centre "
        "of its box is inside or on the edge",
    )
    min_face: float = Field(
        default=0.10,
        gt=0,
        le=1,
        description="longer side of a face's box, as a fraction of the picture's height, from "
        "which on it may be let in",
    )
    near_face: float = Field(
        default=0.07,
        gt=0,
        le=1,
        description="from here on a face must comply like all others; smaller ones are too far "
        "away to walk in with somebody and are ignored",
    )
    min_score: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="a sighting below this score votes for nothing; null: the model's own for each "
        "class",
    )
    min_margin: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="nor one whose class leads the next by less; null: the model's own",
    )
    window_s: float = Field(default=1.0, gt=0, le=10, description="past that evidence is read from")
    min_evidence_s: float = Field(
        default=0.5, gt=0, le=10, description="compliant sightings must span this"
    )
    min_frames: int = Field(
        default=4, ge=2, le=100, description="and come from so many distinct frames"
    )
    enter_share: float = Field(
        default=0.8,
        gt=0.5,
        le=1,
        description="share of the frames since its first in the window in which a face must have "
        "been seen to comply, to be let in",
    )
    leave_share: float = Field(
        default=0.6, gt=0.5, le=1, description="share below which a permission given is revoked"
    )
    max_age_s: float = Field(
        default=0.5,
        ge=0,
        le=2,
        description="with permission given, a face may go without a good sighting for so long; "
        "the lease is not renewed meanwhile. To be let in takes one in the current frame",
    )
    deny_evidence_s: float = Field(
        default=0.2, ge=0, le=10, description="violating sightings must span this before a DENY"
    )
    deny_frames: int = Field(
        default=3, ge=1, le=100, description="and come from so many distinct frames"
    )
    deny_share: float = Field(default=0.5, gt=0, le=1, description="and be this share of all")
    incorrect_is_violation: bool = Field(
        default=True, description="whether a mask worn badly counts as no mask"
    )
    lease_s: float = Field(
        default=1.0, gt=0, le=5, description="how long after its evidence an ALLOW is good"
    )
    hold_s: float = Field(
        default=4.0, gt=0, le=60, description="one grant is renewed for so long at most"
    )
    cool_down_s: float = Field(
        default=3.0, ge=0, le=600, description="pause after a grant before its people get another"
    )

    @model_validator(mode="after")
    def _consistent(self) -> PolicyConfig:
        if len(self.zone) < 3 or not all(0 <= part <= 1 for point in self.zone for part in point):
            raise ValueError("zone: expected at least 3 points (x, y) with both in 0..1")
        if abs(_doubled_area(self.zone)) < 1e-4:
            raise ValueError("zone: expected a polygon with an inside, got points on one line")
        for low, high in (
            ("near_face", "min_face"),
            ("leave_share", "enter_share"),
            ("min_evidence_s", "window_s"),
            ("deny_evidence_s", "window_s"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}: expected at most {high} ({getattr(self, high)})")
        if self.max_age_s >= self.lease_s:
            raise ValueError(f"max_age_s: expected less than lease_s ({self.lease_s})")
        return self

    def votes(self, point: OperatingPoint | None) -> VoteThresholds:
        """Which sightings count, with a model that brings this operating point."""
        return VoteThresholds.of(point, self.min_score, self.min_margin)


@dataclass(frozen=True, slots=True)
class _Evidence:
    """Sightings of one face in the window, and those among them that are sure enough to vote."""

    window: Sequence[Sighting]
    votes: Sequence[Sighting]


@dataclass(frozen=True, slots=True)
class _Verdict:
    """One face judged in one frame.

    Attributes:
        reason: COMPLIANT, UNCERTAIN, NO_MASK or MASK_INCORRECT.
        big: near enough to be let in.
        proven_s: with COMPLIANT, time of its newest compliant sighting.
    """

    track: Track
    reason: Reason
    big: bool
    proven_s: float = -math.inf


@dataclass(slots=True)
class _Grant:
    """A permission in force: whom it was given to, as last seen, and how far it reaches."""

    tracks: dict[int, Track]
    began_s: float
    until_s: float


@dataclass(slots=True)
class _Cooling:
    """Somebody who had a grant, as last seen, and when the next one is possible."""

    track: Track
    ends_s: float


class Policy:
    """Decides frame by frame; remembers only grants, so that one passage has one opening.

    A grant is given to all faces in the zone together. It holds while each of them complies and
    nobody unproven joins, for `hold_s` at most. From its end, whatever ended it, each of them waits
    `cool_down_s`; whoever still stands there then may earn the next. A newcomer need not wait: when
    all comply, the newcomer's grant takes in those who are waiting. A face that appears where one
    of them was lost is taken for the same person.

    Args:
        config: the rule.
        votes: which sightings count; by default, as for a model without an operating point.
    """

    def __init__(self, config: PolicyConfig, votes: VoteThresholds | None = None) -> None:
        self._config = config
        self._votes = config.votes(None) if votes is None else votes
        self._compliant = {MaskLabel.WITH_MASK}
        if not config.incorrect_is_violation:
            self._compliant.add(MaskLabel.MASK_WEARED_INCORRECT)
        self._grant: _Grant | None = None
        self._cooling: dict[int, _Cooling] = {}
        self._known_ids: frozenset[int] = frozenset()
        self._frames_s: list[float] = []  # those in the evidence window
        self._last_frame_s = -math.inf
        self._last_fault_s = -math.inf

    def decide(
        self, tracks: Sequence[Track], frame_time_s: float, frame_hw: tuple[int, int]
    ) -> Decision:
        """Decide on one frame.

        Args:
            tracks: every face followed, boxes in frame pixels.
            frame_time_s: monotonic seconds of the frame; a time that does not advance is a fault.
            frame_hw: height and width of the frame in pixels.
        """
        if not (math.isfinite(frame_time_s) and frame_time_s > self._last_frame_s):
            return self.fault(Reason.FROZEN, frame_time_s)
        if min(frame_hw) < 1:
            return self.fault(Reason.BAD_IMAGE, frame_time_s)
        self._last_frame_s = frame_time_s
        since_s = frame_time_s - self._config.window_s - _ROUNDING_S
        self._frames_s = [*self._frames_s[bisect_left(self._frames_s, since_s) :], frame_time_s]
        if self._grant is not None and frame_time_s > self._grant.until_s:
            self._end_grant(frame_time_s)  # nothing renewed it in time
        self._cooling = {i: had for i, had in self._cooling.items() if had.ends_s > frame_time_s}

        evidence = {track.id: self._evidence(track, frame_time_s) for track in tracks}
        state, reason = self._rule(tracks, evidence, frame_hw)
        until_s = None
        if state is State.ALLOW and self._grant is not None:
            until_s = self._grant.until_s
        else:
            self._end_grant(frame_time_s)
        self._remember(tracks)
        votes = {
            track_id: dict(Counter(vote.label for vote in seen.votes))
            for track_id, seen in evidence.items()
        }
        return Decision(state, reason, frame_time_s, until_s, votes)

    def fault(self, reason: Reason, time_s: float) -> Decision:
        """The FAULT decision for a frame that could not be judged, or for one that never came.

        It ends a grant, and no evidence from before `time_s` counts any more.
        """
        at_s = time_s if math.isfinite(time_s) else max(self._last_frame_s, 0.0)
        self._last_fault_s = max(self._last_fault_s, self._last_frame_s, at_s)
        self._end_grant(at_s)
        return Decision(State.FAULT, reason, at_s)

    def _rule(
        self,
        tracks: Sequence[Track],
        evidence: Mapping[int, _Evidence],
        frame_hw: tuple[int, int],
    ) -> tuple[State, Reason]:
        """Everyone in the zone who is near must comply; ALLOW starts or renews the grant."""
        inside = [track for track in tracks if self._is_inside(track, frame_hw)]
        if not inside:
            return State.IDLE, Reason.NO_FACE
        verdicts = [
            self._judge(track, evidence[track.id], size)
            for track in inside
            if not (size := _face_size(track, frame_hw)) < self._config.near_face
        ]
        if not verdicts:
            return State.IDLE, Reason.TOO_SMALL
        if self._grant is None and not any(verdict.big for verdict in verdicts):
            return State.CHECKING, Reason.TOO_SMALL
        reasons = {verdict.reason for verdict in verdicts}
        violations = reasons & {Reason.NO_MASK, Reason.MASK_INCORRECT}
        if violations and Reason.COMPLIANT in reasons:
            return State.DENY, Reason.GROUP_MIXED
        if violations:
            bare = Reason.NO_MASK in violations
            return State.DENY, Reason.NO_MASK if bare else Reason.MASK_INCORRECT
        if Reason.UNCERTAIN in reasons:
            return State.CHECKING, Reason.UNCERTAIN
        return self._permit(verdicts)

    def _permit(self, verdicts: Sequence[_Verdict]) -> tuple[State, Reason]:
        """All comply: renew the grant, or begin one where somebody is there who may have it."""
        now_s = self._last_frame_s
        if self._grant is None:
            if not any(face.big and face.track.id not in self._cooling for face in verdicts):
                return State.CHECKING, Reason.COOL_DOWN
            self._grant = _Grant({}, began_s=now_s, until_s=now_s)
        elif now_s - self._grant.began_s >= self._config.hold_s - _ROUNDING_S:
            return State.CHECKING, Reason.COOL_DOWN
        self._grant.tracks.update((face.track.id, face.track) for face in verdicts)
        # The frame's time when everyone was seen in it; a face missed meanwhile renews nothing.
        self._grant.until_s = min(face.proven_s for face in verdicts) + self._config.lease_s
        return State.ALLOW, Reason.COMPLIANT

    def _judge(self, track: Track, seen: _Evidence, size: float) -> _Verdict:
        """Whether a face of this `size` (see `_face_size`) complies."""
        config = self._config
        big = size >= config.min_face
        if not seen.window or not _is_sound(track):
            return _Verdict(track, Reason.UNCERTAIN, big)
        good_s = [vote.time_s for vote in seen.votes if vote.label in self._compliant]
        bad = [vote for vote in seen.votes if vote.label not in self._compliant]
        if (
            len(bad) >= max(config.deny_frames, config.deny_share * len(seen.window))
            and bad[-1].time_s - bad[0].time_s >= config.deny_evidence_s - _ROUNDING_S
        ):
            bare = sum(vote.label is MaskLabel.WITHOUT_MASK for vote in bad)
            reason = Reason.NO_MASK if 2 * bare >= len(bad) else Reason.MASK_INCORRECT
            return _Verdict(track, reason, big)
        held = self._grant is not None and track.id in self._grant.tracks
        share, age_s = (config.leave_share, config.max_age_s) if held else (config.enter_share, 0.0)
        frames = len(self._frames_s) - bisect_left(self._frames_s, seen.window[0].time_s)
        if (
            seen.window[-1].label in self._compliant  # one sight of a bare face is doubt at once
            and len(good_s) >= max(config.min_frames, share * max(frames, len(seen.window)))
            and good_s[-1] - good_s[0] >= config.min_evidence_s - _ROUNDING_S
            and self._last_frame_s - good_s[-1] <= age_s
        ):
            return _Verdict(track, Reason.COMPLIANT, big, proven_s=good_s[-1])
        return _Verdict(track, Reason.UNCERTAIN, big)

    def _evidence(self, track: Track, now_s: float) -> _Evidence:
        """What counts of a track now: distinct frames, in the window, after the last fault."""
        since_s = now_s - self._config.window_s - _ROUNDING_S
        start = bisect_left(track.sightings, since_s, key=lambda seen: seen.time_s)
        window: list[Sighting] = []
        newest_s = self._last_fault_s
        for seen in track.sightings[start:]:
            if newest_s < seen.time_s <= now_s:
                window.append(seen)
                newest_s = seen.time_s
        return _Evidence(window, [seen for seen in window if self._votes.count(seen)])

    def _is_inside(self, track: Track, frame_hw: tuple[int, int]) -> bool:
        """Whether the centre of the face is in the zone; a box that makes no sense is."""
        if not _is_sound(track):
            return True
        x1, y1, x2, y2 = track.box_xyxy
        height, width = frame_hw
        return contains(self._config.zone, ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height))

    def _end_grant(self, at_s: float) -> None:
        if self._grant is None:
            return
        ends_s = min(at_s, self._grant.until_s) + self._config.cool_down_s
        for track_id, track in self._grant.tracks.items():
            self._cooling[track_id] = _Cooling(track, ends_s)
        self._grant = None

    def _remember(self, tracks: Sequence[Track]) -> None:
        """Follow those who are waiting, also when the tracker lost and found them again."""
        present = {track.id: track for track in tracks}
        lost = [had for track_id, had in self._cooling.items() if track_id not in present]
        for track_id, track in present.items():
            if track_id in self._cooling:
                self._cooling[track_id].track = track
            elif track_id not in self._known_ids:
                for had in lost:
                    if _is_again(track, had.track):
                        self._cooling[track_id] = _Cooling(track, had.ends_s)
        self._known_ids = frozenset(present)


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether a point is inside a polygon or on its edge (even-odd rule for crossing outlines)."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        on_line = side == 0.0 and min(x1, x2) <= x <= max(x1, x2)
        if on_line and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and (side > 0) == (y2 > y1):
            inside = not inside  # a ray to the right crosses this edge
    return inside


def _doubled_area(polygon: Sequence[Point]) -> float:
    edges = zip(polygon, (*polygon[1:], polygon[0]), strict=True)
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in edges)


def _is_sound(track: Track) -> bool:
    x1, y1, x2, y2 = track.box_xyxy
    return all(map(math.isfinite, track.box_xyxy)) and x1 < x2 and y1 < y2


def _face_size(track: Track, frame_hw: tuple[int, int]) -> float:
    """Longer side of a face over the picture's height; NaN, never small nor big, for nonsense.

    Not always its height: the picture's edge cuts the face of somebody who stands near.
    """
    if not _is_sound(track):
        return math.nan
    x1, y1, x2, y2 = track.box_xyxy
    return max(x2 - x1, y2 - y1) / frame_hw[0]


def _is_again(newcomer: Track, lost: Track) -> bool:
    """Whether a new track is within one face of where another was lost."""
    x1, y1, x2, y2 = newcomer.box_xyxy
    u1, v1, u2, v2 = lost.box_xyxy
    shift = math.hypot((x1 + x2) - (u1 + u2), (y1 + y2) - (v1 + v2)) / 2
    return shift <= max(y2 - y1, v2 - v1)
