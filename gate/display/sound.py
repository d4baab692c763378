"""Sound: tones or spoken words for people at the door; never late, never blocking."""

from __future__ import annotations

import logging
import math
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from mask_gate.gate.clock import Clock
from mask_gate.gate.domain import DENIALS, FAULTS, Reason, Signal, SignalKind
from mask_gate.gate.errors import ConfigError
from mask_gate.gate.system.threads import DoorThread

log = logging.getLogger(__name__)

_POLL_S = 0.2

LATE_S = 1.0
"""What could not begin this soon after its signal is not played at all."""

REPEAT_S = 6.0
"""The voice does not tell anybody the same thing sooner than after so long."""


class Sound(StrEnum):
    """What people at the door hear."""

    OFF = "off"
    TONES = "tones"
    VOICE = "voice"


FILES: Mapping[Sound, tuple[str, ...]] = {
    Sound.OFF: (),
    Sound.TONES: ("allow", "deny", "fault"),
    Sound.VOICE: (
        Reason.COMPLIANT,
        Reason.NO_MASK,
        Reason.MASK_INCORRECT,
        Reason.GROUP_MIXED,
        Reason.COOL_DOWN,
        "fault",
    ),
}
"""Names of the sounds, without `.wav`: tones go by what happens, words by the reason."""

_WELCOME = Reason.COMPLIANT.value
_CUT_IN = frozenset({_WELCOME, "fault"})
"""What is said at once, whatever is being said."""


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


def sound_for(signal: Signal, sound: Sound = Sound.TONES) -> str | None:
    """Name of the sound that belongs to a signal; a door that just closes again is silent.

    Only the voice has something to say to those who wait while somebody has just gone in.
    """
    if sound is Sound.VOICE:
        if signal.reason in FAULTS:
            return "fault"
        if signal.reason is Reason.LET_IN:
            return _WELCOME
        return signal.reason.value if signal.reason.value in FILES[sound] else None
    if signal.kind is SignalKind.ALLOW:
        return "allow"
    if signal.reason in DENIALS:
        return "deny"
    return "fault" if signal.reason in FAULTS else None


def check_sounds(folder: Path, sound: Sound) -> None:
    """Find out now, not at night, that a sound is missing.

    Raises:
        ConfigError: names the file.
    """
    sets = [FILES[sound]] if sound is not Sound.OFF else [FILES[Sound.TONES], FILES[Sound.VOICE]]
    missing = [[name for name in names if not (folder / f"{name}.wav").is_file()] for names in sets]
    if all(missing):
        raise ConfigError(
            f"outputs.sounds: {folder / missing[0][0]}.wav is not there; the folder needs "
            + ", ".join(f"{each}.wav" for each in sets[0])
        )


class SoundOutput:
    """Plays one sound at a time, and none that comes too late.

    A newer tone cuts the older one short. The voice finishes what it says, unless somebody may
    come in or the gate is out of order, and does not repeat itself at once.

    Args:
        folder: where the files of `FILES` are.
        play: what `find_player` found.
        sound: tones or voice.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        folder: Path,
        play: Player,
        sound: Sound = Sound.TONES,
        clock: Clock = time.monotonic,
    ) -> None:
        self._folder = folder
        self._play = play
        self._sound = sound
        self._clock = clock
        self._playing: Playing | None = None
        self._wanted: tuple[str, float] | None = None  # name, and when it was asked for
        self._said: tuple[str, float] = ("", -math.inf)
        self._broken = False
        self._closing = False
        self._changed = threading.Condition()
        # One thread starts all players: they are tied to the life of the thread that started them.
        self._worker = DoorThread(target=self._work, name="sound")
        self._worker.start()

    def send(self, signal: Signal, event: Mapping[str, object]) -> None:
        """Have the signal's sound played now; returns at once."""
        if (name := sound_for(signal, self._sound)) is not None:
            with self._changed:
                self._wanted = name, self._clock()
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
                wanted, self._wanted = self._wanted, None
            if self._playing and not self._playing.is_alive():
                self._playing = None
            if wanted is not None and not self._closing and self._is_fit(*wanted):
                self._stop()
                self._start(wanted[0])
        self._stop()

    def _is_fit(self, name: str, asked_s: float) -> bool:
        """Whether it is still to be played, beside what is being played."""
        now_s = self._clock()
        if now_s - asked_s > LATE_S:
            return False
        if self._sound is not Sound.VOICE:
            return True
        before, said_s = self._said
        if name == before and name != _WELCOME and now_s - said_s < REPEAT_S:
            return False
        if self._playing is not None and name not in _CUT_IN:
            return False
        self._said = name, now_s
        return True

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
