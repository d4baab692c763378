"""Processes that are left over: found by a mark or by descent, and ended."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mask_gate.gate.system import leftovers

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]

ROOT = Path(__file__).resolve().parents[3]
PATIENCE_S = 60.0


@pytest.fixture
def mark():
    return f"of-{os.getpid()}-{time.monotonic_ns()}"


@pytest.fixture
def shell(mark):
    """Runs a shell with the mark in its environment until it has written a line; its process."""
    made = []

    def run(script, **variables):
        environment = {"PATH": os.defpath, "MARK": mark, **variables}
        process = subprocess.Popen(
            ["sh", "-c", script], env=environment, stdout=subprocess.PIPE, text=True
        )
        made.append(process)
        process.pid_said = int(process.stdout.readline())
        return process

    yield run
    leftovers.end(lambda: leftovers.marked("MARK", [mark]))
    for process in made:
        process.kill()
        process.communicate()


class TestAMark:
    @pytest.mark.parametrize(
        "script",
        [
            "echo $$; exec sleep 600",
            "sleep 600 & echo $!; wait",
            "setsid sleep 600 & echo $!",
            "( sh -c 'echo $$; exec sleep 600' & )",
        ],
        ids=["process", "child", "session of its own", "orphan"],
    )
    def test_is_inherited_by_whatever_is_started(self, shell, mark, script):
        pid = shell(script).pid_said
        assert pid in leftovers.marked("MARK", ["another", mark])

    def test_is_told_from_others(self, shell, mark):
        shell("echo $$; exec sleep 600")
        assert leftovers.marked("MARK", [mark[:-1]]) == []
        assert leftovers.marked("MAR", [mark]) == []
        assert leftovers.marked("MARK", []) == []

    def test_may_be_one_of_several(self, shell):
        pid = shell("echo $$; exec sleep 600", DOORS="a-1:b-2").pid_said
        assert pid in leftovers.marked("DOORS", ["b-2"])
        assert leftovers.marked("DOORS", ["b"]) == []

    def test_counts_for_nothing_where_a_command_locks(self, shell, mark):
        shell("echo $$; exec sleep 600", MASK_GATE_DECISION="deny")
        assert leftovers.marked("MARK", [mark]) == []

    def test_never_finds_who_looks_nor_who_started_it(self, mark):
        code = (
            f"from mask_gate.gate.system import leftovers as l; print(l.marked('MARK', ['{mark}']))"
        )
        environment = {**os.environ, "MARK": mark, "PYTHONPATH": str(ROOT)}
        command = ["sh", "-c", f'"{sys.executable}" -c "$0"; true', code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.stdout == "[]\n", done.stderr


class TestTheEnd:
    def test_takes_all_of_a_family_that_grows(self, shell, mark):
        shell("while :; do setsid sleep 600 & echo $$; sleep 0.01; done")
        assert leftovers.end(lambda: leftovers.marked("MARK", [mark]), PATIENCE_S) == []
        assert leftovers.marked("MARK", [mark]) == []

    def test_of_what_cannot_be_ended_is_told_in_time(self):
        assert leftovers.end(lambda: [1 << 22], patience_s=0.05) == [1 << 22]

    def test_of_nothing_is_nothing(self):
        assert leftovers.end(list) == []


ADOPTING = """
import os, subprocess, sys, time
from mask_gate.gate.system import leftovers
leftovers.adopt_orphans()
assert leftovers.below() == []
way = "setsid env -i sh -c 'echo $$; exec sleep 600' & exit 0"
shell = subprocess.Popen(["sh", "-c", way], stdout=subprocess.PIPE, text=True)
pid = int(shell.stdout.readline())
shell.wait()
assert leftovers.below() == [pid], (pid, leftovers.below())
spared = dict(os.environ, MASK_GATE_DECISION="deny")
locking = subprocess.Popen(["sleep", "600"], env=spared)
assert leftovers.end(leftovers.below) == []
assert locking.poll() is None
locking.kill()
locking.wait()
leftovers.reap()
assert not os.path.exists(f"/proc/{pid}")
"""


def test_whoever_adopts_orphans_knows_them_whatever_they_did():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", ADOPTING], env=environment, check=True)


def test_whoever_does_not_touches_no_children_of_its_own():
    child = subprocess.Popen(["sleep", "600"])
    assert leftovers.below() == []
    leftovers.reap()
    child.kill()
    assert child.wait() < 0
