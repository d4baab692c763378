"""Wire: what goes in comes out; what is cut off or too large ends it."""

import io
import json

import numpy as np
import pytest

from mask_gate.gate.console.wire import (
    MAX_BYTES,
    MessageKind,
    messages,
    pack,
    pack_picture,
    unpack_picture,
)
from mask_gate.gate.domain import Decision, Reason, Sighting, State, Track
from mask_gate.gate.events import Scene
from mask_gate.models.labels import MaskLabel

IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
FACE = Track(7, (2.0, 2.0, 8.0, 8.0), (Sighting(5.0, MaskLabel.WITHOUT_MASK, 0.9, 0.8),), 1.0, 5.0)
SCENE = Scene(
    Decision(State.DENY, Reason.NO_MASK, 5.0, votes={7: {MaskLabel.WITHOUT_MASK: 3}}), (FACE,)
)


def test_messages_come_out_as_they_went_in():
    pipe = io.BytesIO(pack(MessageKind.EVENT, {"a": "ü"}) + pack(MessageKind.STATUS, []))
    assert [(kind, json.loads(body)) for kind, body in messages(pipe)] == [
        (MessageKind.EVENT, {"a": "ü"}),
        (MessageKind.STATUS, []),
    ]


def test_a_picture_comes_out_with_its_faces_in_its_own_pixels():
    data = b"".join(pack_picture(3, IMAGE, SCENE, scale=0.5))
    ((kind, body),) = messages(io.BytesIO(data))
    picture = unpack_picture(body)
    assert kind is MessageKind.PICTURE
    assert picture.door == 3
    assert (picture.image == IMAGE).all()
    assert picture.tracks[0].box_xyxy == (1.0, 1.0, 4.0, 4.0)
    assert picture.tracks[0].sightings[-1].label is MaskLabel.WITHOUT_MASK
    assert picture.decision.votes == SCENE.decision.votes
    assert picture.decision.state is State.DENY


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 9])
def test_what_is_cut_off_is_the_end(cut):
    assert list(messages(io.BytesIO(pack(MessageKind.EVENT, [1, 2])[:cut]))) == []


def test_what_is_too_large_is_the_end():
    header = bytes([MessageKind.EVENT]) + (MAX_BYTES + 1).to_bytes(4, "little")
    assert list(messages(io.BytesIO(header))) == []
