"""The detector: a checkpoint and frames in, faces in frame pixels out; nothing odd gets through."""

from pathlib import Path

import numpy as np
import pytest
import torch

from gate.detector import Detector
from gate.domain import Frame
from gate.errors import ModelError
from models.checkpoint import Checkpoint, save_checkpoint
from models.zoo import build


def frame(height=120, width=160, seed=0):
    image = np.random.default_rng(seed).integers(0, 255, (height, width, 3)).astype(np.uint8)
    return Frame(image, 0.0, 0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network that sees faces everywhere: its objectness bias is turned up."""
    torch.manual_seed(0)
    network = build("yolov3_tiny")
    with torch.no_grad():
        for output in network.head_outputs():
            output.bias.view(3, 8)[:, 4] = 3.0
    path = tmp_path_factory.mktemp("weights") / "a.pth"
    save_checkpoint(path, Checkpoint("yolov3_tiny", network.state_dict(), network.scales, 96))
    return path


def test_faces_come_in_frame_pixels_best_first(weights):
    found = Detector(weights, "cpu")(frame())
    assert len(found) > 0
    assert (found.boxes_xyxy >= 0).all()
    assert (found.boxes_xyxy <= [160, 120, 160, 120]).all()
    assert (np.diff(found.scores) <= 0).all()


def test_the_same_frame_gives_the_same_answer_whatever_came_between(weights):
    detector = Detector(weights, "cpu")
    first = detector(frame())
    detector(frame(200, 100, seed=1))
    again = detector(frame())
    np.testing.assert_array_equal(first.boxes_xyxy, again.boxes_xyxy)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_the_frame_is_not_written_to(weights):
    shown = frame()
    before = shown.image.copy()
    Detector(weights, "cpu")(shown)
    np.testing.assert_array_equal(shown.image, before)


def test_a_high_threshold_leaves_nothing(weights):
    assert len(Detector(weights, "cpu", score_threshold=0.999)(frame())) == 0


def test_the_checkpoints_own_threshold_counts(weights, tmp_path):
    network = build("yolov3_tiny")
    checkpoint = Checkpoint("yolov3_tiny", network.state_dict(), network.scales, 96)
    checkpoint.thresholds = {"score": 0.42}
    save_checkpoint(tmp_path / "b.pth", checkpoint)
    assert Detector(tmp_path / "b.pth", "cpu").score_threshold == 0.42


def test_the_model_id_is_the_files_fingerprint(weights):
    detector = Detector(weights, "cpu")
    assert detector.model_id.startswith("sha256:")
    assert len(detector.model_id) == len("sha256:") + 64


def test_an_answer_that_is_not_a_number_rejects_the_whole_frame(weights):
    detector = Detector(weights, "cpu")
    real = detector.engine

    class OneNan:
        input_size = real.input_size

        def __call__(self, square):
            rows = real(square)
            rows[-1, 4] = np.nan
            return rows

    detector.engine = OneNan()
    with pytest.raises(ModelError, match="not finite; this frame does not count"):
        detector(frame())


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "no such file"), (b"", "damaged"), (b"not weights at all", "damaged|refused")],
)
def test_a_file_that_is_no_model_is_refused(tmp_path, content, complaint):
    path = tmp_path / "a.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelError, match=complaint):
        Detector(path, "cpu")


@pytest.mark.parametrize("device", ["cuda:9", "gpu", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(weights, device):
    with pytest.raises(ModelError, match="device"):
        Detector(weights, device)
