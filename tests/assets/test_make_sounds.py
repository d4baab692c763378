"""The sounds: those in the repository are those that the script draws, and fit to be heard."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

ASSETS = Path(__file__).resolve().parents[2] / "assets"
NAMES = ("allow", "deny", "fault")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A folder of freshly drawn sounds."""
    folder = tmp_path_factory.mktemp("sounds") / "new"
    command = [sys.executable, str(ASSETS / "make_sounds.py"), "--out", str(folder)]
    subprocess.run(command, check=True, timeout=60)
    return folder


def read(path):
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return samples.astype(float) / 32768, file.getframerate()


@pytest.mark.parametrize("name", NAMES)
def test_the_script_draws_what_is_in_the_repository(drawn, name):
    new, new_rate = read(drawn / f"{name}.wav")
    kept, kept_rate = read(ASSETS / "sounds" / f"{name}.wav")
    assert new_rate == kept_rate
    assert new.shape == kept.shape
    assert np.abs(new - kept).max() <= 2 / 32768  # sines may differ in the last bit


@pytest.mark.parametrize("name", NAMES)
def test_is_short_clear_and_without_clicks(name):
    sound, rate = read(ASSETS / "sounds" / f"{name}.wav")
    assert 0.3 <= len(sound) / rate <= 1.0
    assert 0.4 <= np.abs(sound).max() <= 0.6
    assert abs(sound[0]) < 0.01
    assert abs(sound[-1]) < 0.01
    assert np.abs(np.diff(sound)).max() < 0.25
    assert abs(sound.mean()) < 0.01


def loudest_hz(sound, rate):
    """Frequency with the most energy."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return np.fft.rfftfreq(len(sound), 1 / rate)[spectrum.argmax()]


def halves(name):
    sound, rate = read(ASSETS / "sounds" / f"{name}.wav")
    return (loudest_hz(part, rate) for part in (sound[: rate // 10], sound[-rate // 4 :]))


def test_allow_rises_high_and_deny_falls_low():
    allow_first, allow_last = halves("allow")
    deny_first, deny_last = halves("deny")
    assert allow_last > allow_first > 500
    assert deny_last < deny_first < 300


def test_fault_is_three_pulses():
    sound, _ = read(ASSETS / "sounds" / "fault.wav")
    loud = np.abs(sound[: len(sound) // 100 * 100]).reshape(-1, 100).max(1) > 0.05
    assert np.count_nonzero(np.diff(np.concatenate([[False], loud]).astype(int)) == 1) == 3
