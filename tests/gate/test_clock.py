"""The clock of the door goes on while the machine sleeps, and is the same for every process."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from mask_gate.gate.clock import uptime_s

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="needs CLOCK_BOOTTIME: Linux")
def test_it_is_the_one_that_counts_sleep():
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before_s <= uptime_s() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_another_process_reads_the_same():
    before_s = uptime_s()
    ask = [sys.executable, "-c", "from mask_gate.gate.clock import uptime_s; print(uptime_s())"]
    said = subprocess.run(ask, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert before_s < float(said) < uptime_s()
