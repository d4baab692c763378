"""Wire: the messages from the gate to the process that serves the console.

They go one way only. What comes back are lines of a few words, see `gate.console.server`, and among
them the orders of guards, which the gate judges by rules of its own.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mask_gate.gate.console.config import ConsoleConfig, Timeouts
from mask_gate.gate.display.aim import AimLimits
from mask_gate.gate.display.config import PrivacyConfig
from mask_gate.gate.domain import Decision, Image, Reason, Sighting, State, Track
from mask_gate.gate.events import MAX_TRACKS, Scene
from mask_gate.models.labels import MaskLabel

MAX_BYTES = 64 * 1024 * 1024

_HEADER = struct.Struct("<BI")  # kind, length of what follows
_LENGTH = struct.Struct("<I")


class MessageKind(IntEnum):
    """What a message is; events, pictures and audits name their door by number."""

    SETTINGS = 1
    EVENT = 2
    STATUS = 3
    PICTURE = 4
    AUDIT = 5
    ANSWER = 6


class DoorSettings(BaseModel):
    """What the console's process needs to know of a door.

    Attributes:
        gate: what it is called in events, audit and topics.
        config: of the door, without secrets, as pages show it.
        aim: what its camera is to be aimed at.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    config: object
    aim: AimLimits


class ServerSettings(BaseModel):
    """What the console's process needs to know; the first message.

    Attributes:
        gate: name of the whole gate.
        language: of pages, until another is asked for.
        languages: folder with further ones.
        console: how it is served.
        privacy: for whom faces are blurred.
        doors: by name; the only door of a gate has an empty one.
        password: of the guard, where there is no file with one.
        gate_pid: process id of the gate, by which the audit tells its runs apart.
        timeouts: how long browsers are waited for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    gate: str
    language: str
    languages: str | None = None
    console: ConsoleConfig
    privacy: PrivacyConfig
    doors: dict[str, DoorSettings]
    password: str | None
    gate_pid: int = Field(default_factory=os.getpid)
    timeouts: Timeouts = Timeouts()


@dataclass(frozen=True, slots=True)
class DoorPicture:
    """A picture of a door, with what was seen in it.

    Attributes:
        door: its number.
        image: [H, W, 3] uint8 BGR.
        height_px: of the picture as the camera sent it.
        tracks: in pixels of `image`.
        decision: made from this picture.
    """

    door: int
    image: Image
    height_px: int
    tracks: tuple[Track, ...]
    decision: Decision


def pack(kind: MessageKind, value: object) -> bytes:
    """A message with a JSON value."""
    body = json.dumps(value).encode()
    return _HEADER.pack(kind, len(body)) + body


def pack_picture(door: int, image: Image, scene: Scene, scale: float) -> tuple[bytes, memoryview]:
    """A picture message, in two parts to be written one after the other.

    Args:
        door: its number.
        image: [H, W, 3] uint8 BGR, contiguous.
        scene: what was seen in the frame.
        scale: pixels of `image` per pixel of that frame.
    """
    decision = scene.decision
    tracks = scene.tracks[:MAX_TRACKS]
    about = {
        "door": door,
        "size": image.shape[:2],
        "height_px": round(image.shape[0] / scale),
        "state": decision.state,
        "reason": decision.reason,
        "time_s": decision.time_s,
        "tracks": [
            {
                "id": track.id,
                "box": [side * scale for side in track.box_xyxy],
                "label": int(track.sightings[-1].label) if track.sightings else None,
                "seen_s": track.last_seen_s,
                "votes": {int(k): n for k, n in decision.votes.get(track.id, {}).items()},
            }
            for track in tracks
        ],
    }
    body = json.dumps(about).encode()
    pixels = image.data.cast("B")
    length = _LENGTH.size + len(body) + len(pixels)
    return _HEADER.pack(MessageKind.PICTURE, length) + _LENGTH.pack(len(body)) + body, pixels


def unpack_picture(body: bytes) -> DoorPicture:
    """The picture of a message."""
    (length,) = _LENGTH.unpack_from(body)
    about = json.loads(body[_LENGTH.size : _LENGTH.size + length])
    height, width = about["size"]
    pixels = np.frombuffer(body, np.uint8, offset=_LENGTH.size + length)
    tracks, votes = [], {}
    for track in about["tracks"]:
        x1, y1, x2, y2 = track["box"]
        seen_s = track["seen_s"]
        sightings = (
            ()
            if track["label"] is None
            else (Sighting(seen_s, MaskLabel(track["label"]), score=0.0, margin=0.0),)
        )
        tracks.append(Track(track["id"], (x1, y1, x2, y2), sightings, seen_s, seen_s))
        votes[track["id"]] = {MaskLabel(int(label)): n for label, n in track["votes"].items()}
    decision = Decision(
        State(about["state"]), Reason(about["reason"]), about["time_s"], votes=votes
    )
    image = pixels.reshape(height, width, 3)
    return DoorPicture(about["door"], image, about["height_px"], tuple(tracks), decision)


def messages(pipe: BinaryIO) -> Iterator[tuple[MessageKind, bytes]]:
    """The messages of a pipe, until it ends or what comes is no message."""
    while len(header := pipe.read(_HEADER.size)) == _HEADER.size:
        kind, length = _HEADER.unpack(header)
        if length > MAX_BYTES:
            return
        body = pipe.read(length)
        if len(body) < length:
            return
        yield MessageKind(kind), body
