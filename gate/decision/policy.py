"""Policy: the rule of the entrance, from the tracks of one frame to a decision.

Nothing here looks at a clock or a picture: frame times come in with the tracks, so the same trace
always gives the same decisions. Every comparison is written so that NaN falls on the locked side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field, model_validator

from mask_gate.gate.decision.distrust import Distrust
from mask_gate.gate.decision.evidence import ROUNDING_S, Evidence, EvidenceWindow
from mask_gate.gate.decision.person_marks import PersonMarks
from mask_gate.gate.decision.second_looks import SecondLooks
from mask_gate.gate.decision.vote_thresholds import VoteThresholds
from mask_gate.gate.decision.zone import Point, area, contains
from mask_gate.gate.domain import Decision, Reason, State, Track
from mask_gate.models.labels import MaskLabel
from mask_gate.models.operating_point import OperatingPoint
from mask_gate.models.section import Section

_MIN_ZONE_AREA = 5e-5  # of the picture; points on one line enclose less


class PolicyConfig(Section):
    """Who may pass: evidence in seconds AND distinct frames, whatever the frame rate."""

    renamed: ClassVar = {"max_age_s": "evidence_gap_s"}

    zone: tuple[Point, ...] = Field(
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
    evidence_gap_s: float = Field(
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
    distrust_s: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="a face that was just seen to violate must be seen to comply for this long "
        "before it counts; 0: as any other",
    )
    distrust_frames: int = Field(
        default=8, ge=2, le=1000, description="and in so many distinct frames"
    )
    distrust_keep_s: float = Field(
        default=3.0,
        ge=0,
        le=60,
        description="so long after such a face has vanished, a new one in its place is taken for "
        "the same",
    )
    second_looks: int = Field(
        default=1,
        ge=0,
        le=20,
        description="so many looks in a row at the face alone (mirrored, turned to both sides, "
        "colours balanced) must bear out that it complies; 0: none",
    )
    second_look_s: float = Field(
        default=0.25, ge=0, le=0.5, description="pause between two such looks at one face"
    )
    second_look_score: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="a look that finds a violation with this score is doubt, for `window_s`",
    )
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

    @property
    def compliant(self) -> frozenset[MaskLabel]:
        """The classes that may pass."""
        if self.incorrect_is_violation:
            return frozenset({MaskLabel.WITH_MASK})
        return frozenset({MaskLabel.WITH_MASK, MaskLabel.MASK_WEARED_INCORRECT})

    @property
    def answers_needed_per_s(self) -> float:
        """With fewer answers of the detector a second nobody can be let in: frames and looks."""
        return (self.min_frames - 1 + bool(self.second_looks)) / self.window_s

    def looks(self) -> SecondLooks | None:
        """The second looks, where there are any."""
        if not self.second_looks:
            return None
        return SecondLooks(
            count=self.second_looks, pause_s=self.second_look_s, memory_s=self.window_s
        )

    @model_validator(mode="after")
    def _consistent(self) -> PolicyConfig:
        if len(self.zone) < 3 or not all(0 <= part <= 1 for point in self.zone for part in point):
            raise ValueError("zone: expected at least 3 points (x, y) with both in 0..1")
        if area(self.zone) < _MIN_ZONE_AREA:
            raise ValueError("zone: expected a polygon with an inside, got points on one line")
        for low, high in (
            ("near_face", "min_face"),
            ("leave_share", "enter_share"),
            ("min_evidence_s", "window_s"),
            ("deny_evidence_s", "window_s"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low}: expected at most {high} ({getattr(self, high)})")
        if self.evidence_gap_s >= self.lease_s:
            raise ValueError(f"evidence_gap_s: expected less than lease_s ({self.lease_s})")
        return self

    def votes(self, point: OperatingPoint | None) -> VoteThresholds:
        """Which sightings count, with a model that brings this operating point."""
        return VoteThresholds.of(point, self.min_score, self.min_margin)


@dataclass(frozen=True, slots=True)
class _Judgement:
    """One face judged in one frame.

    Attributes:
        reason: COMPLIANT, UNCERTAIN, NO_MASK or MASK_INCORRECT.
        is_big: near enough to be let in.
        proven_s: with COMPLIANT, time of its newest compliant sighting.
    """

    track: Track
    reason: Reason
    is_big: bool
    proven_s: float = -math.inf


@dataclass(slots=True)
class _Grant:
    """A permission in force: whom it was given to, as last seen, and how far it reaches."""

    tracks: dict[int, Track]
    began_s: float
    until_s: float


class Policy:
    """Decides frame by frame; remembers grants, so that one passage has one opening, and denials.

    A grant is given to all faces in the zone together. It holds while each of them complies
    and nobody unproven joins, for `hold_s` at most. From its end, whatever ended it, each of them
    waits `cool_down_s`; whoever still stands there then may earn the next. A newcomer need not
    wait: when all comply, the newcomer's grant takes in those who are waiting. A face that
    appears where one of them was lost is taken for the same person.

    Whoever was just denied for what they wear must show for longer that it has changed
    (`Distrust`). And where faces are looked at once more, nobody is let in whom these looks doubt.

    Args:
        config: the rule.
        votes: by default, those for a model without an operating point.
        looks: where faces are looked at once more (`second_look`, `hear`) before they are let in.

    Attributes:
        votes: which sightings count; set anew when the model is known.
        second_look: whom to look at once more in the next frame, if anybody.
    """

    def __init__(
        self,
        config: PolicyConfig,
        votes: VoteThresholds | None = None,
        looks: SecondLooks | None = None,
    ) -> None:
        self._config = config
        self.votes = config.votes(None) if votes is None else votes
        self._compliant = config.compliant
        self._looks = looks
        self._believed: list[Track] = []
        self._window = EvidenceWindow(config.window_s)
        self._grant: _Grant | None = None
        self.second_look: Track | None = None
        self._cool_downs = PersonMarks()
        self._distrust = Distrust(
            span_s=config.distrust_s,
            frames=config.distrust_frames,
            share=config.enter_share,
            gap_s=config.evidence_gap_s,
            keep_s=config.distrust_keep_s,
        )

    def decide(
        self, tracks: Sequence[Track], frame_time_s: float, frame_hw: tuple[int, int]
    ) -> Decision:
        """Decide on one frame.

        Args:
            tracks: every face followed, boxes in frame pixels.
            frame_time_s: monotonic seconds of the frame; a time that does not advance is a fault.
            frame_hw: height and width of the frame in pixels.
        """
        if not (math.isfinite(frame_time_s) and frame_time_s > self._window.newest_s):
            return self.fault(Reason.FROZEN, frame_time_s)
        if min(frame_hw) < 1:
            return self.fault(Reason.BAD_IMAGE, frame_time_s)
        self._window.add_frame(frame_time_s)
        if self._grant is not None and frame_time_s > self._grant.until_s:
            self._end_grant(frame_time_s)  # nothing renewed it in time
        self._cool_downs.end_by(frame_time_s)

        evidence = {track.id: self._window.evidence_of(track, self.votes) for track in tracks}
        newest = [of.votes[-1] for of in evidence.values() if of.votes]
        self._distrust.follow(tracks, newest, self._compliant, frame_time_s)
        self._believed = []
        state, reason = self._rule(tracks, evidence, frame_hw)
        if self._looks is not None:
            self.second_look = self._looks.next(self._believed, frame_time_s)
        until_s = None
        if state is State.ALLOW and self._grant is not None:
            until_s = self._grant.until_s
        else:
            self._end_grant(frame_time_s)
        self._cool_downs.follow(tracks)
        votes = {
            track_id: dict(Counter(vote.label for vote in of_track.votes))
            for track_id, of_track in evidence.items()
        }
        return Decision(state, reason, frame_time_s, until_s, votes)

    def hear(self, track_id: int, is_borne_out: bool, time_s: float) -> None:
        """Take in what a second look at a face said, made in the frame of `time_s`."""
        if self._looks is not None:
            self._looks.hear(track_id, is_borne_out, time_s)

    def fault(self, reason: Reason, time_s: float) -> Decision:
        """The FAULT decision for a frame that could not be judged, or for one that never came.

        It ends a grant, and no evidence from before `time_s` counts any more.
        """
        at_s = time_s if math.isfinite(time_s) else max(self._window.newest_s, 0.0)
        self._window.forget_until(at_s)
        self._end_grant(at_s)
        return Decision(State.FAULT, reason, at_s)

    def _rule(
        self,
        tracks: Sequence[Track],
        evidence: Mapping[int, Evidence],
        frame_hw: tuple[int, int],
    ) -> tuple[State, Reason]:
        """Everyone near in the zone must comply; ALLOW begins or renews the grant."""
        inside = [track for track in tracks if self._is_inside(track, frame_hw)]
        if not inside:
            return State.IDLE, Reason.NO_FACE
        judged = [
            self._judge(track, evidence[track.id], size)
            for track in inside
            if not (size := _face_size(track, frame_hw)) < self._config.near_face
        ]
        if not judged:
            return State.IDLE, Reason.TOO_SMALL
        if self._grant is None and not any(face.is_big for face in judged):
            return State.CHECKING, Reason.TOO_SMALL
        reasons = {face.reason for face in judged}
        violations = reasons & {Reason.NO_MASK, Reason.MASK_INCORRECT}
        if violations and Reason.COMPLIANT in reasons:
            return State.DENY, Reason.GROUP_MIXED
        if violations:
            is_bare = Reason.NO_MASK in violations
            return State.DENY, Reason.NO_MASK if is_bare else Reason.MASK_INCORRECT
        if Reason.UNCERTAIN in reasons:
            return State.CHECKING, Reason.UNCERTAIN
        return self._permit(judged)

    def _permit(self, judged: Sequence[_Judgement]) -> tuple[State, Reason]:
        """All comply: renew the grant, or begin one where somebody may have it."""
        now_s = self._window.newest_s
        if self._grant is None:
            if not any(face.is_big and face.track.id not in self._cool_downs for face in judged):
                return State.CHECKING, Reason.COOL_DOWN
            self._grant = _Grant({}, began_s=now_s, until_s=now_s)
        elif now_s - self._grant.began_s >= self._config.hold_s - ROUNDING_S:
            return State.CHECKING, Reason.COOL_DOWN
        self._grant.tracks.update((face.track.id, face.track) for face in judged)
        # The frame's time when everyone was seen in it; a face missed meanwhile renews nothing.
        self._grant.until_s = min(face.proven_s for face in judged) + self._config.lease_s
        return State.ALLOW, Reason.COMPLIANT

    def _judge(self, track: Track, evidence: Evidence, size: float) -> _Judgement:
        """Whether a face of this `size` (see `_face_size`) complies."""
        is_big = size >= self._config.min_face
        if not evidence.sightings or not _is_sound(track):
            return _Judgement(track, Reason.UNCERTAIN, is_big)
        violation = self._violation(evidence)
        if violation is not None:
            self._distrust.deny(track, self._window.newest_s)
            return _Judgement(track, violation, is_big)
        if track.id in self._distrust:
            return _Judgement(track, Reason.UNCERTAIN, is_big)
        proven_s = self._proven_s(track, evidence)
        if proven_s is not None:
            self._believed.append(track)
            if not self._bears_out(track):
                return _Judgement(track, Reason.UNCERTAIN, is_big)
            return _Judgement(track, Reason.COMPLIANT, is_big, proven_s)
        return _Judgement(track, Reason.UNCERTAIN, is_big)

    def _bears_out(self, track: Track) -> bool:
        """Whether second looks agree; without them nothing speaks against a face."""
        return self._looks is None or self._looks.bear_out(track.id, self._window.newest_s)

    def _violation(self, evidence: Evidence) -> Reason | None:
        """NO_MASK or MASK_INCORRECT where there is enough evidence against a face."""
        config = self._config
        against = [vote for vote in evidence.votes if vote.label not in self._compliant]
        if not (
            len(against) >= max(config.deny_frames, config.deny_share * len(evidence.sightings))
            and against[-1].time_s - against[0].time_s >= config.deny_evidence_s - ROUNDING_S
        ):
            return None
        bare = sum(vote.label is MaskLabel.WITHOUT_MASK for vote in against)
        return Reason.NO_MASK if 2 * bare >= len(against) else Reason.MASK_INCORRECT

    def _proven_s(self, track: Track, evidence: Evidence) -> float | None:
        """Time of its newest compliant sighting where there is enough evidence for a face."""
        config = self._config
        has_grant = self._grant is not None and track.id in self._grant.tracks
        share, gap_s = (
            (config.leave_share, config.evidence_gap_s) if has_grant else (config.enter_share, 0.0)
        )
        sightings = evidence.sightings
        good_s = [vote.time_s for vote in evidence.votes if vote.label in self._compliant]
        frames = max(self._window.frames_since(sightings[0].time_s), len(sightings))
        if (
            sightings[-1].label in self._compliant  # one sight of a bare face is doubt at once
            and len(good_s) >= max(config.min_frames, share * frames)
            and good_s[-1] - good_s[0] >= config.min_evidence_s - ROUNDING_S
            and self._window.newest_s - good_s[-1] <= gap_s
        ):
            return good_s[-1]
        return None

    def _is_inside(self, track: Track, frame_hw: tuple[int, int]) -> bool:
        """Whether the centre of the face is in the zone; a box that makes no sense is."""
        if not _is_sound(track):
            return True
        x1, y1, x2, y2 = track.box_xyxy
        height, width = frame_hw
        return contains(self._config.zone, ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height))

    def _end_grant(self, at_s: float) -> None:
        """End the grant in force, if there is one; its people wait from now on."""
        if self._grant is None:
            return
        ends_s = min(at_s, self._grant.until_s) + self._config.cool_down_s
        self._cool_downs.begin(self._grant.tracks.values(), ends_s)
        self._grant = None


def _is_sound(track: Track) -> bool:
    """Whether a box can be one of a face."""
    x1, y1, x2, y2 = track.box_xyxy
    return all(map(math.isfinite, track.box_xyxy)) and x1 < x2 and y1 < y2


def _face_size(track: Track, frame_hw: tuple[int, int]) -> float:
    """Longer side of a face over the picture's height; NaN for a box that no face can have.

    Not always its height: the picture's edge cuts the face of somebody who stands near.
    """
    if not _is_sound(track):
        return math.nan
    x1, y1, x2, y2 = track.box_xyxy
    return max(x2 - x1, y2 - y1) / frame_hw[0]
