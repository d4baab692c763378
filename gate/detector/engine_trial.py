"""A trial: how long one engine takes for one picture here, measured in a process of its own.

`python -m mask_gate.gate.detector.engine_trial WEIGHTS ENGINE` prints the median in milliseconds.
What it has loaded goes with the process, and a library that crashes takes nothing else along.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.system.processes import module_command, module_environment

LIMIT_S = 60.0
_WARM_UP, _RUNS = 5, 25


def main(argv: Sequence[str]) -> int:
    """Measure the engine of that name; returns the exit code."""
    from mask_gate.gate.detector.detector import open_engine
    from mask_gate.gate.errors import GateError

    weights, kind = argv
    try:
        engine, _ = open_engine(Path(weights), "cpu", EngineKind(kind))
    except GateError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    rng = np.random.default_rng(0)
    square = rng.integers(0, 256, (engine.input_size, engine.input_size, 3), np.uint8)
    sys.stdout.write(f"{median_ms(lambda: engine(square))}\n")
    return 0


def median_ms(call: Callable[[], object], runs: int = _RUNS) -> float:
    """The median of `runs` calls in milliseconds, after some that do not count."""
    times = []
    for run in range(_WARM_UP + runs):
        began_s = time.perf_counter()
        call()
        if run >= _WARM_UP:
            times.append(1000 * (time.perf_counter() - began_s))
    return statistics.median(times)


def try_engine(weights: Path, kind: EngineKind) -> float | None:
    """The median in milliseconds; None where the engine cannot run the file here."""
    try:
        done = subprocess.run(
            module_command("gate.detector.engine_trial", str(weights), kind.value),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=module_environment(),
            timeout=LIMIT_S,
            check=True,
        )
        return float(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
