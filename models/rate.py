"""Rate: how often something went wrong, kept as two counts, with what they leave open."""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from mask_gate.models.section import Section

_Z = 1.959964  # of the normal distribution, for 95 %


class Rate(Section):
    """Two counts; everything else follows from them."""

    written_by_people = False

    wrong: int = Field(ge=0)
    of: int = Field(ge=0)

    @model_validator(mode="after")
    def _possible(self) -> Rate:
        if self.wrong > self.of:
            raise ValueError(f"expected at most {self.of} wrong of {self.of}, got {self.wrong}")
        return self

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.wrong / self.of if self.of else math.nan

    @property
    def bounds(self) -> tuple[float, float]:
        """The 95 % interval of the share."""
        return wilson(self.wrong, self.of)

    def __str__(self) -> str:
        """Such as `2 of 55 (3.6 %, 1.0 to 12.3)`."""
        low, high = self.bounds
        return f"{self.wrong} of {self.of} ({self.value:.1%}, {100 * low:.1f} to {100 * high:.1f})"


def wilson(wrong: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a rate (Wilson, 1927); all there is, for no trial at all."""
    if not of:
        return 0.0, 1.0
    rate, spread = wrong / of, _Z**2 / of
    middle = rate + spread / 2
    reach = _Z * math.sqrt(rate * (1 - rate) / of + spread / of / 4)
    low, high = (middle - reach) / (1 + spread), (middle + reach) / (1 + spread)
    return (0.0 if not wrong else low), (1.0 if wrong == of else high)
