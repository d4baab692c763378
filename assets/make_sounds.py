"""Draws the three sounds of the gate: `python assets/make_sounds.py [--out assets/sounds]`.

allow.wav is a short rising chime, deny.wav a low falling pair of tones, fault.wav three pulses.
"""

from __future__ import annotations

import argparse
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RATE_HZ = 22_050
PEAK = 0.5  # of full scale: clear beside a door, far from clipping

Sound = NDArray[np.float64]

# Pitches in Hz, equal temperament.
G3, C4, A4, E5, B5 = 196.00, 261.63, 440.00, 659.26, 987.77


def tone(pitch_hz: float, length_s: float, overtones: tuple[float, ...] = (1.0,)) -> Sound:
    """Sine with overtones, [N] in -1..1; `overtones` are the strengths of 1, 2, 3... times it."""
    time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    waves = [
        strength * np.sin(2 * np.pi * number * pitch_hz * time_s)
        for number, strength in enumerate(overtones, start=1)
    ]
    whole: Sound = np.sum(waves, axis=0) / sum(overtones)
    return whole


def bell(sound: Sound, decay_s: float) -> Sound:
    """Struck: at once there, then dying away."""
    time_s = np.arange(len(sound)) / RATE_HZ
    return eased(sound * np.exp(-time_s / decay_s))


def eased(sound: Sound, edge_s: float = 0.008) -> Sound:
    """Without the clicks of a hard start or end."""
    edge = round(edge_s * RATE_HZ)
    slope = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
    shaped = sound.copy()
    shaped[:edge] *= slope
    shaped[-edge:] *= slope[::-1]
    return shaped


def silence(length_s: float) -> Sound:
    """Nothing, for so long."""
    return np.zeros(round(length_s * RATE_HZ))


def mixed(*parts: tuple[float, Sound]) -> Sound:
    """Sounds laid over each other, each from its own second on."""
    starts = [(round(at_s * RATE_HZ), sound) for at_s, sound in parts]
    whole = np.zeros(max(start + len(sound) for start, sound in starts))
    for start, sound in starts:
        whole[start : start + len(sound)] += sound
    return whole


def allow() -> Sound:
    """A rising fifth on a small bell."""
    glass = (1.0, 0.3, 0.12)
    return mixed((0.0, bell(tone(E5, 0.5, glass), 0.16)), (0.13, bell(tone(B5, 0.75, glass), 0.22)))


def deny() -> Sound:
    """A falling fourth, low and woody."""
    wood = (1.0, 0.5, 0.35, 0.1)
    return np.concatenate(
        [eased(tone(C4, 0.20, wood), 0.02), silence(0.04), eased(tone(G3, 0.38, wood), 0.04)]
    )


def fault() -> Sound:
    """Three even pulses."""
    pulse = eased(tone(A4, 0.14, (1.0, 0.0, 0.4)), 0.02)
    return np.concatenate([pulse, silence(0.12), pulse, silence(0.12), pulse])


SOUNDS = {"allow": allow, "deny": deny, "fault": fault}


def write_wav(path: Path, sound: Sound, rate_hz: int = RATE_HZ, peak: float = PEAK) -> None:
    """Write 16-bit mono, as loud as `peak` of full scale."""
    samples = np.rint(sound / np.abs(sound).max() * peak * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.tobytes())


def main(argv: list[str] | None = None) -> int:
    """Write the three files."""
    parser = argparse.ArgumentParser(description="Draw the sounds of the gate.")
    default = Path(__file__).resolve().parent / "sounds"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    folder = parser.parse_args(argv).out
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in SOUNDS.items():
        write_wav(folder / f"{name}.wav", make())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
