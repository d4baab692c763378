"""The voice: every prompt is there in every language, and fit to be heard."""

import importlib.util
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from mask_gate.gate.display.sound import FILES, Sound
from mask_gate.gate.display.texts import language_codes

ASSETS = Path(__file__).resolve().parents[2] / "assets"
VOICE = ASSETS / "voice"
PROMPTS = [(code, name) for code in language_codes() for name in FILES[Sound.VOICE]]


def read(path):
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16_000)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768


def script():
    spec = importlib.util.spec_from_file_location("make_voice", ASSETS / "make_voice.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(("code", "name"), PROMPTS)
def test_a_prompt_is_short_loud_enough_and_not_clipped(code, name):
    sound = read(VOICE / code / f"{name}.wav")
    assert 1.0 < len(sound) / 16_000 < 4.0
    assert 0.65 < np.abs(sound).max() < 0.75
    assert np.sqrt(np.mean(sound**2)) > 0.05
    assert max(abs(sound[0]), abs(sound[-1])) < 0.01
    assert abs(sound.mean()) < 0.01


def test_there_are_words_for_each_and_no_file_besides():
    words = script().PROMPTS
    assert {(code, name) for code in words for name in words[code]} == set(PROMPTS)
    files = {(path.parent.name, path.stem) for path in VOICE.glob("*/*")}
    assert files == set(PROMPTS)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="apt-get install espeak-ng")
def test_the_script_speaks_them_anew(tmp_path):
    command = [sys.executable, str(ASSETS / "make_voice.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True, timeout=300)
    for code, name in PROMPTS:
        kept, new = read(VOICE / code / f"{name}.wav"), read(tmp_path / code / f"{name}.wav")
        assert len(new) == pytest.approx(len(kept), rel=0.2)  # of whichever version it is
