"""Periods: what was counted today, in a week, or in months, as bars of a chart and as rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import date
from enum import StrEnum

from mask_gate.gate.audit.tally import DayCount, last_days
from mask_gate.gate.console.chart import Bar
from mask_gate.gate.console.counts import DayCounts
from mask_gate.models.labels import CLASS_NAMES

DAYS_KEPT = 84
"""So many days are counted: twelve weeks."""

_COLUMNS = ("date", "openings", "denials", "faults", *CLASS_NAMES)


class Period(StrEnum):
    """What a chart shows."""

    TODAY = "today"
    WEEK = "week"
    MONTH = "month"
    QUARTER = "quarter"


_DAYS: Mapping[Period, int] = {
    Period.TODAY: 1,
    Period.WEEK: 7,
    Period.MONTH: 28,
    Period.QUARTER: DAYS_KEPT,
}


def bars_of(counts: DayCounts, period: Period) -> list[Bar]:
    """Hours of today, days of one week or four, or weeks."""
    if period is Period.TODAY:
        return [Bar(f"{hour:02}:00", one) for hour, one in enumerate(counts.people_by_hour())]
    days = list(last_days(_DAYS[period], counts.today))
    if period is Period.QUARTER:
        weeks = [days[start : start + 7] for start in range(0, len(days), 7)]
        return [Bar(_short(week[0]), _people(counts, week)) for week in weeks]
    return [Bar(_short(day), _people(counts, [day])) for day in days]


def counts_csv(counts: DayCounts, period: Period) -> str:
    """A row for each day."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for day in last_days(_DAYS[period], counts.today):
        writer.writerow(day_row(day, counts.day(day)))
    return file.getvalue()


def day_row(day: str, count: DayCount) -> tuple[object, ...]:
    """Date, openings, denials, faults, and people by class."""
    people = count.people()
    return (day, count.openings, count.denials, count.faults, *(people[n] for n in CLASS_NAMES))


def _people(counts: DayCounts, days: Sequence[str]) -> dict[str, int]:
    people = [counts.day(day).people() for day in days]
    return {name: sum(one[name] for one in people) for name in CLASS_NAMES}


def _short(day: str) -> str:
    """Day and month, the same in all languages."""
    return date.fromisoformat(day).strftime("%m-%d")
