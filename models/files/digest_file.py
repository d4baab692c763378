"""DigestFile: the SHA-256 of an exported file, in a file beside it, as `sha256sum` writes it."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from mask_gate.models.files.export_metadata import ExportedFileError
from mask_gate.models.files.fingerprint import fingerprint

_MOST_BYTES = 1000


def digest_file(exported: Path) -> Path:
    """Where the digest of an exported file is kept."""
    return exported.with_name(f"{exported.name}.sha256")


def write_digest(exported: Path) -> None:
    """Keep the digest of a file that was just written.

    Raises:
        OSError: it cannot be written.
    """
    path = digest_file(exported)
    line = f"{fingerprint(exported).removeprefix('sha256:')}  {exported.name}\n"
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, exported.stat().st_mode & 0o777)
            file.write(line)
            file.flush()
            os.fsync(handle)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def check_digest(exported: Path, found: str) -> bool:
    """Whether there is a digest beside an exported file; if so, hold the file against it.

    Args:
        exported: the file.
        found: its fingerprint now.

    Raises:
        ExportedFileError: the file is not the one that was exported.
    """
    path = digest_file(exported)
    try:
        with path.open("rb") as file:
            words = file.read(_MOST_BYTES).decode("ascii", "replace").split()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ExportedFileError(
            f"{path}: cannot be read ({error.strerror}); check its rights"
        ) from error
    if f"sha256:{words[0] if words else ''}" != found:
        raise ExportedFileError(
            f"{exported}: is not the file that was exported, for {path.name} beside it holds "
            "another digest; it is damaged or was exchanged: export it again"
        )
    return True
