"""EngineChoice: the fastest engine for a model here, as far as it has been measured.

What was measured is remembered in a file (`gate.detector.engine_trials` measures). That is a
convenience: without it, or with a file that is garbled or was made elsewhere, the default is taken.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
import tempfile
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.processor import cpu_name

log = logging.getLogger(__name__)

LEAD = 0.9
"""The default is left only for an engine that takes less than this share of its time."""

_FILE = Path("mask-gate") / "engines.json"
_MAX_REMEMBERED = 50
_LIBRARIES = ("onnxruntime", "openvino", "torch")

Times = dict[EngineKind, float | None]
"""Milliseconds for one picture; None for an engine that cannot run the file here."""


def choice_file() -> Path | None:
    """Where choices are remembered: the service's or the user's cache folder, if there is one."""
    # systemd gives a list where the unit names several folders.
    if folder := os.environ.get("CACHE_DIRECTORY", "").split(":")[0]:
        return Path(folder) / _FILE
    if folder := os.environ.get("XDG_CACHE_HOME", ""):
        return Path(folder) / _FILE
    try:
        return Path.home() / ".cache" / _FILE
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        return None


class EngineChoice:
    """Chooses among the engines that may run a weights file.

    Args:
        path: the file of what was measured; it need not exist. None: nothing is remembered.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def known(self, identity: str, kinds: Sequence[EngineKind]) -> EngineKind:
        """The fastest of `kinds` that is known, or the first of them, which is the default.

        Args:
            identity: fingerprint of the weights file.
            kinds: what may run it, at least one.
        """
        if len(kinds) == 1:
            return kinds[0]
        return _fastest(kinds, self.times_ms(identity, kinds))

    def times_ms(self, identity: str, kinds: Sequence[EngineKind]) -> Times:
        """What has been measured of these engines."""
        entry = self._remembered().get(_key(identity, kinds))
        times = entry.get("ms") if isinstance(entry, dict) else None
        if not isinstance(times, dict):
            return {}
        return {kind: times[kind] for kind in kinds if kind in times and _is_time(times[kind])}

    def rounds(self, identity: str, kinds: Sequence[EngineKind]) -> int:
        """How often all of these engines have been measured."""
        entry = self._remembered().get(_key(identity, kinds))
        rounds = entry.get("rounds", 1) if isinstance(entry, dict) else 0
        return rounds if isinstance(rounds, int) else 0

    def remember(
        self, identity: str, kinds: Sequence[EngineKind], times_ms: Times, rounds: int = 0
    ) -> None:
        """Keep what has been measured so far; what cannot be written is measured again."""
        if self.path is None:
            return
        about = _about(identity, kinds)
        content = self._remembered()
        content[_key(identity, kinds)] = {"ms": times_ms, "rounds": rounds, **about}
        newest = dict(list(content.items())[-_MAX_REMEMBERED:])
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self.path.parent, delete=False
            ) as file:
                json.dump(newest, file, indent=1)
            Path(file.name).replace(self.path)
        except OSError as error:
            log.warning("engines are measured again: what was found cannot be kept: %s", error)

    def _remembered(self) -> dict[str, Any]:
        if self.path is None:
            return {}
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}


def _key(identity: str, kinds: Sequence[EngineKind]) -> str:
    text = json.dumps(_about(identity, kinds), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _about(identity: str, kinds: Sequence[EngineKind]) -> dict[str, Any]:
    return {"model": identity, "engines": [*kinds], **_circumstances()}


def _is_time(time: object) -> bool:
    return time is None or (isinstance(time, int | float) and time > 0)


def _fastest(kinds: Sequence[EngineKind], times_ms: Times) -> EngineKind:
    """The default, or what leaves it clearly behind, or what runs where the default does not."""
    known = {kind: time for kind, time in times_ms.items() if time is not None}
    default = next((kind for kind in kinds if times_ms.get(kind, math.inf) is not None), kinds[0])
    best = min(known, key=known.__getitem__, default=default)
    return best if best in known and known[best] < LEAD * known.get(default, 0.0) else default


def _circumstances() -> dict[str, Any]:
    """What a measurement depends on besides the model."""
    versions = {}
    for library in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[library] = version(library)
    return {"versions": versions, "cpu": cpu_name(), "threads": len(os.sched_getaffinity(0))}
