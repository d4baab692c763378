"""Signals: the door is locked first, at once, and the process ends in bounded time.

Every signal goes to a process of its own. In the test runner, where other tests loaded engines,
one can be deadly: the main thread was seen there with an alternate stack for signal handlers that
was mapped no longer (OpenVINO is suspected), and the kernel ends a process whose handler it cannot
call. The gate itself loads no engine; its detector is a process of its own.
"""

import signal
import subprocess
import sys
import threading
import time

import pytest

from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.shutdown import Shutdown

pytestmark = pytest.mark.process

PATIENCE_S = 60.0

# What every process below begins with; it says what happens, a line each.
HEAD = f"""
import os, signal, sys, threading, time
from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.shutdown import Shutdown

PATIENCE_S = {PATIENCE_S}

def say(word):
    os.write(1, (word + chr(10)).encode())

def lock():
    say("locked")

def abandon():
    say("let go")
"""

RUN = """
with Shutdown(lock, abandon, patience_s=PATIENCE_S) as end:
    say("ready")
    assert end.asked.wait(PATIENCE_S)
    end.loop_ended()
sys.exit(end.exit_code)
"""


class Process:
    """A process under `Shutdown`."""

    def __init__(self, body):
        self._process = subprocess.Popen(
            [sys.executable, "-c", HEAD + body],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.send = self._process.send_signal
        self.says("ready")

    def says(self, word):
        assert self._process.stdout.readline() == f"{word}\n"

    def go_on(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self):
        """What else it said, its exit code, and its standard error."""
        out, err = self._process.communicate(timeout=PATIENCE_S)
        return out.split("\n")[:-1], self._process.returncode, err

    def kill(self):
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def run():
    """Starts processes; none outlives the test."""
    made = []

    def start(body=RUN):
        made.append(Process(body))
        return made[-1]

    yield start
    for process in made:
        process.kill()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)]
)
def test_a_signal_locks_first_and_then_asks_the_loop_to_end(run, number, code):
    process = run()
    process.send(number)
    assert process.end()[:2] == (["locked"], code)


def test_the_first_signal_counts(run):
    process = run(
        """
with Shutdown(lock, abandon, patience_s=PATIENCE_S) as end:
    say("ready")
    assert end.asked.wait(PATIENCE_S)
    sys.stdin.readline()
    end.loop_ended()
sys.exit(end.exit_code)
"""
    )
    process.send(signal.SIGTERM)
    process.says("locked")
    process.send(signal.SIGINT)
    process.go_on()
    assert process.end()[:2] == ([], 0)


def test_a_main_thread_that_is_stuck_in_a_library_does_not_keep_the_door_from_being_locked(run):
    process = run(
        """
with Shutdown(lock, abandon, patience_s=0.1):
    say("ready")
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    signal.sigwait([signal.SIGUSR1])  # returns to no handler of Python until it is sent
"""
    )
    process.send(signal.SIGINT)
    assert process.end()[:2] == (["locked", "let go"], 130)


def test_a_last_lock_that_fails_is_told_at_once_and_is_the_exit_code(run):
    process = run(
        """
def refuse():
    raise OutputError("the relay does not answer")

with Shutdown(lock, refuse, patience_s=0.1):
    say("ready")
    time.sleep(PATIENCE_S)
"""
    )
    process.send(signal.SIGTERM)
    said, code, err = process.end()
    assert (said, code) == (["locked"], OutputError.exit_code)
    assert err.endswith("mask-gate: the relay does not answer\n")


def test_a_lock_that_breaks_down_leaves_the_rest_of_the_end_in_order(run):
    process = run("def lock():\n    say('locked')\n    raise ValueError\n" + RUN)
    process.send(signal.SIGTERM)
    assert process.end()[:2] == (["locked"], 0)


class TestNoSignalIsMissed:
    """Whatever came before it."""

    @pytest.mark.parametrize(
        "check",
        [
            "return False",
            "raise ValueError('no such file')",
            "time.sleep(PATIENCE_S)  # the configuration is on a network drive that went away",
        ],
        ids=["heeds it not", "fails", "hangs"],
    )
    def test_after_a_hangup_that(self, run, check):
        process = run(
            f"""
def check():
    say("asked")
    {check}

with Shutdown(lock, abandon, heeds_hangup=check, patience_s=PATIENCE_S) as end:
    say("ready")
    assert end.asked.wait(PATIENCE_S)
    end.loop_ended()
sys.exit(end.exit_code)
"""
        )
        process.send(signal.SIGHUP)
        process.says("asked")
        process.send(signal.SIGINT)
        assert process.end()[:2] == (["locked"], 130)

    def test_each_hangup_is_asked_about_anew(self, run):
        process = run(
            """
answers = [False, True]

def check():
    say("asked")
    return answers.pop(0)

with Shutdown(lock, abandon, heeds_hangup=check, patience_s=PATIENCE_S) as end:
    say("ready")
    assert end.asked.wait(PATIENCE_S)
    end.loop_ended()
"""
        )
        process.send(signal.SIGHUP)
        process.says("asked")
        process.send(signal.SIGHUP)
        assert process.end()[:2] == (["asked", "locked"], 0)

    def test_behind_more_of_them_than_the_socket_holds(self, run):
        """No other thread runs in between, so that they pile up as they would behind a stall."""
        process = run(
            """
sys.setswitchinterval(PATIENCE_S)
with Shutdown(lock, abandon, heeds_hangup=lambda: False, patience_s=PATIENCE_S) as end:
    say("ready")
    for _ in range(10_000):
        os.kill(os.getpid(), signal.SIGHUP)
    os.kill(os.getpid(), signal.SIGTERM)
    assert end.asked.wait(10.0)
    end.loop_ended()
"""
        )
        assert process.end()[:2] == (["locked"], 0)


@pytest.fixture
def done():
    """What happened, in order."""
    return []


def shutdown(done, **options):
    """A Shutdown that would not end the test runner either."""
    return Shutdown(
        lambda: done.append("locked"), lambda: done.append("let go"), end=done.append, **options
    )


def test_without_a_signal_nothing_happens(done):
    with shutdown(done) as end:
        end.loop_ended()
    assert (done, end.exit_code, end.asked.is_set()) == ([], 0, False)


def test_handlers_are_given_back(done):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with shutdown(done) as end:
        assert signal.getsignal(signal.SIGTERM) != before[0]
        end.loop_ended()
    assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    assert signal.set_wakeup_fd(-1) == -1


def test_no_thread_is_left(done):
    before = set(threading.enumerate())
    with shutdown(done) as end:
        end.loop_ended()
    deadline = time.monotonic() + PATIENCE_S
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not set(threading.enumerate()) - before


def test_nohup_stays_nohup(done):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with shutdown(done) as end:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            end.loop_ended()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_it_leaves_signals_alone(done):
    before = signal.getsignal(signal.SIGTERM)
    inside = []

    def run():
        with shutdown(done) as end:
            inside.append(signal.getsignal(signal.SIGTERM))
            end.loop_ended()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE_S)
    assert inside == [before]
