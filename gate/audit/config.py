"""AuditConfig: what gate.yaml may say of the audit, and where its file lies by default."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from mask_gate.gate.errors import ConfigError
from mask_gate.models.section import Section

LEAST_KEEP_DAYS, MOST_KEEP_DAYS = 1.0, 36500.0

_GATE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class AuditConfig(Section):
    """The record of every decision, written before the door opens."""

    # A damaged file is set aside; the ending keeps a wrong path from setting aside anything else.
    path: str | None = Field(
        default=None,
        pattern=r"^[^\x00-\x1f]*[^\x00-\x1f/]\.(sqlite|sqlite3|db)$",
        description="file of the audit, its name ending in .sqlite, .sqlite3 or .db; null: "
        "<gate>.sqlite in $STATE_DIRECTORY, or in mask-gate in $XDG_STATE_HOME or ~/.local/state",
    )
    required: bool = Field(
        default=True, description="whether the door stays locked while nothing can be recorded"
    )
    keep_days: float = Field(
        default=365.0,
        ge=LEAST_KEEP_DAYS,
        le=MOST_KEEP_DAYS,
        description="older rows are deleted, a day at once",
    )
    wait_s: float = Field(
        default=0.25,
        gt=0,
        le=0.4,  # a relay drops an opening that comes half a second late
        description="an opening waits this long for its row on the disk",
    )


def default_audit_path(gate: str, environment: Mapping[str, str] | None = None) -> Path:
    """Where the audit of a gate lies unless the configuration says otherwise.

    Args:
        gate: name of the door.
        environment: variables, those of the process unless given.

    Raises:
        ConfigError: the name cannot be one of a file, or there is no home folder.
    """
    variables = os.environ if environment is None else environment
    if _GATE_NAME.fullmatch(gate) is None:
        raise ConfigError(f"gate: expected a name of letters, digits and . _ -, got {gate!r:.80}")
    name = f"{gate}.sqlite"
    # systemd gives a list where the unit names several folders; they are of this program alone.
    if folder := variables.get("STATE_DIRECTORY", "").split(":")[0]:
        return Path(folder) / name
    folder = variables.get("XDG_STATE_HOME", "")
    if folder.startswith("/"):
        return Path(folder) / "mask-gate" / name
    if home := variables.get("HOME", ""):
        return Path(home) / ".local" / "state" / "mask-gate" / name
    raise ConfigError("audit.path: no home folder is known; give the path of a file")
