"""Fingerprint: what identifies a weights file in events, logs and audit."""

from __future__ import annotations

import hashlib
from pathlib import Path


def fingerprint(path: Path) -> str:
    """`sha256:` and 64 hex digits of the file's content.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
