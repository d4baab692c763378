"""ForeignFile: what a file is that stands where weights were expected, told from its content."""

from __future__ import annotations

import html
import re
import zipfile
from pathlib import Path

from mask_gate.models.errors import ModelFileError

_LOOKED_AT_BYTES = 4096
_WEIGHTS_SUFFIXES = (".pth", ".pt", ".weights", ".onnx", ".xml")
_LFS = b"version https://git-lfs.github.com/spec/"
_TITLE = re.compile(rb"<title[^>]*>\s*([^<]{1,80}?)\s*</title>", re.IGNORECASE)
_PACKED = (
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
)
_KINDS = (
    (b"\x89HDF\r\n\x1a\n", "a Keras file (HDF5)"),
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"%PDF", "a PDF document"),
)


def refuse_foreign(path: Path) -> None:
    """Say what a file is that cannot hold weights, if that can be told from its first bytes.

    Raises:
        ModelFileError: a folder, nothing, a Git LFS pointer, a web page, other text, an archive,
            TorchScript, or a file of another kind.
    """
    what = foreign(path)
    if what is not None:
        raise ModelFileError(f"{path}: {what}")


def foreign(path: Path) -> str | None:
    """What a file is, and what to do, where that is plain; None for what may be weights."""
    if path.is_dir():
        names = sorted(p.name for p in path.iterdir() if p.suffix.lower() in _WEIGHTS_SUFFIXES)
        which = f"one of {', '.join(names[:5])}" if names else "the weights"
        return f"is a folder; give the path of a file in it, {which}"
    if path.exists() and not path.is_file():
        return "is a pipe or a device; give the path of a file"
    try:
        with path.open("rb") as file:
            head = file.read(_LOOKED_AT_BYTES)
    except OSError:
        return None  # whoever reads it says why
    if not head:
        return "is empty; copy it again"
    if head.startswith(_LFS):
        size = re.search(rb"^size (\d{1,15})$", head, re.MULTILINE)
        of = f" of {int(size[1]):,} bytes" if size else ""
        return f"is a Git LFS pointer that stands for a file{of}; run `git lfs pull` to get it"
    if head.startswith(b"PK"):
        return _foreign_zip(path)
    for magic, kind in _PACKED:
        if head.startswith(magic):
            return f"is {kind}; unpack it and give the file in it"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it and give the file in it"
    for magic, kind in _KINDS:
        if head.startswith(magic):
            return f"is {kind}, not the file that was meant"
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 100_000_000:
        return (
            "is a safetensors file; save it with torch.save(safetensors.torch.load_file("
            f'"{path.name}"), "{path.stem}.pth")'
        )
    return _foreign_text(path, head)


def _foreign_text(path: Path, head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if re.match(rb"<!doctype html|<html|<head|<body", text, re.IGNORECASE):
        title = _TITLE.search(head)
        named = f" ({html.unescape(title[1].decode('utf-8', 'replace'))!r})" if title else ""
        return f"is a web page{named}, which a download got in place of the file; get it again"
    if text.startswith(b"<?xml") and path.suffix.lower() == ".xml":
        return None  # OpenVINO's own
    try:
        start = text.decode("ascii")
    except UnicodeDecodeError:
        return None
    if any(not letter.isprintable() and letter not in "\t\r\n" for letter in start):
        return None
    begins = start.splitlines()[0][:40]
    return f"is a text that begins with {begins!r}, not the file that was meant; get it again"


def _foreign_zip(path: Path) -> str | None:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError):
        return None  # cut off: whoever reads it says that it is damaged
    parts = [name.partition("/")[2] for name in names]
    if "constants.pkl" in parts:
        return (
            "is TorchScript, which holds code, and is refused; save its tensors alone: "
            f'torch.save(torch.jit.load("{path.name}").state_dict(), "{path.stem}-tensors.pth")'
        )
    if "data.pkl" in parts:
        return None
    return f"is a zip archive with {', '.join(names[:3]) or 'nothing'} in it; unpack it"
