"""RowStamp: what every row says of its time, its gate, the model and the configuration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mask_gate.gate.audit.chain import Row
from mask_gate.gate.audit.clock import AuditClock
from mask_gate.gate.audit.rows import printable

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class RowStamp:
    """Fills in what is the same for rows of every kind.

    Args:
        gate: name of the door.
        clock: tells the times.
        config: fingerprint of the configuration.

    Attributes:
        model: fingerprint of the detector, once it is known; a row that names one keeps it.
    """

    def __init__(self, gate: str, clock: AuditClock, config: str | None = None) -> None:
        self.model: str | None = None
        self.config = config
        self._clock = clock
        self._boot_id, self._gate = boot_id(), printable(gate)

    def __call__(self, row: Row) -> Row:
        """The row as it was made now, at this gate."""
        wall, mono_s = self._clock.times()
        return replace(
            row,
            wall=wall,
            mono_s=mono_s,
            boot_id=self._boot_id,
            gate=self._gate,
            model=row.model or self.model,
            config=self.config,
        )


def boot_id() -> str:
    """Which boot of the machine this is."""
    try:
        return _BOOT_ID.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return "unknown"
