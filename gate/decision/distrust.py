"""Distrust: who was denied for what they wear must show for longer that it has changed.

A head that turns or tilts, or a light that changes, can make a bare face look masked for a while.
Somebody who really puts a mask on goes on wearing it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mask_gate.gate.decision.evidence import ROUNDING_S
from mask_gate.gate.decision.person_marks import PersonMarks
from mask_gate.gate.domain import Sighting, Track
from mask_gate.models.labels import MaskLabel


@dataclass(slots=True)
class _Proof:
    """What a distrusted face has shown since it last looked otherwise."""

    since_s: float
    newest_s: float
    good: int = 0
    frames: int = 0


class Distrust:
    """Follows each person who was denied, until trust is earned or the person is long gone.

    Args:
        span_s: compliant sightings must span this; 0 distrusts nobody.
        frames: and come from so many distinct frames.
        share: of the frames in that time, which such sightings must be.
        gap_s: a pause between them after which all begins anew.
        keep_s: a face that vanished is remembered for so long.
    """

    def __init__(
        self, *, span_s: float, frames: int, share: float, gap_s: float, keep_s: float
    ) -> None:
        self._span_s = span_s
        self._frames = frames
        self._share = share
        self._gap_s = gap_s
        self._keep_s = keep_s
        self._marks = PersonMarks()
        self._proofs: dict[int, _Proof] = {}

    def __contains__(self, track_id: int) -> bool:
        return track_id in self._marks

    def follow(
        self,
        tracks: Sequence[Track],
        votes: Collection[Sighting],
        compliant: Collection[MaskLabel],
        now_s: float,
    ) -> None:
        """Take in a frame: who is where, and what the distrusted show.

        Args:
            tracks: every face followed.
            votes: the sightings of this frame that are sure enough to count.
            compliant: the classes that may pass.
            now_s: time of the frame.
        """
        self._marks.end_by(now_s)
        self._marks.follow(tracks)
        distrusted = [track for track in tracks if track.id in self._marks]
        self._marks.begin(distrusted, now_s + self._keep_s)
        self._proofs = {t.id: self._proofs[t.id] for t in distrusted if t.id in self._proofs}
        for track in distrusted:
            seen = track.sightings[-1] if track.sightings else None
            self._weigh(track.id, seen, seen in votes, compliant, now_s)

    def deny(self, track: Track, now_s: float) -> None:
        """Somebody was just seen to violate."""
        if self._span_s > 0:
            self._marks.begin([track], now_s + self._keep_s)

    def _weigh(
        self,
        track_id: int,
        seen: Sighting | None,
        is_vote: bool,
        compliant: Collection[MaskLabel],
        now_s: float,
    ) -> None:
        """What one frame adds to the proof of one face, or takes from it."""
        proof = self._proofs.get(track_id)
        is_new = seen is not None and seen.time_s == now_s
        if seen is None or (is_new and seen.label not in compliant):
            self._proofs.pop(track_id, None)
            return
        if proof is not None and not now_s - proof.newest_s <= self._gap_s + ROUNDING_S:
            self._proofs.pop(track_id)
            proof = None
        if proof is None:
            if not (is_new and is_vote):
                return
            proof = self._proofs[track_id] = _Proof(now_s, now_s)
        proof.frames += 1
        if is_new and is_vote:
            proof.good += 1
            proof.newest_s = now_s
        if proof.newest_s - proof.since_s >= self._span_s - ROUNDING_S and proof.good >= max(
            self._frames, self._share * proof.frames
        ):
            self._marks.end(track_id)
            del self._proofs[track_id]
