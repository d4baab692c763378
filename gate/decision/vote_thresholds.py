"""VoteThresholds: which sightings of a face are sure enough to count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mask_gate.gate.domain import Sighting
from mask_gate.models.labels import MaskLabel
from mask_gate.models.operating_point import UNMEASURED_MARGIN, UNMEASURED_SCORE, OperatingPoint


@dataclass(frozen=True, slots=True)
class VoteThresholds:
    """From which score on a class is believed, and by what lead over the next.

    Attributes:
        min_scores: one for each class.
        min_margin: for all of them.
    """

    min_scores: Mapping[MaskLabel, float]
    min_margin: float

    @classmethod
    def of(
        cls, point: OperatingPoint | None, min_score: float | None, min_margin: float | None
    ) -> VoteThresholds:
        """What was configured; else what the model brings; else what is usual."""
        if min_score is not None or point is None:
            score = UNMEASURED_SCORE if min_score is None else min_score
            min_scores = dict.fromkeys(MaskLabel, score)
        else:
            min_scores = {x: point.classes[x.name.lower()].min_score for x in MaskLabel}
        if min_margin is None:
            min_margin = UNMEASURED_MARGIN if point is None else point.min_margin
        return cls(min_scores, min_margin)

    def count(self, seen: Sighting) -> bool:
        """Whether a sighting is sure enough; what is not from 0 to 1 never is."""
        return (
            self.min_scores[seen.label] <= seen.score <= 1.0
            and self.min_margin <= seen.margin <= 1.0
        )

    def __str__(self) -> str:
        """Such as `with_mask 0.62, ..., margin 0.15`."""
        each = ", ".join(f"{x.name.lower()} {score:.2f}" for x, score in self.min_scores.items())
        return f"{each}, margin {self.min_margin:.2f}"
