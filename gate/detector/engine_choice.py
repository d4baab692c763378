"""EngineChoice: the fastest engine for a model here, measured once and remembered in a file.

What is remembered is a convenience: a file that is gone, garbled or made elsewhere is measured
anew, and one that cannot be written costs a measurement at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.system.processes import module_command, module_environment

log = logging.getLogger(__name__)

LEAD = 0.9
"""The default is left only for an engine that takes less than this share of its time."""

_TRIAL_LIMIT_S = 60.0
_MAX_REMEMBERED = 50
_LIBRARIES = ("onnxruntime", "openvino", "torch")

Trial = Callable[[Path, EngineKind], float | None]


def choice_file() -> Path:
    """Where choices are remembered: the service's or the user's cache folder."""
    folder = os.environ.get("CACHE_DIRECTORY") or os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "mask-gate" / "engines.json"


def try_engine(weights: Path, kind: EngineKind) -> float | None:
    """How long an engine takes for one picture, measured in a process of its own.

    Returns:
        The median in milliseconds; None where the engine cannot run the file here.
    """
    try:
        done = subprocess.run(
            module_command("gate.detector.engine_trial", str(weights), kind.value),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=module_environment(),
            timeout=_TRIAL_LIMIT_S,
            check=True,
        )
        return float(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


class EngineChoice:
    """Chooses among the engines that may run a weights file.

    Args:
        path: the file of choices; it need not exist.
        trial: measures one engine, in milliseconds.
    """

    def __init__(self, path: Path, trial: Trial = try_engine) -> None:
        self._path = path
        self._trial = trial

    def __call__(self, weights: Path, identity: str, kinds: Sequence[EngineKind]) -> EngineKind:
        """The fastest of `kinds`, the first of which is the default.

        Args:
            weights: the file, for trials.
            identity: its fingerprint.
            kinds: what may run it, at least one.
        """
        if len(kinds) == 1:
            return kinds[0]
        about = {"model": identity, "engines": [*kinds], **_circumstances()}
        key = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
        remembered = self._remembered()
        with contextlib.suppress(KeyError, TypeError, ValueError):
            kind = EngineKind(remembered[key]["engine"])
            if kind in kinds:
                return kind
        log.warning("measuring %s, once for this model on this machine", ", ".join(kinds))
        times_ms = {kind: self._trial(weights, kind) for kind in kinds}
        chosen = _fastest(times_ms)
        shown = (f"{k} {'-' if t is None else f'{t:.1f} ms'}" for k, t in times_ms.items())
        log.warning("engine %s: %s", chosen, ", ".join(shown))
        self._remember({**remembered, key: {"engine": chosen, "ms": times_ms, **about}})
        return chosen

    def _remembered(self) -> dict[str, Any]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _remember(self, content: dict[str, Any]) -> None:
        newest = dict(list(content.items())[-_MAX_REMEMBERED:])
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=self._path.parent, delete=False
            ) as file:
                json.dump(newest, file, indent=1)
            Path(file.name).replace(self._path)
        except OSError as error:
            log.warning("the engine is measured anew at each start: %s", error)


def _fastest(times_ms: dict[EngineKind, float | None]) -> EngineKind:
    """The default, or what leaves it clearly behind."""
    known = {kind: time for kind, time in times_ms.items() if time is not None}
    default = next(iter(known or times_ms))
    best = min(known, key=known.__getitem__, default=default)
    return best if known and known[best] < LEAD * known[default] else default


def _circumstances() -> dict[str, Any]:
    """What a measurement depends on besides the model."""
    versions = {}
    for library in _LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            versions[library] = version(library)
    return {"versions": versions, "cpu": cpu_name(), "threads": len(os.sched_getaffinity(0))}


def cpu_name() -> str:
    """The processor's name and a digest of what it can do, for names are sometimes vague."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    facts = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    named = {key.strip(): value.strip() for key, value in facts.items()}
    abilities = named.get("flags") or named.get("Features", "")
    digest = hashlib.sha256(abilities.encode()).hexdigest()[:8]
    return f"{named.get('model name', 'unknown')} ({digest})"
