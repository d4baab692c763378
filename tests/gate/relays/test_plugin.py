"""A driver of another package: locked first and last, and whatever it raises is one sentence."""

import sys

import pytest

from mask_gate.gate.errors import OutputError
from mask_gate.gate.relays.plugin import PluginRelay
from mask_gate.gate.relays.relay import Order

ALLOW = Order(unlocks=True, id="a", reason="compliant", until_s=1e9, hold_s=3.0)
DENY = Order(unlocks=False, id="d", reason="no_mask")

CODE = """
told = []

class Board:
    fails = None

    def __init__(self, colour="red"):
        self.name = f"{colour} board"
        told.append("made")

    def unlock(self, order, cancelled):
        told.append(f"unlock for {order.hold_s:g} s")
        if self.fails:
            raise self.fails

    def lock(self, order, cancelled):
        told.append(f"lock: {order.reason}")
        if self.fails:
            raise self.fails

    def close(self):
        told.append("closed")
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A package that brings the driver `board`."""
    (tmp_path / "other_boards.py").write_text(CODE)
    about = tmp_path / "other_boards-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-boards\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[mask_gate.relays]\nboard = other_boards:Board\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield __import__("other_boards")
    del sys.modules["other_boards"]


def go_on():
    return False


def test_it_is_locked_as_soon_as_it_is_made_and_before_it_is_closed(module):
    relay = PluginRelay("board", {"colour": "blue"})
    assert relay.name == "blue board"
    relay.unlock(ALLOW, go_on)
    relay.close()
    relay.close()
    assert module.told == ["made", "lock: starting", "unlock for 3 s", "lock: stopping", "closed"]


def test_one_that_is_locked_is_only_closed(module):
    relay = PluginRelay("board")
    relay.unlock(ALLOW, go_on)
    relay.lock(DENY, go_on)
    relay.close()
    assert module.told[-2:] == ["lock: no_mask", "closed"]


@pytest.mark.parametrize("error", [ValueError("a\nlong story"), OutputError("the board is away")])
def test_what_it_raises_is_one_line(module, error):
    relay = PluginRelay("board")
    relay._driver.fails = error
    for call in (lambda: relay.unlock(ALLOW, go_on), lambda: relay.lock(DENY, go_on), relay.close):
        with pytest.raises(OutputError) as said:
            call()
        assert "\n" not in str(said.value)
    assert module.told[-1] == "closed"


def test_one_that_does_not_lock_at_once_cannot_be_had(module):
    module.Board.fails = OSError("no cable")
    with pytest.raises(OutputError, match="red board: OSError: no cable"):
        PluginRelay("board")


def test_an_opening_that_took_too_long_has_failed_unless_a_lock_waits(module, clock):
    class Slow(module.Board):
        def unlock(self, order, cancelled):
            clock.advance(2.5)

    module.Board = Slow
    relay = PluginRelay("board", limit_s=2.0, clock=clock)
    with pytest.raises(OutputError, match=r"took 2\.5 s, over its limit of 2"):
        relay.unlock(ALLOW, go_on)
    relay.unlock(ALLOW, lambda: True)
