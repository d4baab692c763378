"""NotifyConfig: what gate.yaml may say of messages to people."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mask_gate.models.section import Section

Happening = Literal["fault", "recovery", "denial", "opening"]


class NotifyConfig(Section):
    """Who is told what, and how often."""

    urls_file: str = Field(
        min_length=1, description="file with one address of a service a line, closed to others"
    )
    events: tuple[Happening, ...] = Field(
        default=("fault", "recovery"), min_length=1, description="what is told"
    )
    fault_s: float = Field(
        default=10.0, ge=0, le=3600, description="a fault that is over sooner is not told"
    )
    pause_s: float = Field(
        default=60.0, ge=1, le=86400, description="least time from one message to the next"
    )
