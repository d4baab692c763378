"""Aim: shows whoever puts a camera up what it sees and what to change; no door is touched."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.display.aim import AimReport, Box, aim_report, draw_aim
from mask_gate.gate.display.texts import Texts, language_folders, load_texts
from mask_gate.gate.display.window import Window
from mask_gate.gate.domain import Frame
from mask_gate.gate.errors import ModelError, OutputError
from mask_gate.gate.runtime.parts import REAL_PARTS, Detector, Parts, aim_limits
from mask_gate.gate.runtime.run_mode import RunMode

LINE_S = 1.0
"""From one report on the terminal to the next."""


def aim(
    config: GateConfig,
    *,
    headless: bool,
    once: bool = False,
    seconds: float | None,
    say: Callable[[str], None],
    parts: Parts = REAL_PARTS,
    clock: Clock = uptime_s,
) -> int:
    """Look through the camera of one door until the window is closed, or the clip is over.

    Args:
        config: of the door.
        headless: open no window.
        once: end the demo after a round.
        seconds: end after so many, once camera and detector are opened.
        say: takes a report, a line each.
        parts: opens camera and detector.
        clock: monotonic seconds.

    Raises:
        GateError: camera or model cannot be had.
    """
    mode = RunMode(headless=headless, dry=True, once=once)
    limits = aim_limits(config)
    texts = load_texts(config.language, *language_folders(config.languages))
    with contextlib.ExitStack() as stack:
        camera = stack.enter_context(parts.open_source(config, mode))
        detector = stack.enter_context(parts.open_detector(config, mode))
        least, _ = config.tracker.scores(detector.operating_point)
        window = None if headless else _window(stack, say)
        end_s = clock() + seconds if seconds is not None else float("inf")
        said_s = -float("inf")
        while clock() < end_s and not camera.ended and not (window and window.quit_asked):
            frame = camera.read(LINE_S)
            if frame is None:
                continue
            try:
                faces = _faces(detector, frame, least)
            except ModelError as error:  # such as one answer that came too late
                say(str(error))
                continue
            report = aim_report(frame.image, faces, limits)
            if window is not None:
                window.show(draw_aim(frame.image, limits, report, texts))
            if clock() - said_s >= LINE_S:
                said_s = clock()
                say(_line(frame, report, texts))
    return 0


def _window(stack: contextlib.ExitStack, say: Callable[[str], None]) -> Window | None:
    try:
        return stack.enter_context(contextlib.closing(Window("mask-gate --aim")))
    except OutputError as error:
        say(f"{error}; going on without")
        return None


def _faces(detector: Detector, frame: Frame, least: float) -> list[Box]:
    """Boxes of the faces whose score is enough to begin a track."""
    found = detector(frame)
    boxes = found.boxes_xyxy[found.scores >= least].tolist()
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes]


def _line(frame: Frame, report: AimReport, texts: Texts) -> str:
    height, width = frame.image.shape[:2]
    facts = "; ".join(report.facts_in(texts))
    advice = "; ".join(report.advice_in(texts)) or texts.aim["well"]
    return f"{width} x {height}; {facts} -> {advice}"
