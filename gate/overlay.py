"""The overlay: what the gate sees and says, drawn over a copy of the picture.

Nothing is told by colour alone: every class and every state has its own sign and its own words.
Colours are those of Okabe and Ito, which people with colour-blindness can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from math import isfinite
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray

from gate.domain import Decision, Reason, State, Track
from models.labels import MaskLabel

Image = NDArray[np.uint8]
Bgr = tuple[int, int, int]

# Okabe and Ito, "Color Universal Design" (2008), as BGR.
GREEN: Bgr = (115, 158, 0)
VERMILLION: Bgr = (0, 94, 213)
YELLOW: Bgr = (66, 228, 240)
SKY: Bgr = (233, 180, 86)
PURPLE: Bgr = (167, 121, 204)
GREY: Bgr = (160, 160, 160)
WHITE: Bgr = (255, 255, 255)
INK: Bgr = (30, 24, 22)


class Sign(Enum):
    """Small pictures that say the same as a colour."""

    CHECK = "check"
    CROSS = "cross"
    WARNING = "warning"
    DOTS = "dots"
    RING = "ring"


@dataclass(frozen=True)
class Words:
    """Every word on the screen, so that it can be in another language (of Latin letters)."""

    labels: Mapping[MaskLabel, str]
    states: Mapping[State, str]
    reasons: Mapping[Reason, str]
    unsure: str


ENGLISH = Words(
    labels={
        MaskLabel.WITH_MASK: "Mask",
        MaskLabel.WITHOUT_MASK: "No mask",
        MaskLabel.MASK_WEARED_INCORRECT: "Worn wrong",
    },
    states={
        State.IDLE: "Ready",
        State.CHECKING: "Checking",
        State.ALLOW: "Allowed",
        State.DENY: "Denied",
        State.FAULT: "Out of order",
    },
    reasons={
        Reason.COMPLIANT: "everyone wears a mask properly",
        Reason.NO_FACE: "nobody at the door",
        Reason.TOO_SMALL: "please come closer",
        Reason.UNCERTAIN: "please look at the camera",
        Reason.NO_MASK: "please put on a mask",
        Reason.MASK_INCORRECT: "please cover nose and mouth",
        Reason.GROUP_MIXED: "everyone here needs a mask",
        Reason.COOL_DOWN: "just a moment, please",
        Reason.CAMERA_LOST: "the camera is away",
        Reason.FROZEN: "the picture stands still",
        Reason.BAD_IMAGE: "the picture cannot be used",
        Reason.MODEL_FAULT: "the detector does not answer",
        Reason.OUTPUT_FAULT: "the door control does not answer",
        Reason.AUDIT_UNAVAILABLE: "the record cannot be written",
        Reason.STARTING: "starting up",
        Reason.STOPPING: "shutting down",
    },
    unsure="Unsure",
)

_LABEL_LOOKS: Mapping[MaskLabel | None, tuple[Bgr, Sign]] = {
    MaskLabel.WITH_MASK: (GREEN, Sign.CHECK),
    MaskLabel.WITHOUT_MASK: (VERMILLION, Sign.CROSS),
    MaskLabel.MASK_WEARED_INCORRECT: (YELLOW, Sign.WARNING),
    None: (GREY, Sign.DOTS),
}
_STATE_LOOKS: Mapping[State, tuple[Bgr, Sign]] = {
    State.IDLE: (GREY, Sign.RING),
    State.CHECKING: (SKY, Sign.DOTS),
    State.ALLOW: (GREEN, Sign.CHECK),
    State.DENY: (VERMILLION, Sign.CROSS),
    State.FAULT: (PURPLE, Sign.WARNING),
}


def draw(
    image: Image, tracks: Sequence[Track], decision: Decision, words: Words = ENGLISH
) -> Image:
    """Draw boxes and banner.

    Args:
        image: [H, W, 3] uint8 BGR; it is not changed.
        tracks: in pixels of `image`; those without a finite box in it are left out.
        decision: of this picture, with the votes of each track.
        words: what to call things.

    Returns:
        [H, W, 3] uint8 BGR, a new picture of the same size.
    """
    canvas = image.copy()
    size = _Size.of(canvas)
    banner_top = canvas.shape[0] - size.banner
    for track in sorted(tracks, key=lambda t: t.box_xyxy[3]):  # the nearest is drawn last
        box = _visible_box(track, canvas)
        if box is not None:
            _draw_track(canvas, box, track, decision, words, size, banner_top)
    _draw_banner(canvas, decision, words, size, banner_top)
    return canvas


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


def _visible_box(track: Track, image: Image) -> tuple[int, int, int, int] | None:
    """The part of the box inside the picture, whole pixels; None if nothing of it is there."""
    if not all(isfinite(side) for side in track.box_xyxy):
        return None
    height, width = image.shape[:2]
    x1, y1, x2, y2 = track.box_xyxy
    left, right = (round(min(max(x, 0), width - 1)) for x in (x1, x2))
    top, bottom = (round(min(max(y, 0), height - 1)) for y in (y1, y2))
    return (left, top, right, bottom) if right > left and bottom > top else None


def _draw_track(
    canvas: Image,
    box: tuple[int, int, int, int],
    track: Track,
    decision: Decision,
    words: Words,
    size: _Size,
    banner_top: int,
) -> None:
    """One person: a box, and a tag with sign, class, votes and track id."""
    votes = decision.votes.get(track.id, {})
    label = _voted_label(track, votes)
    colour, sign = _LABEL_LOOKS[label]
    seen_now = track.last_seen_s >= decision.time_s
    _draw_box(canvas, box, colour if seen_now else _mixed(colour, GREY, 0.6), size.line)
    name = words.unsure if label is None else words.labels[label]
    counted = f"{votes.get(label, 0)}/{sum(votes.values())}" if votes and label is not None else ""
    _draw_tag(canvas, box, colour, sign, (name, counted, f"#{track.id}"), size, banner_top)


def _voted_label(track: Track, votes: Mapping[MaskLabel, int]) -> MaskLabel | None:
    """The class most often seen lately; the newest sighting where nothing was counted."""
    if any(votes.values()):
        best = max(votes.values())
        winners = [label for label, count in votes.items() if count == best]
        return winners[0] if len(winners) == 1 else None
    return track.sightings[-1].label if track.sightings else None


def _mixed(first: Bgr, second: Bgr, share: float) -> Bgr:
    """A colour between two, `share` of the second."""
    b, g, r = (round(a * (1 - share) + c * share) for a, c in zip(first, second, strict=True))
    return (b, g, r)


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
    cv2.rectangle(canvas, (x1, y1), (x2, y2), _mixed(colour, INK, 0.35), thin)
    cv2.polylines(canvas, corners, False, INK, strong + thin + 1, cv2.LINE_AA)
    cv2.polylines(canvas, corners, False, colour, strong, cv2.LINE_AA)


def _draw_tag(
    canvas: Image,
    box: tuple[int, int, int, int],
    colour: Bgr,
    sign: Sign,
    parts: tuple[str, str, str],
    size: _Size,
    banner_top: int,
) -> None:
    """A dark plate above the box (inside of it where there is no room), short on small boxes."""
    x1, y1, x2, y2 = box
    pad = max(size.text // 2, 3)
    height = round(1.75 * size.text)
    room = max(1.7 * (x2 - x1), 0.30 * canvas.shape[1]) - height - pad
    for shown in (parts, parts[1:], parts[1:2] if parts[1] else parts[2:]):
        lettering = _written("  ".join(part for part in shown if part), size.text, bold=True)
        if lettering.shape[1] <= room:
            break
    width = min(height + lettering.shape[1] + pad, canvas.shape[1])
    left = min(max(x1 - size.line, 0), canvas.shape[1] - width)
    above = y1 - height - 2 * size.line
    top = above if above >= 0 else min(y1 + 2 * size.line, y2)
    top = max(min(top, banner_top - height, canvas.shape[0] - height), 0)
    _tint(canvas, (left, top, left + width, top + height), INK, 0.78)
    _draw_sign(canvas, sign, colour, (left + height / 2, top + height / 2), 0.62 * height)
    _put(canvas, lettering, (left + height, top + (height - lettering.shape[0]) // 2), WHITE)


# ---------------------------------------------------------------------------- banner


def _draw_banner(canvas: Image, decision: Decision, words: Words, size: _Size, top: int) -> None:
    """State and reason along the lower edge, readable from some metres away."""
    height, width = canvas.shape[:2]
    colour, sign = _STATE_LOOKS[decision.state]
    _tint(canvas, (0, top, width, height), _mixed(INK, colour, 0.10), 0.80)
    _tint(canvas, (0, top, width, top + max(size.line, 2)), colour, 1.0)
    badge = min(size.banner, width)
    centre = (badge / 2, top + size.banner / 2)
    _draw_sign(canvas, sign, colour, centre, 0.62 * size.banner)
    room = max(width - badge - size.text, 1)
    title = _fitted(words.states[decision.state], size.title, room, bold=True)
    reason = _fitted(words.reasons[decision.reason], round(0.62 * size.title), room, bold=False)
    gap = round(0.02 * size.banner)
    total = title.shape[0] + gap + reason.shape[0]
    title_y = top + (size.banner - total) // 2
    _put(canvas, title, (badge, title_y), _mixed(colour, WHITE, 0.55))
    _put(canvas, reason, (badge, title_y + title.shape[0] + gap), (235, 235, 235))


def _draw_sign(
    canvas: Image, sign: Sign, colour: Bgr, centre: tuple[float, float], diameter: float
) -> None:
    """A sign on a disc (the warning on a triangle), `diameter` pixels across."""
    radius = diameter / 2
    stroke = max(round(0.13 * diameter), 1)

    def at(*points: tuple[float, float]) -> NDArray[np.int32]:
        """Points of a unit disc as pixels with four binary places."""
        placed = np.array(points) * radius + np.array(centre)
        rounded: NDArray[np.int32] = np.rint(placed * 16).astype(np.int32)
        return rounded

    def disc(point: tuple[float, float], size: float, fill: Bgr, thickness: int = -1) -> None:
        x, y = at(point)[0].tolist()
        cv2.circle(canvas, (x, y), round(size * radius * 16), fill, thickness, cv2.LINE_AA, 4)

    def strokes(*lines: NDArray[np.int32]) -> None:
        cv2.polylines(canvas, list(lines), False, WHITE, stroke, cv2.LINE_AA, 4)

    if sign is Sign.WARNING:
        cv2.fillPoly(canvas, [at((0, -0.98), (1.06, 0.88), (-1.06, 0.88))], colour, cv2.LINE_AA, 4)
        cv2.polylines(canvas, [at((0, -0.28), (0, 0.28))], False, INK, stroke, cv2.LINE_AA, 4)
        disc((0, 0.60), 0.13, INK)
        return
    if sign is Sign.RING:
        disc((0, 0), 0.85, colour, stroke)
        return
    disc((0, 0), 1.0, colour)
    if sign is Sign.CHECK:
        strokes(at((-0.45, 0.02), (-0.13, 0.36), (0.47, -0.36)))
    elif sign is Sign.CROSS:
        strokes(at((-0.36, -0.36), (0.36, 0.36)), at((-0.36, 0.36), (0.36, -0.36)))
    else:
        for x in (-0.45, 0.0, 0.45):
            disc((x, 0), 0.14, INK)


# ---------------------------------------------------------------------------- ink on pixels


def _tint(canvas: Image, box: tuple[int, int, int, int], colour: Bgr, share: float) -> None:
    """Lay a colour over a rectangle, `share` of it covering."""
    x1, y1, x2, y2 = (max(side, 0) for side in box)
    area = canvas[y1:y2, x1:x2]
    if area.size:
        plate = np.full_like(area, colour)
        canvas[y1:y2, x1:x2] = cv2.addWeighted(area, 1 - share, plate, share, 0)


@lru_cache(maxsize=2)
def _font(bold: bool) -> FT2Font:
    """DejaVu Sans, which comes with matplotlib: smooth at every size, unlike OpenCV's strokes."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return FT2Font(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name))


