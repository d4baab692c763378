"""The sample relay scripts, as the gate runs them, against stand-ins for their hardware.

A stand-in module writes down every edge; where the real libraries are installed, they are tried
too, on gpiozero's own mock pins and on a pseudo terminal.
"""

import importlib.util
import os
import pty
import signal
import subprocess
import sys
import time
import tty
from pathlib import Path

import pytest

from mask_gate.gate.clock import uptime_s

RELAY = Path(__file__).resolve().parents[2] / "assets" / "relay"
PATIENCE_S = 60.0
LONG = "60"

FAKE_GPIOZERO = """
import os
class GPIOZeroError(Exception): pass
class OutputDevice:
    def __init__(self, pin, active_high=True, initial_value=False):
        if pin == 99: raise GPIOZeroError("no such pin")
        assert initial_value is False
        self.level = f"pin {pin} " + "{}" + ("" if active_high else " (active low)")
        self.write("off")
    def write(self, word):
        with open(os.environ["FAKE_LOG"], "a") as log: log.write(self.level.format(word) + "\\n")
    def on(self): self.write("on")
    def off(self): self.write("off")
    def close(self): self.write("given back")
"""

FAKE_SERIAL = """
import os
class SerialException(OSError): pass
class Serial:
    def __init__(self, port, baudrate, write_timeout, exclusive):
        if port == "/dev/missing": raise SerialException(2, "could not open port " + port)
        assert exclusive and write_timeout > 0
        self.write_line(f"open {port} {baudrate}")
    def write_line(self, line):
        with open(os.environ["FAKE_LOG"], "a") as log: log.write(line + "\\n")
    def write(self, data): self.write_line(data.hex(" "))
    def flush(self): pass
    def close(self): self.write_line("close")
"""


