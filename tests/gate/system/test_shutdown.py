"""Signals: the door is locked first, at once, and the process ends in bounded time."""

import os
import signal
import threading

import pytest

from mask_gate.gate.errors import OutputError
from mask_gate.gate.system.shutdown import Shutdown

PATIENCE_S = 60.0


@pytest.fixture
def done():
    """What happened, in order."""
    return []


def shutdown(done, **options):
    return Shutdown(lambda: done.append("locked"), lambda: done.append("let go"), **options)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130), (signal.SIGHUP, 0)]
)
def test_a_signal_locks_first_and_then_asks_the_loop_to_end(done, number, code):
    with shutdown(done) as end:
        os.kill(os.getpid(), number)
        assert end.asked.wait(PATIENCE_S)
        end.loop_ended()
    assert done == ["locked"]
    assert end.exit_code == code


def test_a_hangup_that_is_not_heeded_changes_nothing(done):
    asked = threading.Event()

    def refuse():
        asked.set()
        return False

    with shutdown(done, heeds_hangup=refuse) as end:
        os.kill(os.getpid(), signal.SIGHUP)
        assert asked.wait(PATIENCE_S)
        assert (done, end.asked.is_set()) == ([], False)
        os.kill(os.getpid(), signal.SIGTERM)
        assert end.asked.wait(PATIENCE_S)
        end.loop_ended()
    assert done == ["locked"]


def test_without_a_signal_nothing_happens(done):
    with shutdown(done) as end:
        end.loop_ended()
    assert (done, end.exit_code, end.asked.is_set()) == ([], 0, False)


def test_the_first_signal_counts(done):
    with shutdown(done) as end:
        os.kill(os.getpid(), signal.SIGTERM)
        assert end.asked.wait(PATIENCE_S)
        os.kill(os.getpid(), signal.SIGINT)
        end.loop_ended()
    assert done == ["locked"]
    assert end.exit_code == 0


def test_a_loop_that_is_stuck_is_given_up(done):
    ended = threading.Event()

    def end_process(code):
        done.append(code)
        ended.set()

    with shutdown(done, patience_s=0.1, end=end_process):
        os.kill(os.getpid(), signal.SIGINT)
        assert ended.wait(PATIENCE_S)
    assert done == ["locked", "let go", 130]


def test_a_last_lock_that_fails_is_told_at_once_and_is_the_exit_code(capfd):
    ended, codes = threading.Event(), []

    def refuse():
        raise OutputError("the relay does not answer")

    def end_process(code):
        codes.append(code)
        ended.set()

    with Shutdown(lambda: None, refuse, patience_s=0.1, end=end_process):
        os.kill(os.getpid(), signal.SIGTERM)
        assert ended.wait(PATIENCE_S)
    assert codes == [OutputError.exit_code]
    assert capfd.readouterr().err.endswith("mask-gate: the relay does not answer\n")


def test_handlers_are_given_back(done):
    before = [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    with shutdown(done) as end:
        assert signal.getsignal(signal.SIGTERM) != before[0]
        end.loop_ended()
    assert before == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    assert signal.set_wakeup_fd(-1) == -1


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
