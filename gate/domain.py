"""What flows through the gate: Frame -> Track -> Decision -> Signal; plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from mask_gate.models.labels import MaskLabel

if TYPE_CHECKING:  # a guardian starts without numpy
    import numpy as np
    from numpy.typing import NDArray

Image: TypeAlias = "NDArray[np.uint8]"
"""One picture: [H, W, 3] uint8 BGR."""

NO_PICTURE = -1
"""Index of a frame that no camera sent."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One picture from the camera.

    Attributes:
        image: [H, W, 3] uint8 BGR; nobody downstream may write to it.
        time_s: monotonic seconds (`gate.clock`) at which the picture was taken.
        index: grows by one or more from frame to frame (a gap means frames were dropped).
    """

    image: Image
    time_s: float
    index: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """One track seen in one frame: the evidence the policy counts."""

    time_s: float
    label: MaskLabel
    score: float
    margin: float


@dataclass(frozen=True, slots=True)
class Track:
    """One person as followed from frame to frame.

    Attributes:
        id: unique for the life of the process; never reused.
        box_xyxy: last known box in frame pixels.
        sightings: recent ones, oldest first; at most one per frame.
        first_seen_s: monotonic time of its first sighting.
        last_seen_s: monotonic time of its newest sighting; older than the frame when it was missed.
    """

    id: int
    box_xyxy: tuple[float, float, float, float]
    sightings: tuple[Sighting, ...]
    first_seen_s: float
    last_seen_s: float


class State(StrEnum):
    """What the gate says to the people in front of it."""

    IDLE = "idle"
    CHECKING = "checking"
    ALLOW = "allow"
    DENY = "deny"
    FAULT = "fault"


class Reason(StrEnum):
    """Why it says so; with ALLOW go `COMPLIANT`, and `LET_IN` where a guard opened by hand."""

    COMPLIANT = "compliant"
    LET_IN = "let_in"
    NO_FACE = "no_face"
    TOO_SMALL = "too_small"
    UNCERTAIN = "uncertain"
    NO_MASK = "no_mask"
    MASK_INCORRECT = "mask_incorrect"
    GROUP_MIXED = "group_mixed"
    COOL_DOWN = "cool_down"
    LOCKED_DOWN = "locked_down"
    CAMERA_LOST = "camera_lost"
    FROZEN = "frozen"
    BAD_IMAGE = "bad_image"
    MODEL_FAULT = "model_fault"
    OUTPUT_FAULT = "output_fault"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    STARTING = "starting"
    STOPPING = "stopping"


DENIALS = frozenset({Reason.NO_MASK, Reason.MASK_INCORRECT, Reason.GROUP_MIXED})
"""Reasons that turn a person away; other locks only end an opening."""

FAULTS = frozenset(
    {
        Reason.CAMERA_LOST,
        Reason.FROZEN,
        Reason.BAD_IMAGE,
        Reason.MODEL_FAULT,
        Reason.OUTPUT_FAULT,
        Reason.AUDIT_UNAVAILABLE,
    }
)
"""Reasons for which the gate is out of order."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy makes of one frame.

    Attributes:
        time_s: monotonic time of the frame it was made from.
        until_s: with ALLOW, the monotonic time at which permission ends by itself; else None.
        votes: per track id, sightings per class in the evidence window, for overlay and events.
    """

    state: State
    reason: Reason
    time_s: float
    until_s: float | None = None
    votes: dict[int, dict[MaskLabel, int]] = field(default_factory=dict)


def door_state(is_open: bool) -> str:
    """`open` or `locked`, as events, MQTT and the console say it."""
    return "open" if is_open else "locked"


class SignalKind(StrEnum):
    """The decision that a signal carries; hooks get its value as their last argument."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Signal:
    """One edge at the door, or one denial told to the outputs.

    Attributes:
        kind: ALLOW unlocks until `until_s`; DENY locks, whatever was before.
        time_s: monotonic time of the edge.
        until_s: with ALLOW, when the output must have locked again by itself; else None.
        id: unique per signal, the same in events, hooks and audit.
    """

    kind: SignalKind
    reason: Reason
    time_s: float
    id: str
    until_s: float | None = None
    track_ids: tuple[int, ...] = ()
