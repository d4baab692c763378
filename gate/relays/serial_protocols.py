"""RelayBoards: what the relay boards behind serial ports are told, and what they answer.

LCUS boards (one to eight relays, a CH340 chip, 9600 baud) take four bytes: A0, the relay counted
from 1, 01 on or 00 off, and the sum of the three. They do not answer. Some say their state when
asked with FF: as lines such as `CH1: OFF`, one per relay, or as one byte per relay, 00 or 01.

Numato boards (firmware with a command line) take `relay on 0` and `relay off 0` with a carriage
return, the relay counted from 0 and written as one character, 0 to 9 and then A to V. They repeat
what they heard and end every answer with a prompt, `>`; `relay read 0` answers `on` or `off`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mask_gate.gate.errors import OutputError

Understand = Callable[[bytes], bool | None]
"""Judges the bytes that came: True, the board did it; False, it says otherwise; None, no answer."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Something said to a board, and how its answer is understood.

    Attributes:
        message: the bytes to send.
        understand: judges all that came since; None: the board says nothing to this.
        may_be_silent: whether boards exist that never answer this.
    """

    message: bytes
    understand: Understand | None = None
    may_be_silent: bool = False


class Board(Protocol):
    """How one relay of a board is switched."""

    def change(self, energise: bool) -> tuple[Exchange, ...]:
        """What must be said, one after the other, so that the relay changes; the first does it."""

    def learn(self, answer: bytes) -> None:
        """Take in a whole answer that confirmed a change."""


def board_of(
    protocol: str,
    channel: int,
    read_back: bool,
    energise: str | None = None,
    release: str | None = None,
    reply: str | None = None,
) -> Board:
    """The board that the settings of a serial relay speak of.

    Raises:
        OutputError: the protocol has no such relay, or lacks its bytes.
    """
    if protocol == "lcus":
        return LcusBoard(channel, read_back)
    if protocol == "numato":
        return NumatoBoard(channel, read_back)
    if energise is None or release is None:
        raise OutputError("a serial relay of protocol custom needs energise and release")
    answer = None if reply is None else bytes.fromhex(reply)
    return CustomBoard(bytes.fromhex(energise), bytes.fromhex(release), answer)


_STATUS_LINE = re.compile(rb"CH ?(\d+) ?: ?(ON|OFF) ?\r?\n")


@dataclass(slots=True)
class LcusBoard:
    """A0, relay, 01 or 00, sum.

    It must tell of as many relays each time as it did the first time: an answer that breaks off
    must not pass for that of a smaller board.

    Raises:
        OutputError: there is no such relay.
    """

    channel: int
    read_back: bool = True
    _relays: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.channel <= 64:
            raise OutputError(
                f"a serial relay of protocol lcus counts from 1: expected channel 1 to 64, "
                f"got {self.channel}"
            )

    def change(self, energise: bool) -> tuple[Exchange, ...]:
        """See `Board`."""
        head = bytes((0xA0, self.channel, energise))
        switch = Exchange(head + bytes((sum(head) & 0xFF,)))
        if not self.read_back:
            return (switch,)
        return (switch, Exchange(b"\xff", self._state_is(energise), may_be_silent=True))

    def learn(self, answer: bytes) -> None:
        """See `Board`."""
        self._relays = len(_lcus_states(answer))

    def _state_is(self, energised: bool) -> Understand:
        def understand(came: bytes) -> bool | None:
            states = _lcus_states(came)
            if len(states) < self.channel or (self._relays or len(states)) != len(states):
                return None
            return states[self.channel - 1] is energised

        return understand


def _lcus_states(came: bytes) -> list[bool]:
    """State of each relay, of an answer that makes sense from its first byte to its last."""
    if set(came) <= {0, 1}:
        return [state == 1 for state in came]
    lines = _STATUS_LINE.findall(came)
    in_order = [int(relay) for relay, _ in lines] == list(range(1, len(lines) + 1))
    if not in_order or _STATUS_LINE.sub(b"", came):
        return []
    return [state == b"ON" for _, state in lines]


_NUMATO_RELAYS = "0123456789ABCDEFGHIJKLMNOPQRSTUV"


@dataclass(frozen=True, slots=True)
class NumatoBoard:
    """`relay on 0`, `relay off 0`, `relay read 0`.

    Raises:
        OutputError: there is no such relay.
    """

    channel: int
    read_back: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.channel < len(_NUMATO_RELAYS):
            raise OutputError(
                f"a serial relay of protocol numato counts from 0: expected channel 0 to "
                f"{len(_NUMATO_RELAYS) - 1}, got {self.channel}"
            )

    def change(self, energise: bool) -> tuple[Exchange, ...]:
        """See `Board`."""
        relay = _NUMATO_RELAYS[self.channel]
        word, other = ("on", "off") if energise else ("off", "on")
        switch = self._command(f"relay {word} {relay}", {"": True})
        if not self.read_back:
            return (switch,)
        return (switch, self._command(f"relay read {relay}", {word: True, other: False}))

    def learn(self, answer: bytes) -> None:
        """See `Board`; there is nothing to learn."""

    @staticmethod
    def _command(command: str, answers: Mapping[str, bool]) -> Exchange:
        """A command, and what its answers mean.

        The words on and off stand in what the board repeats, too: an answer is only what comes
        after that, and before the prompt.
        """
        meanings = {(*command.split(), *said.split()): true for said, true in answers.items()}

        def understand(came: bytes) -> bool | None:
            text = came.decode("ascii", "replace").strip()
            if not text.endswith(">"):
                return None
            return meanings.get(tuple(text.strip(">").split()))

        return Exchange(f"{command}\r".encode(), understand)


@dataclass(frozen=True, slots=True)
class CustomBoard:
    """Bytes of the operator's, and perhaps one answer to both."""

    energise: bytes
    release: bytes
    reply: bytes | None = None

    def change(self, energise: bool) -> tuple[Exchange, ...]:
        """See `Board`."""
        message = self.energise if energise else self.release
        return (Exchange(message, None if self.reply is None else self._answers),)

    def learn(self, answer: bytes) -> None:
        """See `Board`; there is nothing to learn."""

    def _answers(self, came: bytes) -> bool | None:
        return True if came == self.reply else None
