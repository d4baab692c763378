"""Stages: how long each part of the way from a picture to a decision takes, one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from mask_gate.gate.camera.clip import VideoClip
from mask_gate.gate.camera.frame_check import FrameCheck
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.decision.policy import Policy
from mask_gate.gate.decision.tracker import Tracker
from mask_gate.gate.detector.engine import Engine
from mask_gate.gate.display.overlay import draw_overlay
from mask_gate.gate.display.texts import language_folders, load_texts
from mask_gate.gate.domain import Frame
from mask_gate.models.detections import Detections
from mask_gate.models.letterbox import Letterbox
from mask_gate.models.nms import MAX_CANDIDATES, suppress

MODEL = "inference"
ON_THE_WAY = ("fetch", "frame_check", "letterbox", MODEL, "suppression", "tracking", "decision")
"""What a picture goes through before the door hears of it; the rest is beside the way."""

_FPS = 15.0
_WARM_UP = 5
_SCORE = 0.1


@dataclass(slots=True)
class Times:
    """Milliseconds of one thing, measured again and again."""

    ms: list[float] = field(default_factory=list)

    def as_json(self) -> dict[str, float]:
        """Median, least and most."""
        found = {"median": np.median(self.ms), "min": min(self.ms), "max": max(self.ms)}
        return {name: round(float(value), 3) for name, value in found.items()}


class Stopwatch:
    """Times by name."""

    def __init__(self) -> None:
        self.times: dict[str, Times] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure what is done in this context."""
        began_s = time.perf_counter()
        yield
        self.times.setdefault(name, Times()).ms.append(1000 * (time.perf_counter() - began_s))


def measure_stages(
    engine: Engine, clip: VideoClip, size_hw: tuple[int, int], frames: int
) -> dict[str, dict[str, float]]:
    """Milliseconds of each stage over `frames` pictures of a clip, brought to a size.

    Args:
        engine: runs the network.
        clip: where the pictures come from; read on from where it is.
        size_hw: of the frames.
        frames: how many count.
    """
    config = GateConfig()
    frame_check, tracker, policy = (
        FrameCheck(config.quality),
        Tracker(config.tracker, engine.operating_point),
        Policy(config.policy, config.policy.votes(engine.operating_point)),
    )
    box = Letterbox(size_hw, engine.input_size, trimmed=engine.takes_trimmed)
    canvas = box.canvas()
    texts = load_texts(config.language, *language_folders(config.languages))
    watch = Stopwatch()
    for index in range(frames + _WARM_UP):
        if index == _WARM_UP:
            watch.times.clear()
        with watch("capture"):
            picture = clip.read()
        if picture is None:
            break
        given = np.asarray(cv2.resize(picture, size_hw[::-1]), np.uint8)
        with watch("fetch"):  # out of the memory that the camera's process writes
            image = given.copy()
        frame = Frame(image, index / _FPS, index)
        with watch("frame_check"):
            frame_check.inspect(frame)
        with watch("letterbox"):
            box.image(image, canvas)
        with watch(MODEL):
            predictions = engine(canvas)
        with watch("suppression"):
            found = suppress(predictions, _SCORE)
            boxes = box.inverse_boxes(found.boxes_xyxy)
            found = Detections(boxes, found.scores, found.labels, found.margins)
        with watch("tracking"):
            tracks = tracker.update(found, frame.time_s)
        with watch("decision"):
            decision = policy.decide(tracks, frame.time_s, size_hw)
        with watch("overlay"):
            shown = draw_overlay(image, tracks, decision, texts)
        with watch("encode"):
            cv2.imencode(".jpg", shown)
    return {name: times.as_json() for name, times in watch.times.items()}


def outside_the_model(stages: dict[str, dict[str, float]]) -> float:
    """What the rest of the way takes, as a share of the model's time."""
    rest = sum(stages[name]["median"] for name in ON_THE_WAY if name != MODEL)
    return rest / stages[MODEL]["median"]


def measure_suppression(runs: int) -> dict[str, float]:
    """Milliseconds for a thousand candidates that overlap little: the worst there is."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 2000, (MAX_CANDIDATES, 2))
    predictions = np.hstack(
        [
            corners,
            corners + rng.uniform(10, 40, corners.shape),
            rng.uniform(0.5, 1, (MAX_CANDIDATES, 4)),
        ]
    ).astype(np.float32)
    return repeated(lambda: suppress(predictions, _SCORE), runs)


def measure_crowds(runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of suppression and tracking together for 1, 10 and 100 faces."""
    found = {}
    for faces in (1, 10, 100):
        tracker = Tracker(GateConfig().tracker)
        left = 60.0 * np.arange(faces)
        top = np.full(faces, 50.0)
        boxes = np.stack((left, top, left + 40, top + 50), axis=1)
        rows = np.hstack([boxes, np.full((faces, 4), 0.9)]).astype(np.float32)
        now_s = iter(np.arange(1, 10_000) / _FPS)

        def look(rows: NDArray[np.float32] = rows, tracker: Tracker = tracker) -> None:
            tracker.update(suppress(rows, _SCORE), float(next(now_s)))  # noqa: B023

        found[str(faces)] = repeated(look, runs)
    return found


def repeated(call: Callable[[], object], runs: int) -> dict[str, float]:
    """Median, least and most milliseconds of a call."""
    watch = Stopwatch()
    for run in range(runs + _WARM_UP):
        if run == _WARM_UP:
            watch.times.clear()
        with watch("call"):
            call()
    return watch.times["call"].as_json()
