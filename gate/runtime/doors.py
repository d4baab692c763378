"""Doors: the doors of one process, one or several, each with a loop in a thread of its own.

They share the detector's process, the console, the terminal and the supervisor, and nothing else:
each has its own camera, policy, door, record, relays and guardians, and what fails of these is one
door's. Where there are several, a door that cannot be had, or whose loop breaks, is locked and
tried again while the others go on; without the detector all of them are locked. Where there is one,
its fault ends the gate (`AfterFault`).
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable
from functools import partial

from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.gate.runtime.door_run import DoorRun, Shared
from mask_gate.gate.runtime.doors_status import DoorsStatus
from mask_gate.gate.runtime.loop import Summary
from mask_gate.gate.runtime.open_once import OpenOnce
from mask_gate.gate.runtime.parts import (
    REAL_PARTS,
    Parts,
    desks_of,
    open_console,
    open_notifier,
    views_of,
)
from mask_gate.gate.runtime.run_mode import AfterFault, RunMode
from mask_gate.gate.runtime.signals import Signals
from mask_gate.gate.system.systemd import Supervisor
from mask_gate.gate.system.terminal import Terminal

RETRY_S = 5.0
"""A door that could not be had is tried again after so long, then after twice that, and so on."""

_LOOK_S = 0.5


class Doors:
    """The doors of a gate, from their first lock to their last.

    Args:
        config: of the gate.
        mode: how it is run.
        terminal: takes lines for people.
        supervisor: hears of progress when every loop has turned.
        heeds_hangup: see `gate.system.shutdown.Shutdown`.
        parts: what cameras and detector are opened by.
        retry_s: first pause before a door is tried again.
    """

    def __init__(
        self,
        config: GateConfig,
        mode: RunMode,
        terminal: Terminal,
        supervisor: Supervisor,
        *,
        heeds_hangup: Callable[[], bool] = lambda: True,
        parts: Parts = REAL_PARTS,
        retry_s: float = RETRY_S,
    ) -> None:
        doors, views, desks = config.each_door(), views_of(config), desks_of(config)
        self._mode = mode
        self._ending = threading.Event()
        self._signals = Signals(self._ending, heeds_hangup)
        self._status = DoorsStatus(supervisor, tuple(doors))
        self._console = OpenOnce(partial(open_console, config, views, desks, terminal.say))
        self._notifier = OpenOnce(partial(open_notifier, config))
        self._detector = OpenOnce(partial(parts.open_detector, config, mode))
        shared = Shared(
            mode=mode,
            parts=parts,
            terminal=terminal,
            status=self._status,
            signals=self._signals,
            console=self._console,
            notifier=self._notifier,
            detector=self._detector,
            ending=self._ending,
            retry_s=retry_s,
        )
        self._runs = [
            DoorRun(
                name,
                number,
                door,
                None if views is None else views[number],
                desks[number],
                shared,
            )
            for number, (name, door) in enumerate(doors.items())
        ]

    @property
    def summaries(self) -> dict[str, Summary]:
        """What the newest loop of each door came to, by its name, once that has ended."""
        return {run.name: run.summary for run in self._runs if run.summary is not None}

    def watch(self) -> int:
        """Hold the doors until all clips are over, the time is up, or somebody wants an end.

        Returns:
            The exit code.

        Raises:
            GateError: of the only door, any; of several, a ConfigError where a door cannot ever be
                had, a ModelError where the detector cannot, an OutputError where a last lock did
                not work.
        """
        with self._signals, contextlib.ExitStack() as shared:
            try:
                shared.callback(self._detector.close)
                shared.callback(self._console.close)
                shared.callback(self._notifier.close)
                for run in self._runs:
                    run.start()
                if self._mode.after_fault is AfterFault.RETRY:
                    self._open_what_is_shared()
                    self._wait_until_up(self._mode.seconds)
                else:
                    self._runs[0].join()
            finally:
                self._end_loops()
        self._raise_what_remains()
        return self._signals.exit_code

    def _open_what_is_shared(self) -> None:
        """Console and detector wait for no door; each is being locked by now."""
        self._console.get()
        self._detector.get()
        self._status.ready()

    def _wait_until_up(self, seconds: float | None) -> None:
        """Until no door is held any more; a gate none of whose doors can be had does not hang."""
        until_s = math.inf if seconds is None else time.monotonic() + seconds
        while held := [run for run in self._runs if run.is_held]:
            left_s = until_s - time.monotonic()
            if left_s <= 0:
                return
            held[0].join(min(_LOOK_S, left_s))
            if not self._status.is_any_watched:
                self._status.progress()

    def _end_loops(self) -> None:
        """While there is a detector: the last frames are no fault."""
        self._ending.set()
        for run in self._runs:
            run.join()
        self._signals.all_loops_ended()
        self._status.stopping()

    def _raise_what_remains(self) -> None:
        """Raise what ended the only door; of several, what keeps one from being had or locked.

        One of several that had no camera ends as it was, locked.
        """
        if self._mode.after_fault is AfterFault.END:
            for run in self._runs:
                if run.fault is not None:
                    raise run.fault
        for run in self._runs:
            if isinstance(run.fault, ConfigError):
                raise ConfigError(f"door {run.name}: {run.fault}")
        unlocked = [
            f"door {run.name}: {run.fault}"
            for run in self._runs
            if isinstance(run.fault, OutputError)
        ]
        if unlocked:
            raise OutputError("; ".join(unlocked))
