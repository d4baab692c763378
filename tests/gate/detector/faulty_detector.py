"""A process like the detector's, through the same serve loop, whose faults are told by the pixels.

    python faulty_detector.py MODE [ARGUMENT] DESCRIPTOR

Its answer about an honest frame is one face at a place that the first pixel names, so that an
answer about another frame is seen at once. The second pixel names what goes wrong.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from mask_gate.gate.detector.wire import MessageKind, QuestionReader, pack_answer, pack_message
from mask_gate.gate.detector.worker import serve
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError
from mask_gate.models.detections import Detections

NOBODY = 255
INTRODUCTION = (
    b'{"model_id": "sha256:liar", "engine_name": "liar by test", "operating_point": null}'
)
SIZE_HW = (200, 200)


class Fault(IntEnum):
    NONE = 0
    RAISES = 1
    SLEEPS = 2  # as many tenths of a second as the third value of the pixel says
    NAN = 3
    INFINITE = 4
    SCORE_ABOVE_1 = 5
    SCORE_BELOW_0 = 6
    CLASS_7 = 7
    CLASS_MINUS_1 = 8
    NO_AREA = 9
    OUTSIDE = 10
    OTHER_SHAPES = 11
    NO_DETECTIONS = 12
    FACES_150 = 13
    FACES_100000 = 14
    GROWS = 15  # by 100 MB
    EXITS = 16
    CRASHES = 17
    STOPS = 18
    PRINTS = 19


def frame(value, fault=Fault.NONE, tenths=0, size_hw=SIZE_HW):
    """A picture that asks for the answer `value`, or for a fault."""
    image = np.zeros((*size_hw, 3), np.uint8)
    image[0, 0, 0] = value
    image[0, 1] = fault, tenths, 0
    return Frame(image, 0.0, value)


def faces(count, value):
    box = [value, value + 1, value + 11, value + 21]
    return Detections(
        np.array([box] * count, np.float32).reshape(-1, 4),
        np.full(count, 0.9, np.float32),
        np.zeros(count, np.int64),
        np.full(count, 0.5, np.float32),
    )


def answers(found, value):
    """Whether this is the one right answer."""
    right = faces(int(value != NOBODY), value)
    return all(
        np.array_equal(getattr(found, name), getattr(right, name))
        for name in ("boxes_xyxy", "scores", "labels", "margins")
    )


class FaultyDetector:
    """Does what the pixels say, or fails at random."""

    def __init__(self, model_id="sha256:faulty", failing_share=0.0, batch_size=1, first_s=0.0):
        self.model_id = model_id
        self.engine = SimpleNamespace(name="faulty by test", operating_point=None)
        self.batch_size = batch_size
        self.call_s = 0.1 if batch_size > 1 else 0.0
        self.failing_share = failing_share
        self.dice = random.Random(0)
        self.kept = []
        self.first_s = first_s  # what the first frame of a size takes
        self.sizes = set()

    def __call__(self, asked):
        value, fault = int(asked.image[0, 0, 0]), int(asked.image[0, 1, 0])
        found = faces(int(value != NOBODY), value)
        time.sleep(self.call_s)
        if asked.image.shape not in self.sizes:
            self.sizes.add(asked.image.shape)
            time.sleep(self.first_s)
        if self.dice.random() < self.failing_share:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return self.spoil(found, Fault(fault), int(asked.image[0, 1, 1]), value)

    def run_batch(self, asked):
        """One model call for all; it tells of itself."""
        logging.getLogger("mask_gate.gate.detector.detector").warning(
            "%d frames in one call", len(asked)
        )
        time.sleep(self.call_s)
        return [ModelError("NaN") if frame.image[0, 1, 0] else self(frame) for frame in asked]

    def spoil(self, found, fault, tenths, value):
        match fault:
            case Fault.RAISES:
                raise RuntimeError("CUDA error: device-side assert triggered")
            case Fault.SLEEPS:
                time.sleep(tenths / 10)
            case Fault.NAN:
                found.boxes_xyxy[0, 2] = np.nan
            case Fault.INFINITE:
                found.boxes_xyxy[0, 2] = np.inf
            case Fault.SCORE_ABOVE_1:
                found.scores[0] = 1.5
            case Fault.SCORE_BELOW_0:
                found.margins[0] = -0.1
            case Fault.CLASS_7:
                found.labels[0] = 7
            case Fault.CLASS_MINUS_1:
                found.labels[0] = -1
            case Fault.NO_AREA:
                found.boxes_xyxy[0, 2] = found.boxes_xyxy[0, 0]
            case Fault.OUTSIDE:
                found.boxes_xyxy[0, 2] = 5000
            case Fault.OTHER_SHAPES:
                return Detections(found.boxes_xyxy, found.scores[:0], found.labels, found.margins)
            case Fault.NO_DETECTIONS:
                return None
            case Fault.FACES_150:
                return faces(150, value)
            case Fault.FACES_100000:
                return faces(100_000, value)
            case Fault.GROWS:
                self.kept.append(np.ones(100 * 2**20, np.uint8))
            case Fault.EXITS:
                sys.stderr.write("something broke: out of luck\n")
                sys.stderr.flush()
                os._exit(3)
            case Fault.CRASHES:
                os.kill(os.getpid(), signal.SIGSEGV)
            case Fault.STOPS:
                os.kill(os.getpid(), signal.SIGSTOP)
            case Fault.PRINTS:
                print("a library says hello")
                os.write(1, b"mgd1" + bytes(100))
                sys.stderr.write("and warns\n" * 20_000)
        return found


def lie(mode):
    """Speak the language of the wire without the serve loop, and answer something else."""

    def say(kind, number, payload):
        os.write(1, pack_message(kind, number, payload))

    say(MessageKind.READY, 0, INTRODUCTION)
    questions = QuestionReader(0)
    while asked := questions.read():
        number = asked[0].number
        answer = pack_answer(faces(1, 77))
        match mode:
            case "answers the frame before":
                say(MessageKind.ANSWER, number - 1, answer)
            case "answers the next frame":
                say(MessageKind.ANSWER, number + 1, answer)
            case "answers twice":
                say(MessageKind.ANSWER, number, answer)
                say(MessageKind.ANSWER, number, answer)
            case "answers half a face":
                say(MessageKind.ANSWER, number, answer[:-7])
            case "introduces itself again":
                say(MessageKind.READY, number, b"{}")
            case "babbles":
                os.write(1, random.Random(number).randbytes(1000))
            case "promises a gigabyte":
                os.write(1, b"mgd1" + bytes([2, 0, 0, 0]) + bytes(8) + b"\xff\xff\xff\x3f")
    return 0


def main(mode, *arguments):
    *arguments, descriptor = arguments

    def open_detector():
        match mode:
            case "refuses":
                raise ModelError("a.pth: damaged or not a checkpoint; copy it again")
            case "breaks":
                raise ImportError("no torch here")
            case "never gets ready":
                time.sleep(3600)
            case "fails now and then":
                return FaultyDetector(failing_share=0.1)
            case "brings":
                detector, point = FaultyDetector(), json.loads(Path(arguments[0]).read_text())
                detector.engine.operating_point = SimpleNamespace(to_plain=lambda: point)
                return detector
            case "runs them together":
                return FaultyDetector(batch_size=8)
            case "is slow at first":
                return FaultyDetector(first_s=float(arguments[0]))
            case "has the weights of":
                return FaultyDetector(Path(arguments[0]).read_text())
            case "warns":
                logging.getLogger("mask_gate.gate.detector.detector").warning(
                    "b.onnx was\nexported from another"
                )
        return FaultyDetector()

    if mode.startswith(("answers", "introduces", "babbles", "promises")):
        return lie(mode)
    return serve(open_detector, int(descriptor))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
