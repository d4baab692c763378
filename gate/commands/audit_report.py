"""Report: what the audit tells of some days, as a table, as CSV, or as a page with charts."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from mask_gate.gate.audit.tally import HOURS, Tally
from mask_gate.gate.console.chart import Bar, draw_chart
from mask_gate.gate.console.periods import day_row
from mask_gate.gate.display.texts import Texts
from mask_gate.gate.domain import Reason
from mask_gate.models.labels import CLASS_NAMES

_STYLE = """\
:root { color-scheme: light dark; --ink: #16181e; --paper: #fff; --line: #d8d8d4; }
@media (prefers-color-scheme: dark) { :root { --ink: #ecebe6; --paper: #14161b; --line: #3a3e48; } }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
  background: var(--paper); font: 16px/1.4 system-ui, "DejaVu Sans", "Noto Sans", sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
svg { width: 100%; } svg text { font-size: 13px; fill: var(--ink); } .rule { stroke: var(--line); }
.scroll { overflow-x: auto; } table { border-collapse: collapse; width: 100%; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; } tr:last-child td { font-weight: 700; }
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported.

    Attributes:
        gate: name of the door.
        days: from the first to the last, as `2026-05-01`.
        tally: what was counted.
        tip: the last row that was read, so that anybody can see which record this is about.
        texts: in the language of the report.
    """

    gate: str
    days: Sequence[str]
    tally: Tally
    tip: str
    texts: Texts

    def rows(self) -> list[tuple[object, ...]]:
        """Date, openings, denials, faults and people by class, of each day."""
        return [day_row(day, self.tally.day(day)) for day in self.days]

    def headings(self) -> list[str]:
        """Of the columns of `rows`."""
        page, labels = self.texts.page, self.texts.labels
        named = [labels[label] for label in labels if label is not None]
        return [page["date"], page["all_openings"], page["all_denials"], page["faults"], *named]

    def totals(self) -> list[object]:
        """The sums of the columns of `rows`."""
        columns = list(zip(*self.rows(), strict=True))[1:]
        return [self.texts.page["total"], *(sum(map(_number, column)) for column in columns)]

    def reasons(self) -> list[tuple[str, int]]:
        """Why the door stayed shut, and how often, what was most often first."""
        counts: Counter[Reason] = Counter()
        for day in self.days:
            counts.update(self.tally.day(day).reasons)
        return [(self.texts.reasons[reason], count) for reason, count in counts.most_common()]


def as_table(report: Report) -> str:
    """Lines for a terminal."""
    lines = [report.headings(), *report.rows(), report.totals()]
    text = _aligned([[str(cell) for cell in line] for line in lines])
    reasons = _aligned([[why, str(count)] for why, count in report.reasons()])
    return text + (f"\n{reasons}" if reasons else "")


def as_csv(report: Report) -> str:
    """For a spreadsheet: names that are the same in every language, and a row for each day."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(("date", "openings", "denials", "faults", *CLASS_NAMES))
    writer.writerows(report.rows())
    return file.getvalue()


def as_page(report: Report) -> str:
    """A page that needs nothing else, to be printed or sent."""
    texts, page, tally = report.texts, report.texts.page, report.tally
    by_day = [Bar(day[5:], tally.day(day).people()) for day in report.days]
    by_hour = [Bar(f"{hour:02}:00", _people_at(report, hour)) for hour in HOURS]
    heading = page["people_seen"]
    title = escape(f"{report.gate}: {report.days[0]} – {report.days[-1]}")
    parts = [
        f'<!doctype html>\n<html lang="{texts.code}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><h1>{title}</h1>",
        f"<h2>{escape(heading)}</h2>{draw_chart(by_day, heading, texts)}",
        f"<h2>{escape(page['by_hour'])}</h2>{draw_chart(by_hour, page['by_hour'], texts)}",
        f"<h2>{escape(page['by_day'])}</h2>",
        _html_table(report.headings(), [*report.rows(), report.totals()]),
    ]
    if reasons := report.reasons():
        parts.append(f"<h2>{escape(page['reason'])}</h2>{_html_table((), reasons)}")
    return "".join(parts) + f"<p><small>{escape(report.tip)}</small></p></body></html>\n"


def _people_at(report: Report, hour: int) -> dict[str, int]:
    found = [report.tally.day(day).people([hour]) for day in report.days]
    return {name: sum(one[name] for one in found) for name in CLASS_NAMES}


def _html_table(headings: Iterable[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in headings)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>{body}</table></div>'


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns below each other, numbers to the right; letters of Korea are two columns wide."""
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    text = ""
    for line in lines:
        first, *rest = zip(line, widths, strict=True)
        cells = [_padded(*first, to_left=True), *(_padded(*each) for each in rest)]
        text += "  ".join(cells).rstrip() + "\n"
    return text


def _padded(text: str, width: int, *, to_left: bool = False) -> str:
    space = " " * (width - _width(text))
    return text + space if to_left else space + text


def _width(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
