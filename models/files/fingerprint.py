"""Fingerprint: what identifies a weights file in events, logs and audit."""

from __future__ import annotations

import hashlib
from pathlib import Path

_NAME = "sha256:"


def fingerprint(path: Path) -> str:
    """`sha256:` and 64 hex digits of the file's content.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return _NAME + hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint_of(content: bytes) -> str:
    """The same of a file that has been read."""
    return _NAME + hashlib.sha256(content).hexdigest()


def joined(*fingerprints: str) -> str:
    """What identifies several files that belong together: all of their fingerprints."""
    return "+".join(fingerprints)


def shortened(identity: str) -> str:
    """An identity as people compare it: the first digits of each fingerprint in it."""
    return "+".join(one[:19] for one in identity.split("+"))
