"""Speaks the prompts of the gate: `python assets/make_voice.py [--out assets/voice]`.

By eSpeak NG (`apt-get install espeak-ng`), in each language that the gate brings. Each file is
16 kHz mono, without the silence that the engine leaves around it.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mask_gate.assets.make_sounds import write_wav

RATE_HZ = 16_000
PEAK = 0.7  # of full scale: speech is loud for moments only
WORDS_PER_MINUTE = 150
SILENT = 0.01  # of full scale
EDGE_S = 0.03

VOICES = {"en": "en-gb", "ko": "ko"}

PROMPTS = {
    "en": {
        "compliant": "Thank you. Please come in.",
        "no_mask": "Please put on your mask.",
        "mask_incorrect": "Please cover your nose and mouth.",
        "group_mixed": "Everyone needs a mask, please.",
        "cool_down": "One at a time, please.",
        "fault": "This door is out of order. Please ask the staff.",
    },
    "ko": {
        "compliant": "감사합니다. 들어오세요.",
        "no_mask": "마스크를 써 주세요.",
        "mask_incorrect": "코와 입을 가려 주세요.",
        "group_mixed": "모두 마스크를 써 주세요.",
        "cool_down": "한 분씩 들어오세요.",
        "fault": "문이 고장입니다. 직원에게 문의하세요.",
    },
}

Sound = NDArray[np.float64]


def spoken(text: str, voice: str) -> tuple[Sound, int]:
    """What the engine says, [N] in -1..1, and its rate in Hz."""
    command = ["espeak-ng", "-v", voice, "-s", str(WORDS_PER_MINUTE), "--stdout", text]
    done = subprocess.run(command, check=True, capture_output=True, timeout=60)
    # Written to a pipe, the header knows no length: what follows it is all there is.
    with wave.open(io.BytesIO(done.stdout)) as file:
        rate_hz = file.getframerate()
    samples = np.frombuffer(done.stdout[44:], "<i2")
    return samples / 32768, rate_hz


def resampled(sound: Sound, rate_hz: int) -> Sound:
    """At `RATE_HZ`: what lies above the half of that is left out of its spectrum."""
    count = round(len(sound) * RATE_HZ / rate_hz)
    spectrum = np.fft.rfft(sound)
    kept = np.zeros(count // 2 + 1, complex)
    shared = min(len(kept), len(spectrum))
    kept[:shared] = spectrum[:shared]
    whole: Sound = np.fft.irfft(kept, count) * count / len(sound)
    return whole


def trimmed(sound: Sound) -> Sound:
    """From the first to the last that can be heard, with a soft edge on both sides."""
    loud = np.flatnonzero(np.abs(sound) > SILENT)
    edge = round(EDGE_S * RATE_HZ)
    part = sound[max(0, loud[0] - edge) : loud[-1] + edge].copy()
    slope = np.linspace(0.0, 1.0, edge)
    part[:edge] *= slope
    part[-edge:] *= slope[::-1]
    return part


def main(argv: list[str] | None = None) -> int:
    """Write a folder of prompts for each language."""
    parser = argparse.ArgumentParser(description="Speak the prompts of the gate.")
    default = Path(__file__).resolve().parent / "voice"
    parser.add_argument("--out", type=Path, default=default, help="folder to write to")
    folder = parser.parse_args(argv).out
    for language, prompts in PROMPTS.items():
        (folder / language).mkdir(parents=True, exist_ok=True)
        for name, text in prompts.items():
            sound = trimmed(resampled(*spoken(text, VOICES[language])))
            write_wav(folder / language / f"{name}.wav", sound, RATE_HZ, PEAK)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
