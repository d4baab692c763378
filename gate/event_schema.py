"""EventSchema: what is in an event, as types, for those who read events elsewhere."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from mask_gate.gate.domain import Reason, State
from mask_gate.gate.events import MAX_TRACKS, SCHEMA
from mask_gate.models.labels import CLASS_NAMES

ClassName = Annotated[str, Field(pattern=f"^({'|'.join(CLASS_NAMES)})$")]


class _Object(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class TrackInEvent(_Object):
    """One face, followed from picture to picture."""

    id: int = Field(ge=0, description="good until the face leaves, within one run of the gate")
    label: ClassName | None = Field(description="what it looks like in this picture")
    score: float | None = Field(ge=0, le=1, description="how sure the detector is of that")
    votes: dict[ClassName, int] = Field(description="for each class, how many pictures said so")
    box: Annotated[list[float | None], Field(min_length=4, max_length=4)] = Field(
        description="left, top, right, bottom, in pixels of the camera's picture (picture_wh)"
    )


class GuardInEvent(_Object):
    """Who did something at the door by hand."""

    name: str = Field(description="given at the login of the console")
    reason: str = Field(description="in the guard's own words")


class _Event(_Object):
    schema_: Literal[1] = Field(alias="schema", description=f"version of this format: {SCHEMA}")
    ts: str = Field(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$",
        description="wall clock, UTC, when the event was made; it may be set, and decides nothing",
    )
    time_s: float | None = Field(
        description="when the event was made, in seconds since the machine booted, asleep or awake "
        "(CLOCK_BOOTTIME); never less than in the line before, as long as one gate runs"
    )
    id: str = Field(min_length=1, description="the same in audit, events and at relays")
    gate: str = Field(description="name of the door")
    state: State
    reason: Reason
    door: Literal["open", "locked"] = Field(description="what the relay was told last")
    picture_s: float | None = Field(
        description="when the newest judged picture was taken, on the clock of time_s; null: none"
    )
    picture_wh: Annotated[list[int], Field(min_length=2, max_length=2)] | None = Field(
        description="width and height of that picture in pixels"
    )
    tracks: list[TrackInEvent] = Field(max_length=MAX_TRACKS)
    faces: int = Field(ge=0, description="faces in this very picture")
    latency_ms: float | None = Field(description="from the picture to the decision")
    model: str | None = Field(description="fingerprint of the detector; null until there is one")
    slow: Literal[True] | None = Field(
        default=None, description="the detector cannot keep its rate; absent while it can"
    )
    guard: GuardInEvent | None = Field(
        default=None, description="on whose word: with let_in and locked_down; else absent"
    )


class SignalEvent(_Event):
    """The door was told to unlock or to lock."""

    type: Literal["signal"]
    signal: Literal["allow", "deny"]
    until_s: float | None = Field(
        description="the door locks by itself at this time, on the clock of time_s; null: a lock"
    )


class DecisionEvent(_Event):
    """The gate judges otherwise than before."""

    type: Literal["decision"]
    detail: str | None = Field(default=None, description="absent unless a part says more")


class FaultEvent(_Event):
    """The gate is out of order, and the door locked."""

    type: Literal["fault"]
    detail: str | None = Field(default=None, description="what is out of order, in a sentence")


EventModel = Annotated[SignalEvent | DecisionEvent | FaultEvent, Field(discriminator="type")]


def event_adapter() -> TypeAdapter[SignalEvent | DecisionEvent | FaultEvent]:
    """Reads an event, and refuses what is none."""
    return TypeAdapter(EventModel)


def event_schema() -> dict[str, object]:
    """The JSON schema of an event."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "An event of mask-gate",
        **event_adapter().json_schema(),
    }
