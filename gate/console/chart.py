"""Chart: how many people were seen, by hour and class, as SVG inside a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mask_gate.gate.display.drawing import DARK, Bgr
from mask_gate.gate.display.overlay import LABEL_STYLES
from mask_gate.gate.display.texts import Texts
from mask_gate.models.labels import MaskLabel

_WIDTH, _HEIGHT = 720, 220
_LEFT, _BOTTOM, _TOP = 34, 46, 12
_BAR = 0.72  # of the width of an hour

_PATTERNS = {
    MaskLabel.WITH_MASK: "",
    MaskLabel.WITHOUT_MASK: "M0 6 L6 0",
    MaskLabel.MASK_WEARED_INCORRECT: "M3 0 V6 M0 3 H6",
}
"""Lines over the colour, so that the classes differ without it."""


def draw_chart(people: Mapping[str, Sequence[int]], texts: Texts) -> str:
    """An SVG with a bar for each of 24 hours.

    Args:
        people: by name of the class, 24 counts.
        texts: names of the classes.
    """
    labels = list(MaskLabel)
    counts = {label: people[label.name.lower()] for label in labels}
    totals = [sum(counts[label][hour] for label in labels) for hour in range(24)]
    top = _round_up(max(totals))
    summary = ", ".join(f"{texts.labels[label]} {sum(counts[label])}" for label in labels)
    title = escape(f"{texts.page['people']}: {summary}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{title}"><title>{title}</title><defs>',
        *(_pattern(label) for label in labels),
        "</defs>",
        *_axes(top),
    ]
    step = (_WIDTH - _LEFT) / 24
    high = _HEIGHT - _BOTTOM - _TOP
    for hour in range(24):
        base = float(_HEIGHT - _BOTTOM)
        for label in labels:
            tall = high * counts[label][hour] / top
            if tall:
                base -= tall
                left = _LEFT + step * (hour + (1 - _BAR) / 2)
                parts.append(
                    f'<rect x="{left:.1f}" y="{base:.1f}" width="{step * _BAR:.1f}" '
                    f'height="{tall:.1f}" fill="url(#p{label})"><title>'
                    f"{hour:02}:00 {escape(texts.labels[label])} {counts[label][hour]}"
                    "</title></rect>"
                )
    parts += _legend(texts, counts)
    return "".join(parts) + "</svg>"


def _round_up(most: int) -> int:
    """The next of 4, 8, 20, 40, 80, 200 ...: a quarter of it is a round number too."""
    power = 1
    while True:
        for factor in (4, 8, 20):
            if factor * power >= most:
                return factor * power
        power *= 10


def _pattern(label: MaskLabel) -> str:
    return (
        f'<pattern id="p{label}" width="6" height="6" patternUnits="userSpaceOnUse">'
        f'<rect width="6" height="6" fill="{_css(LABEL_STYLES[label][0])}"/>'
        f'<path d="{_PATTERNS[label]}" stroke="{_css(DARK)}" stroke-width="1" fill="none"/>'
        "</pattern>"
    )


def _axes(top: int) -> list[str]:
    high = _HEIGHT - _BOTTOM - _TOP
    parts = []
    for quarter in range(5):
        y = _HEIGHT - _BOTTOM - high * quarter / 4
        parts.append(
            f'<path class="rule" d="M{_LEFT} {y:.1f} H{_WIDTH}"/>'
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * quarter // 4}</text>'
        )
    step = (_WIDTH - _LEFT) / 24
    for hour in range(0, 24, 3):
        x = _LEFT + step * (hour + 0.5)
        y = _HEIGHT - _BOTTOM + 15
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{hour:02}</text>')
    return parts


def _legend(texts: Texts, counts: Mapping[MaskLabel, Sequence[int]]) -> list[str]:
    parts = []
    for place, label in enumerate(counts):
        x, y = _LEFT + 220 * place, _HEIGHT - 14
        parts.append(
            f'<rect x="{x}" y="{y}" width="14" height="14" fill="url(#p{label})"/>'
            f'<text x="{x + 20}" y="{y + 12}">{escape(texts.labels[label])} '
            f"{sum(counts[label])}</text>"
        )
    return parts


def _css(colour: Bgr) -> str:
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
