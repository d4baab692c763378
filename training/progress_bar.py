"""Progress of long work: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")

LOG_EVERY_S = 30.0
"""In a log file a line now and then tells that the work goes on; short work writes none."""


def progress(
    items: Iterable[T], doing: str, unit: str, total: int | None = None, keep: bool = False
) -> Iterable[T]:
    """The items, one after another, while standard error tells how far it is.

    Args:
        items: what is worked on.
        doing: such as "reading".
        unit: what one item is called.
        total: how many there are, where `items` does not know.
        keep: leave the full bar on the terminal.
    """
    seen = sys.stderr.isatty()
    bar: Iterable[T] = tqdm(
        items,
        doing,
        total,
        unit=unit,
        leave=keep or not seen,
        mininterval=0.1 if seen else LOG_EVERY_S,
        delay=0.0 if seen else LOG_EVERY_S,
    )
    return bar
