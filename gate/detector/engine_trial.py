"""A trial, in a process of its own: how long one engine takes for one picture on this machine.

`python -m mask_gate.gate.detector.engine_trial WEIGHTS ENGINE` prints the median in milliseconds.
What it has loaded goes with the process, and a library that crashes takes nothing else along.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engines import open_engine
from mask_gate.gate.errors import GateError

_WARM_UP, _RUNS = 5, 25


def main(argv: Sequence[str]) -> int:
    """Measure the engine of that name; returns the exit code."""
    weights, kind = argv
    try:
        engine, _ = open_engine(Path(weights), "cpu", EngineKind(kind))
    except GateError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    rng = np.random.default_rng(0)
    square = rng.integers(0, 256, (engine.input_size, engine.input_size, 3), np.uint8)
    sys.stdout.write(f"{_median_ms(lambda: engine(square))}\n")
    return 0


def _median_ms(call: Callable[[], object]) -> float:
    """The median of some calls in milliseconds, after a few that do not count."""
    times = []
    for run in range(_WARM_UP + _RUNS):
        began_s = time.perf_counter()
        call()
        if run >= _WARM_UP:
            times.append(1000 * (time.perf_counter() - began_s))
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