@lru_cache(maxsize=512)
def _written(text: str, size_px: int, *, bold: bool) -> NDArray[np.uint8]:
    """[rows, columns] cover of a line of text, 0..255; all lines of one size are as high."""
    font = _font(bold)
    font.set_size(size_px, 72)
    font.set_text(text, 0.0)
    font.draw_glyphs_to_bitmap(antialiased=True)
    glyphs = np.asarray(font.get_image())
    above, below = round(0.95 * size_px), round(0.24 * size_px)
    line = np.zeros((above + below, glyphs.shape[1]), np.uint8)
    baseline = glyphs.shape[0] - round(font.get_descent() / 64)
    first = max(above - baseline, 0)
    taken = glyphs[max(baseline - above, 0) :][: line.shape[0] - first]
    line[first : first + taken.shape[0]] = taken
    line.flags.writeable = False
    return line


def _fitted(text: str, size_px: int, room_px: int, *, bold: bool) -> NDArray[np.uint8]:
    """The text in this size, or in the largest smaller one that fits into `room_px` columns."""
    line = _written(text, size_px, bold=bold)
    if line.shape[1] <= room_px:
        return line
    return _written(text, max(int(size_px * room_px / line.shape[1]), 5), bold=bold)


def _put(canvas: Image, cover: NDArray[np.uint8], at: tuple[int, int], colour: Bgr) -> None:
    """Write a line of text with its upper left corner `at` (x, y); what is outside is cut off."""
    x, y = max(at[0], 0), max(at[1], 0)
    area = canvas[y : y + cover.shape[0], x : x + cover.shape[1]]
    share = cover[: area.shape[0], : area.shape[1], None].astype(np.float32) / 255
    area[...] = np.rint(area * (1 - share) + np.array(colour, np.float32) * share)
