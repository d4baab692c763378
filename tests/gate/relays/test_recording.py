"""The relay without a device: one line per change, in the order of the changes."""

import os
import subprocess
import sys

import pytest

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.recording import RecordingRelay
from mask_gate.gate.relays.relay import Order

ALLOW = Order(unlocks=True, id="a1", reason="compliant", hold_s=3.0)
DENY = Order(unlocks=False, id="d1", reason="no_mask")


def go_on():
    return False


def lines(path):
    return [line.split(" ") for line in path.read_text().splitlines()]


class TestLines:
    def test_the_first_and_the_last_say_locked(self, tmp_path, clock):
        path = tmp_path / "edges"
        relay = RecordingRelay(str(path), clock)
        assert lines(path) == [["1000.000000", "locked", "-"]]
        clock.advance(1.5)
        relay.unlock(ALLOW, go_on)
        clock.advance(0.25)
        relay.lock(DENY, go_on)
        relay.close()
        assert lines(path) == [
            ["1000.000000", "locked", "-"],
            ["1001.500000", "unlocked", "a1"],
            ["1001.750000", "locked", "d1"],
            ["1001.750000", "locked", "-"],
        ]

    def test_closing_an_open_one_locks_it_once(self, tmp_path):
        path = tmp_path / "edges"
        relay = RecordingRelay(str(path))
        relay.unlock(ALLOW, go_on)
        relay.close()
        relay.close()
        assert [level for _, level, _ in lines(path)] == ["locked", "unlocked", "locked"]

    def test_they_are_added_to_what_is_there(self, tmp_path):
        path = tmp_path / "edges"
        for _ in range(2):
            RecordingRelay(str(path)).close()
        assert [level for _, level, _ in lines(path)] == 4 * ["locked"]

    def test_each_is_in_the_file_at_once_whatever_becomes_of_the_process(self, tmp_path, repo_root):
        path = tmp_path / "edges"
        code = (
            "import os, signal, sys\n"
            "from mask_gate.gate.relays.relay import Order\n"
            "from mask_gate.gate.relays.recording import RecordingRelay\n"
            "relay = RecordingRelay(sys.argv[1])\n"
            "relay.unlock(Order(unlocks=True, id='a1', reason='x'), lambda: False)\n"
            "os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        subprocess.run([sys.executable, "-c", code, str(path)], cwd=repo_root, check=False)
        assert [level for _, level, _ in lines(path)] == ["locked", "unlocked"]

    def test_its_name_is_the_file(self, tmp_path):
        assert RecordingRelay(str(tmp_path / "edges")).name == f"recording {tmp_path / 'edges'}"


class TestFaults:
    @pytest.mark.parametrize("where", ["nowhere/edges", "."])
    def test_a_file_that_cannot_be_written_is_refused_at_start(self, tmp_path, where):
        with pytest.raises(OutputError, match=r"cannot be written \("):
            RecordingRelay(str(tmp_path / where))

    def test_a_full_disk_is_an_error_from_the_first_line_on(self):
        with pytest.raises(OutputError, match="No space left on device"):
            RecordingRelay("/dev/full")

    def test_a_line_that_does_not_fit_is_an_error(self, tmp_path, repo_root):
        code = (
            "import resource, signal, sys\n"
            "from mask_gate.gate.errors import OutputError\n"
            "from mask_gate.gate.relays.relay import Order\n"
            "from mask_gate.gate.relays.recording import RecordingRelay\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "relay = RecordingRelay(sys.argv[1])\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (30, resource.RLIM_INFINITY))\n"
            "for _ in range(2):\n"
            "    try:\n"
            "        relay.unlock(Order(unlocks=True, id='a1', reason='x'), lambda: False)\n"
            "    except OutputError as error:\n"
            "        print(error)\n"
        )
        said = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "edges")],
            cwd=repo_root,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        assert len(said) == 2
        assert said[0].endswith("the disk is full")
        assert said[1].endswith("cannot be written (File too large)")

    def test_a_pipe_whose_reader_left_is_an_error(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
        relay = RecordingRelay(str(tmp_path / "pipe"))
        os.close(reader)
        with pytest.raises(OutputError, match="Broken pipe"):
            relay.lock(DENY, go_on)
        with pytest.raises(OutputError, match="Broken pipe"):
            relay.close()
        relay.close()  # let go of all the same
