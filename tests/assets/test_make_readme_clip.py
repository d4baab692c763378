"""The README's clip is ten seconds of what the program shows of its demo: refused, then let in."""

import importlib.util
from typing import NamedTuple

import cv2
import numpy as np
import pytest

MOST_BYTES = 3_000_000
DENY_BGR, ALLOW_BGR = (7, 94, 213), (117, 158, 6)
"""Of the large sign at the lower left, orange and green (`gate.display.drawing`)."""


class Clip(NamedTuple):
    """An animation read back; frames are [H, W, 3] BGR."""

    frames: list[np.ndarray]
    durations_ms: list[int]
    loops: int


def read(path):
    found, animation = cv2.imreadanimation(str(path))
    assert found, path
    frames = [frame[:, :, :3].astype(int) for frame in animation.frames]
    return Clip(frames, [int(ms) for ms in animation.durations], animation.loop_count)


def colours_of_sign(frame):
    """How many pixels of the sign are of either colour, within what compression does to them."""
    sign = frame[-70:, :60]
    return [int((abs(sign - colour).max(axis=2) < 40).sum()) for colour in (DENY_BGR, ALLOW_BGR)]


@pytest.fixture(scope="module")
def shipped(repo_root):
    return read(repo_root / "assets/readme/demo.webp")


def test_it_runs_ten_seconds_again_and_again_and_is_small(shipped, repo_root):
    assert sum(shipped.durations_ms) == 10_000
    assert len(shipped.frames) == 150
    assert {frame.shape for frame in shipped.frames} == {(360, 480, 3)}
    assert shipped.loops == 0
    assert (repo_root / "assets/readme/demo.webp").stat().st_size < MOST_BYTES


def test_it_shows_a_refusal_first_and_an_opening_last(shipped):
    deny, allow = colours_of_sign(shipped.frames[30])
    assert deny > 500 > 50 > allow
    deny, allow = colours_of_sign(shipped.frames[-1])
    assert allow > 500 > 50 > deny


def seen_from_afar(frame):
    """A frame in a size in which no video codec's own pixels matter."""
    return cv2.resize(frame.astype(np.float32), (60, 45), interpolation=cv2.INTER_AREA)


@pytest.mark.slow
def test_the_script_makes_it(shipped, repo_root, tmp_path, monkeypatch):
    """With another model or machine a label may differ for a moment, and no more."""
    path = repo_root / "assets/make_readme_clip.py"
    spec = importlib.util.spec_from_file_location("make_readme_clip", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out = tmp_path / "demo.webp"
    monkeypatch.setattr("sys.argv", [str(path), "--out", str(out)])
    assert script.main() == 0
    made = read(out)
    assert made.durations_ms == shipped.durations_ms
    differs = [
        abs(seen_from_afar(a) - seen_from_afar(b)).mean()
        for a, b in zip(made.frames, shipped.frames, strict=True)
    ]
    assert np.median(differs) < 3.0  # a second later or earlier it would be 11
    assert np.mean(np.array(differs) > 6.0) < 0.05
