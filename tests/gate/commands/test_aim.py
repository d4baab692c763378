"""`mask-gate --aim`: what is said about a camera, with a detector that the test plays."""

import contextlib

import cv2
import numpy as np
import pytest

from mask_gate.gate.commands.aim import aim
from mask_gate.gate.commands.gate import main
from mask_gate.gate.config.schema import parse_config
from mask_gate.gate.errors import ConfigError, ModelError
from mask_gate.gate.runtime.parts import Parts, open_source
from mask_gate.models.detections import Detections


class Detector:
    """Sees one face, but where it is told to fail."""

    operating_point = None

    def __init__(self):
        self.faults = 0

    def __call__(self, frame, camera=0):
        if self.faults:
            self.faults -= 1
            raise ModelError("the answer came late")
        return Detections(
            np.array([[100, 100, 180, 220], [0, 0, 9, 9]], np.float32),
            np.array([0.9, 0.01], np.float32),
            np.zeros(2, np.int64),
            np.array([0.8, 0.0], np.float32),
        )


@pytest.fixture
def folder(repo_root, tmp_path):
    image = cv2.imread(str(repo_root / "assets/selftest/with_mask.jpg"))
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), cv2.resize(image, (640, 480)))
    return tmp_path


@pytest.mark.parametrize("faults", [0, 1])
def test_it_says_what_is_measured_and_what_to_change_until_the_clip_is_over(folder, faults):
    config = parse_config(f"camera: {{source: '{folder}', folder_fps: 20}}", "gate.yaml")
    detector, said = Detector(), []
    detector.faults = faults
    parts = Parts(open_source, lambda config, mode: contextlib.nullcontext(detector))
    assert aim(config, headless=True, seconds=None, say=said.append, parts=parts) == 0
    assert said[:faults] == ["the answer came late"] * faults
    assert said[faults].startswith("640 x 480; light ")
    assert "face 120 px, 25% of the picture's height ->" in said[faults]


def test_it_is_for_one_camera(tmp_path, capsys):
    path = tmp_path / "gate.yaml"
    path.write_text("doors:\n  a: {camera: {source: '0'}}\n  b: {camera: {source: '1'}}\n")
    assert main(["--config", str(path), "--aim"]) == ConfigError.exit_code
    assert "give --camera" in capsys.readouterr().err
