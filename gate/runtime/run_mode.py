"""RunMode: how a gate is run, besides what its configuration says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class AfterFault(StrEnum):
    """What becomes of the gate when a door cannot be had, or its loop ends with an error."""

    END = "end"
    """The gate ends with the error: there is no other door."""

    RETRY = "retry"
    """The door stays locked and is tried again, while the others go on."""


@dataclass(frozen=True, slots=True)
class RunMode:
    """How a gate is run.

    Attributes:
        replay: judge every frame of a clip by the clip's own time.
        dry: say what the relays would be told.
        after_fault: what becomes of the gate when a door fails.
        headless: open no window.
        kiosk: the window is the visitor's screen, and fills it.
        record: the video file to record to.
        once: end the demo after one round.
        seconds: how long to run; None is until the end of the clip, or of the machine.
    """

    replay: bool = False
    dry: bool = False
    after_fault: AfterFault = AfterFault.END
    headless: bool = False
    kiosk: bool = False
    record: Path | None = None
    once: bool = False
    seconds: float | None = None

    @property
    def moves(self) -> bool:
        """Whether a door is moved; only then it is owned, recorded, and told of to others."""
        return not (self.replay or self.dry)

    @property
    def loops_demo(self) -> bool:
        """Whether the demo plays over and over; a clip that is replayed has an end."""
        return not (self.replay or self.once)
