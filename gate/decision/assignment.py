"""Assignment: which detection continues which face, at the least total cost."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_UNMATCHED_COST = 2.0  # the worst allowed pair costs as much as leaving one of the two alone


def cheapest_pairs(cost: NDArray[np.float64]) -> dict[int, int]:
    """Row -> column with the least total cost; inf forbids a pair, a row may stay alone.

    The Hungarian method by shortest augmenting paths (Jonker and Volgenant 1987), exact. Each row
    has a column of its own that means "nobody", so a solution always exists.
    """
    rows, columns = cost.shape
    nobody = np.full((rows, rows), np.inf)
    np.fill_diagonal(nobody, _UNMATCHED_COST)
    cost = np.hstack([cost, nobody])
    row_of = np.full(columns + rows, -1)
    row_price, column_price = np.zeros(rows), np.zeros(columns + rows)
    for start in range(rows):
        distance = np.full(columns + rows, np.inf)
        came_from = np.full(columns + rows, -1)
        settled = np.zeros(columns + rows, dtype=bool)
        row, column, walked = start, -1, 0.0
        while row >= 0:  # until the path ends in a free column
            if column >= 0:
                settled[column] = True
            step = walked + cost[row] - row_price[row] - column_price
            better = ~settled & (step < distance)
            distance[better], came_from[better] = step[better], column
            column = int(np.argmin(np.where(settled, np.inf, distance)))
            walked, row = float(distance[column]), int(row_of[column])
        done = np.flatnonzero(settled)
        row_price[start] += walked
        row_price[row_of[done]] += walked - distance[done]
        column_price[done] -= walked - distance[done]
        while column >= 0:  # hand each column on the path to the row before it
            before = int(came_from[column])
            row_of[column] = start if before < 0 else row_of[before]
            column = before
    return {int(row_of[column]): column for column in range(columns) if row_of[column] >= 0}
