"""AuditLimits: how many rows wait for the disk, and for how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """Limits of the audit; a gate runs with the defaults.

    Attributes:
        backlog_rows: so many rows wait in memory for a disk that does not take them; what comes
            after is lost.
        batch_rows: so many are written in one transaction.
        close_s: at the end of the gate, what is left is tried for this long.
        retry_s: a disk that refused is asked again this soon, or at once for an opening.
        closing_retry_s: and this soon at the end of the gate.
        idle_s: the wall clock is looked at this often while there is nothing to write.
        clock_step_s: the wall clock was set when it moved so much more, or less, than the
            monotonic one.
        prune_after_s: old rows are deleted only when the wall clock has not been set for so long,
            and so often.
    """

    backlog_rows: int = 10_000
    batch_rows: int = 500
    close_s: float = 2.0
    retry_s: float = 1.0
    closing_retry_s: float = 0.1
    idle_s: float = 1.0
    clock_step_s: float = 2.0
    prune_after_s: float = 3600.0
