"""The cheapest pairs, held against all the pairs there are."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mask_gate.gate.decision.assignment import cheapest_pairs


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 5),
    forbidden=st.floats(0, 1),
    seed=st.integers(0, 10_000),
)
def test_pairs_are_the_cheapest_of_all_there_are(rows, columns, forbidden, seed):
    rng = np.random.default_rng(seed)
    cost = rng.uniform(0, 2, (rows, columns))
    cost[rng.uniform(size=cost.shape) < forbidden] = np.inf
    pairs = cheapest_pairs(cost)
    assert len(set(pairs.values())) == len(pairs)
    assert all(np.isfinite(cost[row, column]) for row, column in pairs.items())
    alone = np.hstack([cost, np.full((rows, rows), 2.0)])  # any row may stay alone for 2
    cheapest = min(
        sum(alone[row, column] for row, column in enumerate(choice))
        for choice in permutations(range(columns + rows), rows)
    )
    paid = sum(cost[row, column] for row, column in pairs.items())
    assert paid + 2.0 * (rows - len(pairs)) == pytest.approx(cheapest)
