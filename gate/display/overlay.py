"""Overlay: what the gate sees and says, drawn over a copy of the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import cv2
import numpy as np

from mask_gate.gate.display.drawing import (
    DARK,
    GREEN,
    GREY,
    PURPLE,
    SKY,
    VERMILLION,
    WHITE,
    Bgr,
    Symbol,
    Typeface,
    draw_line,
    draw_symbol,
    mix,
    tint,
)
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Decision, Image, State, Track
from mask_gate.models.class_colours import class_bgr
from mask_gate.models.detections import Detections
from mask_gate.models.labels import MaskLabel

LABEL_STYLES: Mapping[MaskLabel | None, tuple[Bgr, Symbol]] = {
    MaskLabel.WITH_MASK: (class_bgr(MaskLabel.WITH_MASK), Symbol.CHECK),
    MaskLabel.WITHOUT_MASK: (class_bgr(MaskLabel.WITHOUT_MASK), Symbol.CROSS),
    MaskLabel.MASK_WEARED_INCORRECT: (
        class_bgr(MaskLabel.MASK_WEARED_INCORRECT),
        Symbol.WARNING,
    ),
    None: (GREY, Symbol.DOTS),
}
STATE_STYLES: Mapping[State, tuple[Bgr, Symbol]] = {
    State.IDLE: (GREY, Symbol.RING),
    State.CHECKING: (SKY, Symbol.DOTS),
    State.ALLOW: (GREEN, Symbol.CHECK),
    State.DENY: (VERMILLION, Symbol.CROSS),
    State.FAULT: (PURPLE, Symbol.WARNING),
}


def draw_overlay(image: Image, tracks: Sequence[Track], decision: Decision, texts: Texts) -> Image:
    """Draw boxes and banner.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        tracks: in pixels of `image`; those without a finite box in it are left out.
        decision: of this picture, with the votes of each track.
        texts: names of classes, states and reasons.

    Returns:
        [H, W, 3] uint8 BGR, a new picture of the same size.
    """
    canvas = image.copy()
    size = _Size.of(canvas)
    banner_top = canvas.shape[0] - size.banner
    _draw_tracks(canvas, tracks, decision, texts, banner_top)
    _draw_banner(canvas, decision, texts, size, banner_top)
    return canvas


def draw_boxes(
    image: Image,
    tracks: Sequence[Track],
    decision: Decision,
    texts: Texts,
    *,
    names_only: bool = False,
) -> Image:
    """As `draw_overlay`, without the banner: pages show state and reason beside the picture.

    Args:
        image: as in `draw_overlay`.
        tracks: as in `draw_overlay`.
        decision: as in `draw_overlay`.
        texts: as in `draw_overlay`.
        names_only: leave out votes and track ids, which tell a visitor nothing.
    """
    canvas = image.copy()
    _draw_tracks(canvas, tracks, decision, texts, canvas.shape[0], names_only=names_only)
    return canvas


def draw_detections(image: Image, detections: Detections, texts: Texts) -> Image:
    """Draw what the detector says of one picture: a box a face, with its class and its score.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        detections: in pixels of `image`.
        texts: names of the classes.

    Returns:
        [H, W, 3] uint8 BGR, a new picture of the same size.
    """
    canvas = image.copy()
    size = _Size.of(canvas)
    order = np.argsort(detections.boxes_xyxy[:, 3])  # the nearest is drawn last
    for sides, score, label in zip(
        detections.boxes_xyxy[order].tolist(),
        detections.scores[order].tolist(),
        detections.labels[order].tolist(),
        strict=True,
    ):
        if (box := _visible(sides, canvas)) is not None:
            style = LABEL_STYLES[MaskLabel(label)]
            _draw_box(canvas, box, style[0], size.line)
            parts = ("", texts.labels[MaskLabel(label)], f"{score:.2f}")
            _draw_tag(canvas, box, *style, parts, texts.typeface, size, canvas.shape[0])
    return canvas


def visible_box(track: Track, image: Image) -> tuple[int, int, int, int] | None:
    """The part of the box inside the picture, whole pixels; None if nothing of it is there."""
    return _visible(track.box_xyxy, image)


def _visible(box_xyxy: Sequence[float], image: Image) -> tuple[int, int, int, int] | None:
    if not all(isfinite(side) for side in box_xyxy):
        return None
    height, width = image.shape[:2]
    x1, y1, x2, y2 = box_xyxy
    left, right = (round(min(max(x, 0), width - 1)) for x in (x1, x2))
    top, bottom = (round(min(max(y, 0), height - 1)) for y in (y1, y2))
    return (left, top, right, bottom) if right > left and bottom > top else None


@dataclass(frozen=True)
class _Size:
    """Lengths in pixels that go with one size of picture."""

    line: int
    text: int
    title: int
    banner: int

    @classmethod
    def of(cls, image: Image) -> _Size:
        height, width = image.shape[:2]
        unit = min(height, 0.75 * width) / 480
        return cls(
            line=max(round(2 * unit), 1),
            text=max(round(15 * unit), 10),
            title=max(round(30 * unit), 13),
            banner=min(max(round(78 * unit), 34), height),
        )


# ---------------------------------------------------------------------------- boxes


def _draw_tracks(
    canvas: Image,
    tracks: Sequence[Track],
    decision: Decision,
    texts: Texts,
    bottom: int,
    *,
    names_only: bool = False,
) -> None:
    size = _Size.of(canvas)
    for track in sorted(tracks, key=lambda t: t.box_xyxy[3]):  # the nearest is drawn last
        box = visible_box(track, canvas)
        if box is not None:
            _draw_track(canvas, box, track, decision, texts, size, bottom, names_only)


def _draw_track(
    canvas: Image,
    box: tuple[int, int, int, int],
    track: Track,
    decision: Decision,
    texts: Texts,
    size: _Size,
    banner_top: int,
    names_only: bool,
) -> None:
    """One person: a box, and a tag with symbol, class, votes and track id."""
    votes = decision.votes.get(track.id, {})
    label = _voted_label(track, votes)
    colour, symbol = LABEL_STYLES[label]
    seen_now = track.last_seen_s >= decision.time_s
    _draw_box(canvas, box, colour if seen_now else mix(colour, GREY, 0.6), size.line)
    name = texts.labels[label]
    counted = f"{votes.get(label, 0)}/{sum(votes.values())}" if votes and label is not None else ""
    parts = ("", name, "") if names_only else (name, counted, f"#{track.id}")
    _draw_tag(canvas, box, colour, symbol, parts, texts.typeface, size, banner_top)


def _voted_label(track: Track, votes: Mapping[MaskLabel, int]) -> MaskLabel | None:
    """The class most often seen lately; the newest sighting where nothing was counted."""
    if any(votes.values()):
        best = max(votes.values())
        winners = [label for label, count in votes.items() if count == best]
        return winners[0] if len(winners) == 1 else None
    return track.sightings[-1].label if track.sightings else None


def _draw_box(canvas: Image, box: tuple[int, int, int, int], colour: Bgr, line: int) -> None:
    """A thin frame with strong corners, edged in ink so that it shows on any background."""
    x1, y1, x2, y2 = box
    reach = max(round(0.22 * min(x2 - x1, y2 - y1)), 2 * line)
    reach = min(reach, (x2 - x1) // 2, (y2 - y1) // 2)
    corners = [
        np.array([(x, y + dy * reach), (x, y), (x + dx * reach, y)], np.int32)
        for x, dx in ((x1, 1), (x2, -1))
        for y, dy in ((y1, 1), (y2, -1))
    ]
    thin = max(line // 2, 1)
    strong = max(min(2 * line, round(0.07 * min(x2 - x1, y2 - y1))), 1)  # small boxes stay open
    cv2.rectangle(canvas, (x1, y1), (x2, y2), mix(colour, DARK, 0.35), thin)
    cv2.polylines(canvas, corners, False, DARK, strong + thin + 1, cv2.LINE_AA)
    cv2.polylines(canvas, corners, False, colour, strong, cv2.LINE_AA)


def _draw_tag(
    canvas: Image,
    box: tuple[int, int, int, int],
    colour: Bgr,
    symbol: Symbol,
    parts: tuple[str, str, str],
    typeface: Typeface,
    size: _Size,
    banner_top: int,
) -> None:
    """A dark plate above the box (inside of it where there is no room), short on small boxes."""
    x1, y1, x2, y2 = box
    pad = max(size.text // 2, 3)
    height = round(1.75 * size.text)
    room = max(1.7 * (x2 - x1), 0.30 * canvas.shape[1]) - height - pad
    for shown in (parts, parts[1:], parts[1:2] if parts[1] else parts[2:]):
        text = "  ".join(part for part in shown if part)
        lettering = typeface.line(text, size.text, bold=True)
        if lettering.shape[1] <= room:
            break
    width = min(height + lettering.shape[1] + pad, canvas.shape[1])
    left = min(max(x1 - size.line, 0), canvas.shape[1] - width)
    above = y1 - height - 2 * size.line
    top = above if above >= 0 else min(y1 + 2 * size.line, y2)
    top = max(min(top, banner_top - height, canvas.shape[0] - height), 0)
    tint(canvas, (left, top, left + width, top + height), DARK, 0.78)
    draw_symbol(canvas, symbol, colour, (left + height / 2, top + height / 2), 0.62 * height)
    draw_line(canvas, lettering, (left + height, top + (height - lettering.shape[0]) // 2), WHITE)


# ---------------------------------------------------------------------------- banner


def _draw_banner(canvas: Image, decision: Decision, texts: Texts, size: _Size, top: int) -> None:
    """State and reason along the lower edge, readable from some metres away."""
    height, width = canvas.shape[:2]
    colour, symbol = STATE_STYLES[decision.state]
    sentences = texts.reasons if decision.state is State.FAULT else texts.advice
    tint(canvas, (0, top, width, height), mix(DARK, colour, 0.10), 0.80)
    tint(canvas, (0, top, width, top + max(size.line, 2)), colour, 1.0)
    badge = min(size.banner, width)
    centre = (badge / 2, top + size.banner / 2)
    draw_symbol(canvas, symbol, colour, centre, 0.62 * size.banner)
    room = max(width - badge - size.text, 1)
    line = texts.typeface.fitted
    title = line(texts.states[decision.state], size.title, room, bold=True)
    reason = line(sentences[decision.reason], round(0.62 * size.title), room, bold=False)
    gap = round(0.02 * size.banner)
    total = title.shape[0] + gap + reason.shape[0]
    title_y = top + (size.banner - total) // 2
    draw_line(canvas, title, (badge, title_y), mix(colour, WHITE, 0.55))
    draw_line(canvas, reason, (badge, title_y + title.shape[0] + gap), (235, 235, 235))
