"""SecretFile: a key or password, from a file that is closed to the other users of this machine."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from mask_gate.gate.errors import OutputError

MAX_BYTES = 4096
MAX_KEY_BYTES = 64 * 1024
"""Of a TLS key, which may be in one file with its certificates."""


def is_open_to_all(path: Path) -> bool:
    """Whether every user of this machine may do something with a file."""
    try:
        return bool(path.stat().st_mode & stat.S_IRWXO)
    except OSError:
        return False


def read_secret(path: str, most_bytes: int = MAX_BYTES) -> bytes:
    """Bytes of a secret, without the newline that editors put at the end of a file.

    Args:
        path: of the file.
        most_bytes: a larger one is none.

    Raises:
        OutputError: the file is no secret: missing, empty, too large, or open to every user.
    """
    try:
        # Not blocking, so that a pipe put in its place cannot hold up the start.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"secret file {path}: cannot be read ({why}); check its rights") from None
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OutputError(f"secret file {path}: expected a file with the secret in it")
        if about.st_mode & stat.S_IRWXO:
            raise OutputError(f"secret file {path}: open to every user here; run chmod o= on it")
        data = os.read(descriptor, most_bytes + 1)
    finally:
        os.close(descriptor)
    if len(data) > most_bytes:
        raise OutputError(f"secret file {path}: expected at most {most_bytes} bytes, got more")
    secret = data.removesuffix(b"\n").removesuffix(b"\r")
    if not secret:
        raise OutputError(f"secret file {path}: expected a secret, got an empty file")
    return secret


def write_secret(path: Path, text: str) -> None:
    """Write a line to a file that other users cannot read; one that is there is replaced.

    Raises:
        OutputError: it cannot be written.
    """
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(f"{path}: cannot be written ({why})") from None
