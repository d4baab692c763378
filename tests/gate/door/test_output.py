"""What a replay or a dry run says in place of moving a relay."""

import pytest

from mask_gate.gate.domain import Reason, Signal, SignalKind
from mask_gate.gate.door.output import PrintedRelay

ALLOW = Signal(SignalKind.ALLOW, Reason.COMPLIANT, 10.0, "a", until_s=13.0)
DENY = Signal(SignalKind.DENY, Reason.NO_MASK, 10.0, "d")


def said_of(settings):
    said = []
    printed = PrintedRelay(settings, say=said.append)
    printed.send(ALLOW, {})
    printed.send(DENY, {})
    printed.close()
    return said


def test_a_command_is_printed_with_what_it_would_be_told(tmp_path):
    ran = tmp_path / "ran"
    command = f"touch {ran} 'two words'"
    assert said_of({"kind": "command", "on_allow": command, "on_deny": command}) == [
        f"would run: touch {ran} 'two words' allow  (MASK_GATE_HOLD_S=3.000)",
        f"would run: touch {ran} 'two words' deny  (MASK_GATE_HOLD_S=0.000)",
    ]
    assert not ran.exists()


def test_a_command_that_is_not_there_is_not_printed():
    assert said_of({"kind": "command", "on_allow": None, "on_deny": None}) == []


@pytest.mark.parametrize("kind", ["gpio", "serial", "mqtt", "webhook", "recording"])
def test_other_relays_are_told_by_their_kind(kind):
    assert said_of({"kind": kind}) == [
        f"would unlock: {kind} for 3.0 s at most",
        f"would lock: {kind}",
    ]
