"""Chart: how many people were seen, by class and hour, day or week, as SVG inside a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mask_gate.gate.display.drawing import DARK, Bgr
from mask_gate.gate.display.overlay import LABEL_STYLES
from mask_gate.gate.display.texts import Texts
from mask_gate.models.labels import MaskLabel

NARROWEST_PX, WIDEST_PX = 280, 1400
WIDTH_PX = 720

_PLOT_PX, _TOP_PX, _LEFT_PX, _RIGHT_PX = 160, 14, 40, 14
_LINE_PX = 24  # of the legend
_LABEL_PX = 52  # room for what stands below a bar
_LEGEND_PX = 210
_BAR = 0.72  # of the room for one

_PATTERNS = {
    MaskLabel.WITH_MASK: "",
    MaskLabel.WITHOUT_MASK: "M0 6 L6 0",
    MaskLabel.MASK_WEARED_INCORRECT: "M3 0 V6 M0 3 H6",
}
"""Lines over the colour, so that the classes differ without it."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar.

    Attributes:
        label: stands below it.
        people: how many were seen, by name of the class.
    """

    label: str
    people: Mapping[str, int]


def draw_chart(bars: Sequence[Bar], heading: str, texts: Texts, width_px: int = WIDTH_PX) -> str:
    """An SVG with a bar for each hour, day or week, drawn for the width at which it is shown.

    Args:
        bars: from left to right.
        heading: what is counted.
        texts: names of the classes.
        width_px: of the SVG, in pixels of the page; letters are as large as its other letters.
    """
    sheet = _Sheet(len(bars), width_px)
    labels = list(MaskLabel)
    totals = {label: sum(_count(bar, label) for bar in bars) for label in labels}
    top = _round_up(max((sum(bar.people.values()) for bar in bars), default=0))
    summary = ", ".join(f"{texts.labels[label]} {totals[label]}" for label in labels)
    title = escape(f"{heading}: {summary}")
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width_px} {sheet.height}" '
        f'role="img" aria-label="{title}"><title>{title}</title><defs>',
        *(_pattern(label) for label in labels),
        "</defs>",
        *sheet.axes(top, [bar.label for bar in bars]),
    ]
    for number, bar in enumerate(bars):
        base = float(_TOP_PX + _PLOT_PX)
        for label in labels:
            count = _count(bar, label)
            tall = _PLOT_PX * count / top
            if count:
                base -= tall
                parts.append(
                    f'<rect x="{sheet.left(number):.1f}" y="{base:.1f}" '
                    f'width="{sheet.step * _BAR:.1f}" height="{tall:.1f}" fill="url(#p{label})">'
                    f"<title>{escape(bar.label)} {escape(texts.labels[label])} {count}</title>"
                    "</rect>"
                )
    parts += sheet.legend([(label, f"{texts.labels[label]} {totals[label]}") for label in labels])
    return "".join(parts) + "</svg>"


class _Sheet:
    """Where things stand on a sheet of one width."""

    def __init__(self, bars: int, width_px: int) -> None:
        self._width = width_px
        self.step = (width_px - _LEFT_PX - _RIGHT_PX) / max(bars, 1)
        self._columns = max((width_px - _LEFT_PX) // _LEGEND_PX, 1)
        self._legend_top = _TOP_PX + _PLOT_PX + 34
        lines = math.ceil(len(MaskLabel) / self._columns)
        self.height = self._legend_top + lines * _LINE_PX

    def left(self, number: int) -> float:
        return _LEFT_PX + self.step * (number + (1 - _BAR) / 2)

    def axes(self, top: int, labels: Sequence[str]) -> list[str]:
        parts = []
        for quarter in range(5):
            y = _TOP_PX + _PLOT_PX * (1 - quarter / 4)
            parts.append(
                f'<path class="rule" d="M{_LEFT_PX} {y:.1f} H{self._width}"/><text '
                f'x="{_LEFT_PX - 6}" y="{y + 4:.1f}" text-anchor="end">{top * quarter // 4}</text>'
            )
        every = math.ceil(_LABEL_PX / self.step)
        for number in range(0, len(labels), every):
            x = _LEFT_PX + self.step * (number + 0.5)
            parts.append(
                f'<text x="{x:.1f}" y="{_TOP_PX + _PLOT_PX + 18}" text-anchor="middle">'
                f"{escape(labels[number])}</text>"
            )
        return parts

    def legend(self, lines: Sequence[tuple[MaskLabel, str]]) -> list[str]:
        parts = []
        for number, (label, text) in enumerate(lines):
            row, column = divmod(number, self._columns)
            x, y = _LEFT_PX + _LEGEND_PX * column, self._legend_top + _LINE_PX * row
            parts.append(
                f'<rect x="{x}" y="{y}" width="14" height="14" fill="url(#p{label})"/>'
                f'<text x="{x + 20}" y="{y + 12}">{escape(text)}</text>'
            )
        return parts


def _count(bar: Bar, label: MaskLabel) -> int:
    return bar.people[label.name.lower()]


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


def _css(colour: Bgr) -> str:
    blue, green, red = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
