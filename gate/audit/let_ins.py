"""LetIns: when guards let somebody in, as the record tells it, also of runs before this one."""

from __future__ import annotations

import contextlib
from pathlib import Path

from mask_gate.gate.audit.chain import COLUMNS
from mask_gate.gate.audit.reader import AuditReader
from mask_gate.gate.audit.stamp import boot_id
from mask_gate.gate.domain import Reason


def let_in_times(path: Path, since_s: float) -> list[float]:
    """When somebody was let in since then, while the machine has been up; oldest first.

    Args:
        path: the record.
        since_s: seconds of `gate.clock.uptime_s`, as the answer.

    Raises:
        OutputError: it cannot be read.
    """
    found = []
    with AuditReader(path) as reader, contextlib.closing(reader.backwards()) as rows:
        for values in rows:
            row = dict(zip(COLUMNS, values, strict=True))
            mono_s = row["mono_s"]
            if row["boot_id"] != boot_id() or not isinstance(mono_s, float) or mono_s < since_s:
                break
            if row["kind"] == "intent" and row["reason"] == Reason.LET_IN.value:
                found.append(mono_s)
    return found[::-1]
