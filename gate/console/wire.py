"""The console's wire: what the gate tells the process that serves the console, message by message.

One way only: nothing that comes back is ever more than a word (`gate.console.process` has them).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

import numpy as np

from mask_gate.gate.domain import Decision, Image, Reason, Sighting, State, Track
from mask_gate.gate.events import MAX_TRACKS, Scene
from mask_gate.models.labels import MaskLabel

MAX_BYTES = 64 * 1024 * 1024

_HEADER = struct.Struct("<BI")  # kind, length of what follows
_LENGTH = struct.Struct("<I")


class Kind(IntEnum):
    """What a message is; all but the first and the status of all doors name the door by number."""

    HELLO = 1
    EVENT = 2
    STATUS = 3
    PICTURE = 4
    RECORD = 5


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture with what was seen in it.

    Attributes:
        door: its number.
        image: [H, W, 3] uint8 BGR.
    """

    door: int
    image: Image
    tracks: tuple[Track, ...]
    decision: Decision


def pack(kind: Kind, value: object) -> bytes:
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
    return _HEADER.pack(Kind.PICTURE, length) + _LENGTH.pack(len(body)) + body, pixels


def unpack_picture(body: bytes) -> Shot:
    """The picture of a message."""
    (length,) = _LENGTH.unpack_from(body)
    about = json.loads(body[_LENGTH.size : _LENGTH.size + length])
    height, width = about["size"]
    pixels = np.frombuffer(body, np.uint8, offset=_LENGTH.size + length)
    tracks, votes = [], {}
    for told in about["tracks"]:
        x1, y1, x2, y2 = told["box"]
        seen_s = told["seen_s"]
        sightings = (
            ()
            if told["label"] is None
            else (Sighting(seen_s, MaskLabel(told["label"]), score=0.0, margin=0.0),)
        )
        tracks.append(Track(told["id"], (x1, y1, x2, y2), sightings, seen_s, seen_s))
        votes[told["id"]] = {MaskLabel(int(label)): n for label, n in told["votes"].items()}
    decision = Decision(
        State(about["state"]), Reason(about["reason"]), about["time_s"], votes=votes
    )
    return Shot(about["door"], pixels.reshape(height, width, 3), tuple(tracks), decision)


def messages(pipe: BinaryIO) -> Iterator[tuple[Kind, bytes]]:
    """Messages until the pipe ends, or says what is none."""
    while len(header := pipe.read(_HEADER.size)) == _HEADER.size:
        kind, length = _HEADER.unpack(header)
        if length > MAX_BYTES:
            return
        body = pipe.read(length)
        if len(body) < length:
            return
        yield Kind(kind), body
