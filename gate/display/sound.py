"""Sound: a chime, a low tone or an alarm for people at the door; never late, never blocking."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mask_gate.gate.domain import DENIALS, FAULTS, Signal, SignalKind
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

SOUNDS = ("allow", "deny", "fault")

_POLL_S = 0.2


class Playing(Protocol):
    """A sound that is being played."""

    def is_alive(self) -> bool:
        """Whether it still sounds; asking also clears up after a player that has ended."""

    def stop(self) -> None:
        """Cut it short."""


Player = Callable[[Path], Playing]
"""Starts a sound file and returns at once; raises OSError where it cannot."""


def find_player() -> Player | None:
    """What plays sounds on this machine, or None; looks for programs, so call it once at start."""
    logging.getLogger("playsound3").setLevel(logging.ERROR)  # we say it ourselves, in our words
    import playsound3

    if playsound3.DEFAULT_BACKEND is None:
        return None

    def play(path: Path) -> Playing:
        try:
            return playsound3.playsound(path, block=False)
        except (playsound3.PlaysoundException, subprocess.SubprocessError) as error:
            raise OSError(str(error)) from error

    return play


def sound_for(signal: Signal) -> str | None:
    """Name of the sound that belongs to a signal; a door that just closes again is silent."""
    if signal.kind is SignalKind.ALLOW:
        return "allow"
    if signal.reason in DENIALS:
        return "deny"
    return "fault" if signal.reason in FAULTS else None


def check_sounds(folder: Path) -> None:
    """Find out now, not at night, that a sound is missing.

    Raises:
        ConfigError: names the file.
    """
    for name in SOUNDS:
        if not (folder / f"{name}.wav").is_file():
            raise ConfigError(
                f"outputs.sounds: {folder / name}.wav is not there; the folder needs "
                + ", ".join(f"{each}.wav" for each in SOUNDS)
            )


class SoundOutput:
    """Plays `allow.wav`, `deny.wav` or `fault.wav`; a newer signal cuts an older sound short.

    Args:
        folder: where the three files are.
        play: what `find_player` found.
    """

    def __init__(self, folder: Path, play: Player) -> None:
        self._folder = folder
        self._play = play
        self._playing: Playing | None = None
        self._wanted: str | None = None
        self._broken = False
        self._closing = False
        self._changed = threading.Condition()
        # One thread starts all players: they are tied to the life of the thread that started them.
        self._worker = DoorThread(target=self._work, name="sound")
        self._worker.start()

    def send(self, signal: Signal, event: Mapping[str, object]) -> None:
        """Have the signal's sound played now, instead of whatever sounds."""
        if (name := sound_for(signal)) is not None:
            with self._changed:
                self._wanted = name
                self._changed.notify()

    def close(self) -> None:
        """Silence."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._worker.join(timeout=1.0)

    def _work(self) -> None:
        while not self._closing:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._wanted or self._closing, _POLL_S if self._playing else None
                )
                name, self._wanted = self._wanted, None
            if name is not None and not self._closing:
                self._stop()
                self._start(name)
            elif self._playing and not self._playing.is_alive():
                self._playing = None
        self._stop()

    def _start(self, name: str) -> None:
        try:
            self._playing = self._play(self._folder / f"{name}.wav")
        except OSError as error:
            if not self._broken:
                log.warning("no sound: %s", error)
            self._broken = True

    def _stop(self) -> None:
        if self._playing is not None:
            self._playing.stop()
            self._playing = None
