"""InputSize: how large the network's pictures may be for a machine to keep up with its cameras."""

from __future__ import annotations

import logging
from collections.abc import Sequence

log = logging.getLogger(__name__)

FPS = 15.0
"""Pictures a second of each camera that are to be judged."""

_CALLS_A_PICTURE = 0.75 + 4.0 / FPS
"""In calls for a square: a camera's 4:3 picture, and four second looks a second."""


def fitting_size(sizes: Sequence[int], square_ms: float | None, cameras: int) -> int:
    """The largest input size at which all cameras can be judged `FPS` times a second.

    The time of a picture grows with its pixels (docs/benchmarks.md).

    Args:
        sizes: to choose from, the largest first.
        square_ms: measured for a square of the first size; None: not known, so the first is taken.
        cameras: how many there are.

    Returns:
        One of `sizes`; the smallest where none will do.
    """
    if square_ms is None:
        return sizes[0]
    budget_ms = 1000 / FPS / cameras / _CALLS_A_PICTURE
    fits = (size for size in sizes if square_ms * (size / sizes[0]) ** 2 <= budget_ms)
    size = next(fits, sizes[-1])
    if size < sizes[0]:
        log.warning(
            "the network looks at pictures of %d px: at %d px one takes %.0f ms, too long for %g "
            "a second of each camera; detector.input_size in gate.yaml says otherwise",
            size,
            sizes[0],
            square_ms,
            FPS,
        )
    return size
