"""LetIns: when guards let somebody in, as the record tells it, also of runs before this one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mask_gate.gate.audit.chain import COLUMNS
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.stamp import boot_id
from mask_gate.gate.clock import Clock, uptime_s
from mask_gate.gate.domain import Reason

_PLACES = tuple(map(COLUMNS.index, ("kind", "reason", "mono_s", "boot_id")))


def let_in_times(path: Path, begin_s: float, clock: Clock = uptime_s) -> list[float]:
    """When somebody was let in since a time, while the machine has been up; oldest first.

    Args:
        path: the record.
        begin_s: seconds of `clock`, as the answer.
        clock: a row of later than now is of another start of the machine.

    Raises:
        OutputError: it cannot be read.
    """
    found, boot = [], boot_id()
    with AuditReader(path) as reader, contextlib.closing(reader.backwards()) as rows:
        end_s = clock()  # not before: the gate may have written rows until the reader was opened
        for row in rows:
            kind, reason, mono_s, row_boot = (row[place] for place in _PLACES)
            if not isinstance(mono_s, float) or not begin_s <= mono_s <= end_s or row_boot != boot:
                break
            if kind == "intent" and reason == Reason.LET_IN.value:
                found.append(mono_s)
    return found[::-1]
