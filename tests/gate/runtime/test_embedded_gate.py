"""Gate inside another program: the rules of the door hold there too."""

import re
import subprocess
import sys
from contextlib import closing

import pytest

from mask_gate import Gate, OutputError, Reason, SignalKind, State, open_camera
from mask_gate.gate.domain import Frame
from mask_gate.gate.door.lockdown_file import lockdown_file
from mask_gate.models.detections import Detections

pytestmark = pytest.mark.process


class Nobody:
    """A detector that sees no face."""

    model_id = "sha256:test"
    operating_point = None

    def detect(self, frame: Frame) -> Detections:
        return Detections.empty()


class Kept:
    """An output that keeps what it hears."""

    def __init__(self):
        self.heard, self.closed = [], False

    def send(self, signal, event):
        self.heard.append((signal.kind, signal.reason))

    def close(self):
        self.closed = True


def gate_of(tmp_path, output, detector=None, **more):
    camera = open_camera("demo")
    audit = tmp_path / "audit.sqlite"
    return Gate(camera, detector or Nobody(), outputs=[output], audit=audit, **more)


def test_the_door_is_locked_first_and_last_and_recorded(tmp_path):
    output = Kept()
    with gate_of(tmp_path, output) as gate:
        assert output.heard == [(SignalKind.DENY, Reason.STARTING)]
        for number, moment in enumerate(gate):
            assert (moment.state, moment.is_open) == (State.IDLE, False)
            if number == 2:
                gate.stop()
    assert output.heard[-1] == (SignalKind.DENY, Reason.STOPPING)
    assert output.closed
    assert (tmp_path / "audit.sqlite").stat().st_size > 0


def test_an_error_in_the_loop_locks(tmp_path):
    output = Kept()

    def run():
        with gate_of(tmp_path, output) as gate:
            for _ in gate:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run()
    assert output.heard[-1] == (SignalKind.DENY, Reason.STOPPING)


def test_a_detector_that_fails_locks_and_is_no_end(tmp_path):
    class Broken(Nobody):
        def detect(self, frame):
            raise RuntimeError("broken")

    output = Kept()
    with gate_of(tmp_path, output, Broken()) as gate:
        moment = next(iter(gate))
        assert (moment.state, moment.reason) == (State.FAULT, Reason.MODEL_FAULT)
        assert not moment.is_open


def test_a_door_that_was_locked_down_stays_so(tmp_path):
    lockdown_file(tmp_path / "audit.sqlite").write_text("damaged")
    output = Kept()
    with gate_of(tmp_path, output) as gate:
        moment = next(iter(gate))
        assert (moment.state, moment.reason) == (State.DENY, Reason.LOCKED_DOWN)
        assert not moment.is_open


def test_two_programs_do_not_hold_one_door(tmp_path):
    with gate_of(tmp_path, Kept(), name="front"):
        second = Kept()
        with pytest.raises(OutputError, match="front"), gate_of(tmp_path, second, name="front"):
            pass
        assert second.heard == []  # a door that is another's is not ours to lock


def test_outside_of_with_there_is_no_gate(tmp_path):
    with closing(open_camera("demo")) as camera:  # which the gate closes only once it is there
        gate = Gate(camera, Nobody(), audit=tmp_path / "audit.sqlite")
        with pytest.raises(RuntimeError, match="with Gate"):
            iter(gate)


def test_the_programs_of_the_documentation_run(repo_root, tmp_path):
    text = (repo_root / "docs" / "api.md").read_text(encoding="utf-8")
    (tmp_path / "photo.jpg").write_bytes(
        (repo_root / "assets" / "selftest" / "with_mask.jpg").read_bytes()
    )
    picture, gate = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    # The demo begins with half a minute of others; the first frame is enough here.
    gate = gate.replace("if moment.is_open:", "if True:")
    for code, said in ((picture, "with_mask"), (gate, " False\nlock\n")):
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert said in done.stdout
