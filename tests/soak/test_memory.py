"""A gate in service for a long time: how much memory its processes hold, and whether it grows.

What is measured is PSS, which counts shared pages once, of the gate and everything it started. Half
the run may settle the allocators; growth is the slope of a line through the rest.
"""

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(
        not sys.platform.startswith("linux"), reason="reads /proc/PID/smaps_rollup: needs Linux"
    ),
]

FULL_S = 3600.0
VISIT_S = 4.0
LOOK_S = 5.0
MOST_MB = 10.0
SHARE = float(os.environ.get("MASK_GATE_SOAK", "1"))


def pss_mb(pids):
    """Memory of processes; those that are gone in between have none."""
    total_kb = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total_kb += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total_kb / 1024


def test_of_a_whole_gate_does_not_grow(gate_bench, camera, tmp_path, keep):
    samples = []
    with gate_bench.Gate(tmp_path, camera.url) as gate:
        gate.wait_for_opening()
        began_s = time.monotonic()
        while (age_s := time.monotonic() - began_s) < max(FULL_S * SHARE, 60.0):
            visits = int(age_s / VISIT_S)
            camera.mode = ("ok", "nobody", "bare", "nobody")[visits % 4]
            tree = [gate.pid, *gate_bench.processes_below(gate.pid)]
            samples.append((age_s, pss_mb(tree), len(list(Path(f"/proc/{gate.pid}/fd").iterdir()))))
            time.sleep(min(LOOK_S, VISIT_S - age_s % VISIT_S))
        camera.mode = "nobody"
        openings = sum(level == "unlocked" for _, level, _ in gate.edges)
        assert gate.end() == 0
        gate.check()
        wrong = gate.wrong_openings
    settled = np.array(samples[len(samples) // 2 :])
    per_hour_mb = 3600 * np.polyfit(settled[:, 0], settled[:, 1], 1)[0]
    first_mb, last_mb = settled[:10, 1].mean(), settled[-10:, 1].mean()
    print(f"{openings} openings; MB and open files:", *samples[:: len(samples) // 20], sep="\n")
    name = (
        f"none: {samples[-1][0] / 60:.0f} min of visits at 15 fps, {last_mb:.0f} MB in all of the "
        f"gate at the end ({per_hour_mb:+.0f} MB an hour): growth in the second half"
    )
    assert settled[-1, 2] <= settled[0, 2] + 2
    keep(name, openings, wrong, last_mb - first_mb, MOST_MB, "MB")
