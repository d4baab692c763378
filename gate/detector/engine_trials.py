"""EngineTrials: measures the engines that are not well known here yet, while the gate runs.

The gate has begun with the engine that is known to be the fastest, or with the default; what is
found out counts from its next start on. Each engine is measured at two starts, and its lesser time
counts, because other work may have slowed it down.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from mask_gate.gate.detector.engine import EngineKind
from mask_gate.gate.detector.engine_choice import EngineChoice
from mask_gate.gate.detector.engines import EngineOptions
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

BEGIN_AFTER_S = 60.0
"""A gate that has just started has better things to do, and one that is tried out ends sooner."""

TRIAL_LIMIT_S = 120.0

ROUNDS = 2
"""At so many starts of the gate each engine is measured."""

_POLL_S = 0.1
_END_S = 2.0


class TrialUnfinishedError(Exception):
    """Nothing is known of the engine: it took too long, or the gate ended."""


Trial = Callable[[Path, EngineKind, threading.Event], float | None]


def try_engine(
    weights: Path, kind: EngineKind, ending: threading.Event, limit_s: float = TRIAL_LIMIT_S
) -> float | None:
    """How long an engine takes for one picture, measured in a process of its own.

    Args:
        weights: what it runs.
        kind: the engine.
        ending: set when the gate ends, and with it the process.
        limit_s: it may take so long.

    Returns:
        Milliseconds; None where the engine cannot run the file here.

    Raises:
        TrialUnfinishedError: that is not known.
    """
    command = module_command("gate.detector.engine_trial", str(weights), kind.value)
    try:
        process = start(command, stderr=subprocess.DEVNULL)
    except OSError as error:
        raise TrialUnfinishedError(str(error)) from error
    until_s = time.monotonic() + limit_s
    with process:
        while process.poll() is None:
            if ending.wait(_POLL_S) or time.monotonic() > until_s:
                process.kill()
                raise TrialUnfinishedError("it took too long, or the gate ends")
        assert process.stdout is not None
        said = process.stdout.read()
    if process.returncode < 0:
        raise TrialUnfinishedError(f"it was ended by signal {-process.returncode}")
    with contextlib.suppress(ValueError):
        return float(said)
    return None


class EngineTrials:
    """Measures in a thread of its own, one engine after the other, and keeps what it knows of each.

    Args:
        weights: the file.
        options: what may run it.
        choice: where the times are kept.
        begin_after_s: how long it waits.
        trial: measures one engine.
    """

    def __init__(
        self,
        weights: Path,
        options: EngineOptions,
        choice: EngineChoice,
        begin_after_s: float = BEGIN_AFTER_S,
        trial: Trial = try_engine,
    ) -> None:
        self._weights = weights
        self._options = options
        self._choice = choice
        self._begin_after_s = begin_after_s
        self._trial = trial
        self._ending = threading.Event()
        self._thread = DoorThread(target=self._measure, name="engine-trials")
        self._thread.start()

    def wait(self) -> None:
        """Until everything is measured, or `close`."""
        self._thread.join()

    def close(self) -> None:
        """Measure no more; a trial that runs is ended."""
        self._ending.set()
        self._thread.join(_END_S)

    def _measure(self) -> None:
        identity, kinds = self._options.identity, self._options.kinds
        times_ms = self._choice.times_ms(identity, kinds)
        missing = [kind for kind in kinds if kind not in times_ms]
        rounds = 0 if missing else self._choice.rounds(identity, kinds)
        if len(kinds) == 1 or rounds >= ROUNDS or self._choice.path is None:
            return
        if self._ending.wait(self._begin_after_s):
            return
        for kind in missing or kinds:
            try:
                took_ms = self._trial(self._weights, kind, self._ending)
            except TrialUnfinishedError as error:
                if self._ending.is_set():
                    return
                log.warning("engine %s could not be measured: %s", kind, error)
            else:
                times_ms[kind] = _lesser(times_ms.get(kind), took_ms)
                self._choice.remember(identity, kinds, times_ms, rounds)
        self._choice.remember(identity, kinds, times_ms, rounds + 1)
        shown = (f"{k} {'-' if t is None else f'{t:.1f} ms'}" for k, t in times_ms.items())
        fastest = self._choice.known(identity, kinds)
        log.warning("from the next start on, engine %s: %s", fastest, ", ".join(shown))


def _lesser(before_ms: float | None, now_ms: float | None) -> float | None:
    known = [time for time in (before_ms, now_ms) if time is not None]
    return min(known, default=None)
