"""The shipped unit under a real systemd: start, new configuration, death, hanging, end.

What the unit promises of times is arithmetic elsewhere (`tests/assets/test_systemd_unit.py`); here
it happens, sandbox and all, with somebody before the camera who may come in.
"""

import time

import pytest

from mask_gate.gate.commands.audit import main as audit_command

pytestmark = pytest.mark.soak

WATCHDOG_S = 30.0 + 5.0  # WatchdogSec and TimeoutAbortSec of the unit
RESTART_S = 60.0
"""From a death to the next opening: a start, and evidence, on a machine that does other things."""
LOCK_S = 1.0


class Entrance:
    """The machine's gate and its door."""

    def __init__(self, machine, probe):
        self.machine, self.probe = machine, probe
        self.yaml = machine.etc / "gate.yaml"
        self._right = self.yaml.read_text()

    def configure(self, old="", new=""):
        self.yaml.write_text(self._right.replace(old, new) if old else self._right)

    def send(self, name):
        """Wait for an opening, then send the gate a signal; when, and its process id."""
        self.edge("unlocked", time.monotonic(), RESTART_S)
        main, at_s = self.machine.of_gate("MainPID"), time.monotonic()
        self.machine.systemctl("kill", f"--signal={name}", "--kill-whom=main", "mask-gate")
        return at_s, main

    def edge(self, level, after_s, limit_s):
        """How long after a moment the door first came to a level."""
        deadline_s = time.monotonic() + limit_s
        while not (found := [t for t, to, _ in self.probe.edges if to == level and t > after_s]):
            assert time.monotonic() < deadline_s, (level, self.probe.edges[-5:])
            time.sleep(0.01)
        return found[0] - after_s

    def locked_and_open_again(self, at_s, limit_s):
        """How long after a moment it locked, and how long after it the first opening came."""
        locked_s = self.edge("locked", at_s, 10.0)
        return locked_s, locked_s + self.edge("unlocked", at_s + locked_s, limit_s)


@pytest.fixture
def entrance(tmp_path, gate_bench, camera, systemd_machine):
    machine = systemd_machine.Machine(tmp_path)
    text = gate_bench.CONFIG.format(
        url=camera.url,
        folder="/var/lib/mask-gate",
        weights=systemd_machine.ROOT / "assets/weights/mask-gate-lite.onnx",
    )
    (machine.etc / "gate.yaml").write_text(text)
    with machine:
        yield Entrance(machine, gate_bench.Probe(machine.state))


def test_of_the_shipped_unit_locks_and_comes_back(entrance, keep):
    machine, probe, found = entrance.machine, entrance.probe, []

    machine.systemctl("start", "mask-gate")  # comes back when the gate has said READY
    assert machine.of_gate("ActiveState") == "active"

    entrance.configure("policy:", "polcy:")
    _, first = entrance.send("HUP")
    time.sleep(2.0)
    assert machine.of_gate("MainPID") == first  # it is wrong: the gate goes on as it is
    entrance.configure("hold_s: 9.0", "hold_s: 8.0")
    locked_s, again_s = entrance.locked_and_open_again(entrance.send("HUP")[0], RESTART_S)
    found.append(("SIGHUP: locked", locked_s, 5.0))
    found.append(("SIGHUP: open again by the new rules", again_s, RESTART_S))
    assert machine.of_gate("MainPID") != first

    locked_s, again_s = entrance.locked_and_open_again(entrance.send("KILL")[0], RESTART_S)
    found.append(("gate killed: locked", locked_s, LOCK_S))
    found.append(("gate killed: open again", again_s, RESTART_S))

    at_s, stopped = entrance.send("STOP")
    locked_s, again_s = entrance.locked_and_open_again(at_s, WATCHDOG_S + RESTART_S)
    found.append(("gate stopped: locked", locked_s, LOCK_S))
    found.append(
        ("gate stopped: ended by the watchdog, open again", again_s, WATCHDOG_S + RESTART_S)
    )
    assert machine.of_gate("MainPID") not in (stopped, "0")

    entrance.edge("unlocked", time.monotonic(), RESTART_S)
    at_s = time.monotonic()
    machine.systemctl("stop", "mask-gate")
    assert [machine.of_gate(key) for key in ("ActiveState", "Result")] == ["inactive", "success"]
    found.append(("stop: locked", entrance.edge("locked", at_s, 1.0), 5.0))
    assert audit_command(["verify", "--file", str(machine.state / "audit.sqlite")]) == 0
    for fault, took_s, bar_s in found:
        keep(f"systemd, door open: {fault}", 1, probe.wrong_openings, took_s, bar_s)

    # What is wrong at the start stays locked, and is not tried again and again.
    entrance.configure("policy:", "polcy:")
    at_s = time.monotonic()
    machine.systemctl("start", "mask-gate", check=False)
    assert machine.of_gate("ActiveState") == "failed"
    assert machine.of_gate("ExecMainStatus") == "2"
    time.sleep(3.0)
    assert machine.of_gate("ActiveState") == "failed"
    assert not [t for t, level, _ in probe.edges if level == "unlocked" and t > at_s]