class Bench:
    """Runs scripts and reads what their stand-ins wrote."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder),
            "FAKE_LOG": str(self.log),
            "MASK_GATE_REASON": "compliant",
            "MASK_GATE_ID": "id-1",
        }

    def start(self, script, *arguments, hold=None, **variables):
        environment = self.environment | variables
        if hold is not None:
            environment["MASK_GATE_HOLD_S"] = hold
        return subprocess.Popen(
            [sys.executable, str(RELAY / script), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, script, *arguments, hold=None, **variables):
        process = self.start(script, *arguments, hold=hold, **variables)
        _, error = process.communicate(timeout=PATIENCE_S)
        return process.returncode, error

    def lines(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    def wait_for(self, line):
        deadline = time.monotonic() + PATIENCE_S
        while line not in self.lines():
            assert time.monotonic() < deadline, self.lines()
            time.sleep(0.02)


@pytest.fixture
def bench(tmp_path):
    (tmp_path / "gpiozero.py").write_text(FAKE_GPIOZERO)
    (tmp_path / "serial.py").write_text(FAKE_SERIAL)
    return Bench(tmp_path)


OFF, ON = "a0 01 00 a1", "a0 01 01 a2"
SCRIPTS = {
    "gpio.py": (
        ("pin 17 off", "pin 17 on", "pin 17 off", "pin 17 given back"),
        ("pin 17 off", "pin 17 off", "pin 17 given back"),
        "pin 17 on",
    ),
    "usb_relay.py": (
        ("open /dev/ttyUSB0 9600", OFF, ON, OFF, "close"),
        ("open /dev/ttyUSB0 9600", OFF, OFF, "close"),
        ON,
    ),
    "dry_run.py": (
        ("unlock compliant id-1", "lock compliant id-1"),
        ("lock compliant id-1",),
        "unlock compliant id-1",
    ),
}


@pytest.fixture(params=SCRIPTS)
def sample(request, bench):
    """A script with the arguments it needs, and what it is expected to do."""
    pulse, lock, unlocked = SCRIPTS[request.param]
    arguments = ["--log", str(bench.log)] if request.param == "dry_run.py" else []
    return request.param, arguments, list(pulse), list(lock), unlocked


class TestEveryScript:
    def test_allow_is_one_pulse_that_ends_by_itself(self, bench, sample):
        script, arguments, pulse, _, _ = sample
        assert bench.run(script, *arguments, "allow", hold="0.5") == (0, "")
        assert bench.lines() == pulse

    def test_deny_locks_and_nothing_else(self, bench, sample):
        script, arguments, _, lock, _ = sample
        assert bench.run(script, *arguments, "deny", hold="0.000") == (0, "")
        assert bench.lines() == lock

    def test_a_pulse_that_is_stopped_locks_at_once(self, bench, sample):
        script, arguments, pulse, _, unlocked = sample
        process = bench.start(script, *arguments, "allow", hold=LONG)
        bench.wait_for(unlocked)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, error) == (0, "")
        assert bench.lines() == pulse

    def test_a_pulse_that_is_killed_is_locked_by_the_deny_that_follows(self, bench, sample):
        script, arguments, _, lock, unlocked = sample
        process = bench.start(script, *arguments, "allow", hold=LONG)
        bench.wait_for(unlocked)
        process.kill()
        process.communicate(timeout=PATIENCE_S)
        assert bench.run(script, *arguments, "deny") == (0, "")
        assert bench.lines()[-len(lock) :] == lock

    def test_a_pulse_ends_when_the_gate_dies(self, bench, sample):
        script, arguments, pulse, _, unlocked = sample
        gate = subprocess.Popen(
            [
                sys.executable, "-c", "import subprocess, sys; subprocess.run(sys.argv[1:])",
                sys.executable, str(RELAY / script), *arguments, "allow",
            ],
            env=bench.environment | {"MASK_GATE_HOLD_S": LONG},
        )  # fmt: skip
        bench.wait_for(unlocked)
        gate.kill()
        gate.wait()
        began_s = time.monotonic()
        while bench.lines() != pulse:
            assert time.monotonic() - began_s < 8.0  # the cap of a pulse is 10 s
            time.sleep(0.02)

    def test_nothing_is_unlocked_for_a_gate_that_is_dead_already(self, bench, sample):
        script, arguments, _, lock, _ = sample
        gate = subprocess.Popen(["true"])
        gate.wait()
        told = {"MASK_GATE_PID": str(gate.pid)}
        assert bench.run(script, *arguments, "allow", hold=LONG, **told) == (0, "")
        assert bench.lines() == lock

    def test_nor_when_the_opening_was_over_before_the_script_had_started(self, bench, sample):
        script, arguments, _, lock, _ = sample
        told = {"MASK_GATE_UNTIL": f"{uptime_s() - 0.1:.3f}"}
        assert bench.run(script, *arguments, "allow", hold=LONG, **told) == (0, "")
        assert bench.lines() == lock

    def test_without_a_sensible_hold_nothing_is_unlocked(self, bench, sample):
        script, arguments, _, _, unlocked = sample
        code, error = bench.run(script, *arguments, "allow", hold="nan")
        assert code == 1
        assert error.startswith("relay: MASK_GATE_HOLD_S: expected seconds above 0")
        assert unlocked not in bench.lines()

    def test_another_word_is_refused(self, bench, sample):
        script, arguments, *_ = sample
        code, error = bench.run(script, *arguments, "open")
        assert code == 2
        assert "Traceback" not in error
        assert bench.lines() == []


def test_the_scripts_say_how_to_wire_them():
    for name in ("gpio.py", "usb_relay.py"):
        assert "see pulse.py" in " ".join((RELAY / name).read_text().split())
    wiring = (RELAY / "pulse.py").read_text()
    assert "NO contact" in wiring
    assert "NC contact" in wiring
    assert "exit button" in wiring


@pytest.fixture(scope="module")
def pulse():
    """The module that the scripts share."""
    spec = importlib.util.spec_from_file_location("pulse", RELAY / "pulse.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestHold:
    @pytest.mark.parametrize("said", [None, "", "nan", "-inf", "-1", "0", "soon", "1 s"])
    def test_nonsense_is_refused(self, pulse, said, monkeypatch):
        monkeypatch.delenv("MASK_GATE_HOLD_S", raising=False)
        if said is not None:
            monkeypatch.setenv("MASK_GATE_HOLD_S", said)
        with pytest.raises(ValueError, match="MASK_GATE_HOLD_S: expected seconds above 0"):
            pulse.hold_s()

    @pytest.mark.parametrize(
        ("said", "seconds"), [("0.001", 0.001), ("5.000", 5.0), ("10.1", 10.0), ("inf", 10.0)]
    )
    def test_is_what_the_gate_said_up_to_the_cap(self, pulse, said, seconds, monkeypatch):
        monkeypatch.setenv("MASK_GATE_HOLD_S", said)
        assert pulse.hold_s() == seconds


class TestUntil:
    @pytest.mark.parametrize("ends_in_s", [0.5, 3.0, -1.0, 100.0])
    def test_is_the_sooner_of_hold_and_moment(self, pulse, ends_in_s, monkeypatch):
        now_s = pulse.uptime_s()
        monkeypatch.setattr(pulse, "uptime_s", lambda: now_s)
        monkeypatch.setenv("MASK_GATE_HOLD_S", "5.000")
        monkeypatch.setenv("MASK_GATE_UNTIL", f"{now_s + ends_in_s}")
        assert pulse.until_s() == pytest.approx(now_s + min(ends_in_s, 5.0))

    def test_without_a_moment_the_hold_counts_from_the_start_of_the_script(
        self, pulse, monkeypatch
    ):
        monkeypatch.setenv("MASK_GATE_HOLD_S", "5.000")
        monkeypatch.delenv("MASK_GATE_UNTIL", raising=False)
        assert 4.0 < pulse.until_s() - pulse.uptime_s() <= 5.0


class TestHardwareThatIsNotThere:
    def test_a_pin_that_does_not_exist(self, bench):
        assert bench.run("gpio.py", "--pin", "99", "deny") == (
            1,
            "relay: pin 99 cannot be used: no such pin\n",
        )

    def test_a_port_that_does_not_exist(self, bench):
        code, error = bench.run("usb_relay.py", "--port", "/dev/missing", "deny")
        assert code == 1
        assert "could not open port /dev/missing" in error

    @pytest.mark.parametrize(
        ("script", "module"), [("gpio.py", "gpiozero"), ("usb_relay.py", "serial")]
    )
    def test_a_library_that_is_not_installed(self, bench, script, module):
        (bench.folder / f"{module}.py").write_text("raise ImportError")
        code, error = bench.run(script, "deny")
        assert code == 1
        assert "is not installed: pip install" in error


def test_active_low_boards_are_told_so(bench):
    bench.run("gpio.py", "--pin", "4", "--active-low", "deny")
    assert bench.lines()[0] == "pin 4 off (active low)"


def test_channels_have_their_own_bytes(bench):
    bench.run("usb_relay.py", "--channel", "8", "allow", hold="0.5")
    assert bench.lines()[1:4] == ["a0 08 00 a8", "a0 08 01 a9", "a0 08 00 a8"]


@pytest.mark.skipif(importlib.util.find_spec("gpiozero") is None, reason="needs gpiozero")
def test_the_real_gpiozero_is_driven_without_complaint(bench):
    (bench.folder / "gpiozero.py").unlink()
    bench.environment |= {"GPIOZERO_PIN_FACTORY": "mock", "PYTHONPATH": os.pathsep.join(sys.path)}
    assert bench.run("gpio.py", "allow", hold="1") == (0, "")


@pytest.mark.skipif(importlib.util.find_spec("serial") is None, reason="needs pyserial")
def test_the_real_pyserial_sends_the_bytes_of_a_pulse(bench):
    (bench.folder / "serial.py").unlink()
    bench.environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    board, port = pty.openpty()
    tty.setraw(port)
    assert bench.run("usb_relay.py", "--port", os.ttyname(port), "allow", hold="2") == (0, "")
    assert os.read(board, 100).hex(" ") == f"{OFF} {ON} {OFF}"
    os.close(board)
    os.close(port)
