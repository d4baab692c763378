"""The shipped unit under a real systemd: its gate is killed, ended and started, on and on."""

import random
import shutil
import time

import pytest

pytestmark = pytest.mark.soak

RESTART_S = 300.0
"""From a death to the next opening: a start, and evidence, on a machine that does other things."""

HITS = ("KILL", "ABRT", "HUP", "TERM", "restart", "guardian")


class Entrance:
    """The machine's gate and its door."""

    def __init__(self, machine, probe):
        self.machine, self.probe = machine, probe

    def wait_for_opening(self, after_s):
        deadline_s = time.monotonic() + RESTART_S
        while not any(to == "unlocked" and at > after_s for at, to, _ in self.probe.edges):
            assert time.monotonic() < deadline_s, self.probe.edges[-5:]
            time.sleep(0.05)

    def hit(self, how):
        if how == "restart":
            self.machine.systemctl("restart", "mask-gate")
        elif how == "guardian":
            self.machine.systemctl("kill", "--signal=KILL", "--kill-whom=all", "mask-gate")
        else:
            self.machine.systemctl("kill", f"--signal={how}", "--kill-whom=main", "mask-gate")
            if how == "TERM":  # an end that is asked for is none to start again after
                self.machine.systemctl("start", "mask-gate", check=False)


def test_a_unit_that_is_started_again_and_again_locks_each_time(
    gate_bench, systemd_machine, small_detector, camera, tmp_path, times, attacked, seed
):
    machine = systemd_machine.Machine(tmp_path)
    shutil.copy(small_detector, machine.state / "small.onnx")
    text = gate_bench.CONFIG.format(
        url=camera.url, folder="/var/lib/mask-gate", weights="/var/lib/mask-gate/small.onnx"
    )
    (machine.etc / "gate.yaml").write_text(text)
    rng, count, missing = random.Random(seed), times(12), []
    probe = gate_bench.Probe(machine.state)
    entrance = Entrance(machine, probe)
    with machine:
        machine.systemctl("start", "mask-gate")
        entrance.wait_for_opening(0.0)
        for number in range(count):
            how = HITS[number % len(HITS)]
            time.sleep(rng.uniform(0.0, 1.0))
            hit_s = time.monotonic()
            entrance.hit(how)
            entrance.wait_for_opening(hit_s)
            between = [to for at, to, _ in probe.edges if at > hit_s]
            if between[0] != "locked":
                missing.append(f"{seed} {number}: {how}: {between}")
        machine.systemctl("stop", "mask-gate")
        if probe.edges[-1][1] != "locked":
            missing.append(f"{seed}: at the end")
        wrong = probe.wrong_openings
    attacked(
        "systemd: killed, told to end, to start anew and to read its configuration, in a loop",
        count,
        openings=[seed] * wrong,
        missing=missing,
    )
