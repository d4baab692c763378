"""WrittenSecrets: passwords that stand in gate.yaml itself, where every user can read it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mask_gate.gate.config.masking import is_secret
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.system.secret_file import is_open_to_all

_PASSWORD = re.compile(
    r"://[^/\s@:]*:[^/\s]+@"  # rtsp://name:password@camera
    r"|[?&/;](?:\w*(?:pass|pwd|token|secret|key|auth)\w*)=[^&;\s]"  # ?password=..., /password=...
    r"|^gst:.*[\w-]*(?:pass|pw|secret)\w*="  # rtspsrc user-pw=...
    r"|(?:^|\s)-{0,2}[\w-]*(?:pass|token|secret|key|auth)[\w-]*[ =]\S",  # commands
    re.IGNORECASE,
)


def remarks_on_secrets(path: Path, config: GateConfig) -> list[str]:
    """A sentence where a file that every user can read holds passwords.

    Args:
        path: of the file.
        config: what it says.
    """
    if not is_open_to_all(path):
        return []
    keys = dict.fromkeys(_holding(config.model_dump(mode="json")))
    if not keys:
        return []
    return [
        f"{path}: holds a password ({', '.join(keys)}) and is open to every user here; run chmod "
        "o= on it"
    ]


def _holding(values: object, key: str = "") -> Iterator[str]:
    """The key of each text in there that holds a password."""
    if isinstance(values, dict):
        for name, value in values.items():
            below = f"{key}.{name}" if key else name
            if isinstance(value, str) and is_secret(name):
                yield below
            elif not name.endswith(("_file", "_files")):
                yield from _holding(value, below)
    elif isinstance(values, list):
        for number, value in enumerate(values):
            yield from _holding(value, f"{key}.{number}")
    elif isinstance(values, str) and _PASSWORD.search(values):
        yield key
