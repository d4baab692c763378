"""Several doors of one gate with random kills, and whole machines that sleep or start again."""

import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.soak

PATIENCE_S = 300.0
LEASE_S = 2.0
MODULES = (
    "mask_gate.gate.relays.guardian",
    "mask_gate.gate.camera.capture_process",
    "mask_gate.gate.detector.worker",
)
PAUSE_S = 13.0
"""Between hits of one process: more than five deaths in a minute are another case."""


@pytest.fixture
def doors(load):
    """The building of the tests of several doors."""
    return load("gate/whole/test_doors.py")


def test_several_doors_whose_processes_are_killed(
    doors, gate_bench, tmp_path, times, attacked, seed
):
    rng, count = random.Random(seed), times(25)
    cameras = {name: gate_bench.DoorCamera(fps=8.0) for name in ("north", "south")}
    building = doors.Building(gate_bench, tmp_path, cameras)
    missing, openings = [], 0
    try:
        with building.gate as gate:
            for door in building.doors:
                door.wait_for_opening(PATIENCE_S)
            hit_s = dict.fromkeys(MODULES, 0.0)
            for number in range(count):
                bare = rng.choice(("north", "south"))
                cameras[bare].mode, bare_s = "bare", time.monotonic()
                module = min(MODULES, key=lambda name: (hit_s[name], rng.random()))
                time.sleep(max(0.0, hit_s[module] + PAUSE_S - time.monotonic()))
                hit_s[module] = time.monotonic()
                pids = [pid for pid in gate_bench.processes_below(gate.pid) if runs(pid, module)]
                for pid in rng.sample(pids, min(len(pids), rng.randint(1, 2))):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP)))
                door = getattr(building, bare)
                gate_bench.wait_until(lambda door=door: not door.is_open, PATIENCE_S)
                time.sleep(rng.uniform(0.5, 2.0))
                forbidden_s = max(bare_s, hit_s[module]) + LEASE_S + 1.0
                if time.monotonic() > forbidden_s:
                    door.stays_locked(forbidden_s, time.monotonic())
                cameras[bare].mode = "ok"
                for each in building.doors:
                    each.wait_for_new_opening(time.monotonic(), PATIENCE_S)
                print(number, bare, module, flush=True)
            if gate.end() != 0:
                missing.append(f"{seed}: {gate.said[-1000:]}")
            for door in building.doors:
                door.check()
                openings += door.wrong_openings
                if door.is_open:
                    missing.append(f"{seed}: {door.folder.name}")
    finally:
        for camera in cameras.values():
            camera.mode = "close"
            camera.vanish()
    attacked(
        "two doors of one gate, their guardians, camera processes or the detector killed or "
        "stopped",
        count,
        openings=[seed] * openings,
        missing=missing,
    )


def runs(pid, module):
    with contextlib.suppress(OSError):
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def test_a_machine_that_sleeps_and_wakes_locks_first(
    gate_bench, camera, tmp_path, times, attacked, seed
):
    """All processes stand still, as in a suspend, for random times at random moments."""
    rng, count, missing, wrong = random.Random(seed), times(20), [], []
    with gate_bench.Gate(tmp_path, camera.url) as gate:
        for number in range(count):
            gate.wait_for_opening(PATIENCE_S)
            time.sleep(rng.uniform(0.0, 1.0))
            gate_bench.wait_until(lambda: gate.is_open, PATIENCE_S)
            gate.stand_still()
            was_open, before = gate.is_open, len(gate.edges)
            time.sleep(rng.choice((1.5, 3.0, 6.0)))
            gate.go_on()
            gate_bench.wait_until(lambda before=before: len(gate.edges) > before, PATIENCE_S)
            if was_open and gate.edges[before][1] != "locked":
                wrong.append(f"{seed} {number}: {gate.edges[before:]}")
        if gate.end() != 0 or gate.is_open:
            missing.append(seed)
    attacked(
        "all processes stopped and let go on, the door open: what comes first but a lock",
        count,
        openings=wrong,
        missing=missing,
    )
