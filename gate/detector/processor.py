"""The processor: its name, and what it can do that engines ask about."""

from __future__ import annotations

import hashlib
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def cpu_name() -> str:
    """The processor's name and a digest of what it can do, for names are sometimes vague."""
    facts = _facts()
    digest = hashlib.sha256(_abilities(facts).encode()).hexdigest()[:8]
    return f"{facts.get('model name', 'unknown')} ({digest})"


def has_vnni() -> bool:
    """Whether it adds products of 8-bit numbers exactly.

    Without, runtimes add two of them in 16 bits, which is too little for some, and what they then
    say of a face is wrong.
    """
    return not _VNNI.isdisjoint(_abilities(_facts()).split())


def _facts() -> dict[str, str]:
    """What the kernel says of the first processor; nothing on other systems."""
    try:
        lines = _CPUINFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    return {key.strip(): value.strip() for key, value in facts.items()}


def _abilities(facts: dict[str, str]) -> str:
    return facts.get("flags") or facts.get("Features", "")
