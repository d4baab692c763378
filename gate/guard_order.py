"""GuardOrder: what a guard may have done at a door by hand, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

MOST_NAME_LETTERS = 40
MOST_WHY_LETTERS = 120
MOST_ORDER_BYTES = 2048
"""A longer line is no order: name and reason have at most 6 bytes a letter, escaped."""

ORDER_S = 2.0
"""An order that is older is refused: whoever gave it may have gone, and others have come."""


class GuardAct(StrEnum):
    """What a guard may have done."""

    LOCK_DOWN = "lock_down"
    END_LOCK_DOWN = "end_lock_down"
    LET_IN_ONCE = "let_in_once"


class Verdict(StrEnum):
    """What came of an order: `DONE`, or why nothing was done.

    With `NOT_KEPT` the door is locked down, but would not be after a restart; with `NO_ANSWER` the
    console does not know.
    """

    DONE = "done"
    NOT_ALLOWED = "not_allowed"
    TOO_LATE = "too_late"
    REPEATED = "repeated"
    NOT_HELD = "not_held"
    NOT_READY = "not_ready"
    LOCKED_DOWN = "locked_down"
    NOT_LOCKED_DOWN = "not_locked_down"
    ALREADY_OPEN = "already_open"
    TOO_SOON = "too_soon"
    TOO_MANY = "too_many"
    OUTPUT_FAULT = "output_fault"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    NOT_KEPT = "not_kept"
    BUSY = "busy"
    NO_ANSWER = "no_answer"


def in_print(text: str) -> str:
    """A text that cannot fool a log or a page.

    Raises:
        ValueError: it is blank, or holds something that is not printed.
    """
    if not text.strip() or not text.isprintable():
        raise ValueError("expected words that can be printed")
    return text


_Name = Annotated[str, Field(min_length=1, max_length=MOST_NAME_LETTERS), AfterValidator(in_print)]
_Why = Annotated[str, Field(min_length=1, max_length=MOST_WHY_LETTERS), AfterValidator(in_print)]


@dataclass(frozen=True, slots=True)
class GuardWord:
    """Who wants something done at a door, and why, in their own words."""

    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.name}: {self.why}"


class GuardOrder(BaseModel):
    """One order, as the console's process hands it to the gate.

    Attributes:
        id: drawn at random when the form was made; the same order comes but once.
        door: its number.
        asked_s: when the guard's password had been checked, by `gate.clock.uptime_s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    id: str = Field(pattern=r"^[0-9a-f]{32}$")
    door: int = Field(ge=0, lt=1000)
    act: GuardAct
    name: _Name
    why: _Why
    asked_s: float = Field(ge=0, allow_inf_nan=False)

    @property
    def word(self) -> GuardWord:
        """Who gave it, and why."""
        return GuardWord(self.name, self.why)


def order_of(text: bytes) -> GuardOrder | None:
    """The order that a line of JSON holds; None where it holds none, whatever it is."""
    if len(text) > MOST_ORDER_BYTES:
        return None
    try:
        return GuardOrder.model_validate_json(text)
    except (ValidationError, ValueError, RecursionError):
        return None


def is_why(text: str) -> bool:
    """Whether a text can be the reason of an order."""
    try:
        return len(in_print(text)) <= MOST_WHY_LETTERS
    except ValueError:
        return False
