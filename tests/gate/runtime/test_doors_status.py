"""One stuck loop must be seen, however well the others turn."""

from types import SimpleNamespace

import pytest

from mask_gate.gate.runtime.doors_status import DoorsStatus


@pytest.fixture
def said():
    """What the supervisor has heard."""
    return SimpleNamespace(pings=0, lines=[], ready=0, stopping=0)


@pytest.fixture
def supervisor(said):
    def count(what):
        return lambda: setattr(said, what, getattr(said, what) + 1)

    return SimpleNamespace(
        progress=count("pings"),
        ready=count("ready"),
        stopping=count("stopping"),
        status=said.lines.append,
    )


@pytest.fixture
def status(supervisor):
    return DoorsStatus(supervisor, ("a", "b"))


def test_progress_is_told_when_every_loop_has_turned(status, said):
    with status.watching("a"), status.watching("b"):
        for _ in range(5):
            status.turned("a")
        assert said.pings == 0
        status.turned("b")
        assert said.pings == 1
        status.turned("b")
        assert said.pings == 1


def test_progress_does_not_wait_for_a_door_that_nobody_watches_now(status, said):
    with status.watching("a"):
        with status.watching("b"):
            status.turned("a")
        status.turned("a")
    assert said.pings == 1
    assert not status.is_any_watched


def test_the_line_has_a_part_for_each_door(status, said):
    status.say("b", "out of service")
    assert said.lines == ["a starting; b out of service"]


def test_the_line_of_the_only_door_bears_no_name(supervisor, said):
    DoorsStatus(supervisor, ("",)).say("", "IDLE, door locked: no face")
    assert said.lines == ["IDLE, door locked: no face"]


def test_the_start_and_the_end_are_told_once(status, said):
    for _ in range(2):
        status.ready()
        status.stopping()
    assert (said.ready, said.stopping) == (1, 1)
