"""Zone: the polygon of the picture in which a face counts."""

from __future__ import annotations

from collections.abc import Sequence

Point = tuple[float, float]
"""x and y, in fractions of the picture."""


def contains(polygon: Sequence[Point], point: Point) -> bool:
    """Whether a point is inside a polygon or on its edge (even-odd rule for crossing outlines)."""
    x, y = point
    inside = False
    for (x1, y1), (x2, y2) in zip(polygon, (*polygon[1:], polygon[0]), strict=True):
        side = (x2 - x1) * (y - y1) - (y2 - y1) * (x - x1)
        on_line = side == 0.0 and min(x1, x2) <= x <= max(x1, x2)
        if on_line and min(y1, y2) <= y <= max(y1, y2):
            return True
        if (y1 > y) != (y2 > y) and (side > 0) == (y2 > y1):
            inside = not inside  # a ray to the right crosses this edge
    return inside


def area(polygon: Sequence[Point]) -> float:
    """Area of a polygon without crossings, as a fraction of the picture."""
    edges = zip(polygon, (*polygon[1:], polygon[0]), strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in edges)) / 2
