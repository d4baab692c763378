"""Where the files lie that come with the program."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

ASSETS = _ROOT / "assets"
CONFIGS = _ROOT / "configs"
BUNDLED_WEIGHTS = ASSETS / "weights" / "mask-gate-lite.pth"
BUNDLED_INPUT_SIZES = (512, 416, 320)
"""At which the bundled weights were measured (docs/benchmarks.md), their own size first."""

SAMPLE_FACES = ASSETS / "faces"
"""Few labelled pictures, for who has no data set: a folder with `labels.json`."""
