"""The console's session steps back while much is asked of it, and comes forward again later."""

import subprocess
import sys
from pathlib import Path

import pytest

from mask_gate.gate.console.rank import BACK_S, MUCH, SessionRank


@pytest.fixture
def said():
    return []


@pytest.fixture
def rank(said, clock):
    def write(rank):
        said.append(rank)
        return True

    return SessionRank(write, clock)


def pass_time(rank, clock, seconds, share):
    for _ in range(round(seconds / 0.05)):
        clock.advance(0.05)
        rank.used(share * 0.05, 0.05)


def test_what_a_guard_asks_for_leaves_it_where_it_is(rank, clock, said):
    pass_time(rank, clock, 60.0, 0.9 * MUCH)
    assert said == []


def test_one_busy_moment_such_as_a_login_is_not_much(rank, clock, said):
    pass_time(rank, clock, 0.1, 0.9)
    pass_time(rank, clock, 60.0, 0.01)
    assert said == []


def test_a_flood_sends_it_back_soon_and_once(rank, clock, said):
    pass_time(rank, clock, 2.0, 2 * MUCH)
    assert said == [19]
    pass_time(rank, clock, BACK_S, 2 * MUCH)
    assert said == [19]


def test_it_comes_forward_when_it_has_been_calm_for_long(rank, clock, said):
    pass_time(rank, clock, 2.0, 2 * MUCH)
    pass_time(rank, clock, 0.9 * BACK_S, 0.0)  # held back, it uses little whatever is asked
    assert said == [19]
    pass_time(rank, clock, 0.3 * BACK_S, 0.0)
    assert said == [19, 0]


def test_as_long_as_somebody_is_refused_it_stays_back_however_little_it_uses(rank, clock, said):
    for _ in range(10):
        rank.step_back()
        pass_time(rank, clock, 0.5 * BACK_S, 0.01)
    assert said == [19]
    pass_time(rank, clock, BACK_S, 0.01)
    assert said == [19, 0]


def test_it_tries_again_when_the_machine_has_no_time_for_it(clock):
    answers = iter([False, False, True])
    rank = SessionRank(lambda _: next(answers), clock)
    pass_time(rank, clock, 5.0, 2 * MUCH)  # a fourth try would be an error
    assert list(answers) == []


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="needs a Linux kernel with autogroups"
)
def test_a_session_can_step_back_and_forth_without_rights():
    code = (
        "import mask_gate.gate.console.rank as rank\n"
        "for word in (19, 0):\n"
        "    rank.write_rank(word)\n"
        "    print(open('/proc/self/autogroup').read().rpartition('nice ')[2].strip())\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, start_new_session=True
    ).stdout
    assert said.split() in (["19", "0"], [])
