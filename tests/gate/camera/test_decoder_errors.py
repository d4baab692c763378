"""A process that listens to its own standard error; each test runs in one of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mask_gate.gate.camera.decoder_errors import tells_of_damage

ROOT = Path(__file__).resolve().parents[3]

HEAD = """
import os, sys
import cv2, numpy as np
from mask_gate.gate.camera.decoder_errors import DecoderErrors
answer = os.dup(1)
complaints = DecoderErrors()
def tell(heard): os.write(answer, b"heard\\n" if heard else b"nothing\\n")
rng = np.random.default_rng(3)
picture = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (320, 240))
jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
def decode(data): return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
"""


def told(program):
    """What the program heard, each time it listened."""
    ended = subprocess.run(
        [sys.executable, "-c", HEAD + program],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


def test_a_sound_picture_brings_none():
    assert told("assert decode(jpeg) is not None; tell(complaints.heard())") == ["nothing"]


def test_a_jpeg_with_a_hole_is_complained_about_once():
    program = """
    at = jpeg.index(b"\\xff\\xda") + 30
    assert decode(jpeg[:at] + jpeg[at + 3000:]) is not None
    tell(complaints.heard()); tell(complaints.heard())
    decode(jpeg); tell(complaints.heard())
    """
    assert told(program.replace("\n    ", "\n")) == ["heard", "nothing", "nothing"]


def test_whatever_decoders_say_is_damage():
    for line in [
        b"[h264 @ 0x1] error while decoding MB 33 13",
        b"[mjpeg @ 0x1] overread 8",
        b"Corrupt JPEG data: premature end of data segment",
        b"Corrupt JPEG data: 89 extraneous bytes before marker 0xd9",
        b"Corrupt JPEG data: 3 extraneous bytes before marker 0xd4",
        b"[h264 @ 0x1] SEI type 1\n[h264 @ 1] error while decoding MB 1 1\n",
        b"\xff\xfe",
    ]:
        assert tells_of_damage(line)


@pytest.mark.parametrize(
    "line",
    [
        b"Corrupt JPEG data: 3 extraneous bytes before marker 0xd9",
        b"[h264 @ 0x1] SEI type 1 size 40 truncated at 32",
        b"[rtsp @ 0x1] Non-monotonous DTS in output stream",
        b"\n \n",
        b"",
    ],
)
def test_but_for_what_many_sound_cameras_cause(line):
    assert not tells_of_damage(line)


def test_standard_output_counts_too():
    assert told("os.write(1, b'damage'); tell(complaints.heard())") == ["heard"]


def test_a_flood_is_forgotten_each_time():
    program = (
        "for _ in range(20):\n"
        "    os.write(2, b'damage ' * 20_000)\n"
        "    assert complaints.heard() and os.fstat(2).st_size == 0\n"
        "tell(complaints.heard())"
    )
    assert told(program) == ["nothing"]
