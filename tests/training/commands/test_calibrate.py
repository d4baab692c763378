"""mask-gate-calibrate: what it may look at, what it writes, and what it refuses in one sentence."""

import pytest
import torch

from mask_gate.models.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.zoo import build
from mask_gate.models.operating_point import Calibration
from mask_gate.training.commands import calibrate
from mask_gate.training.commands.calibrate import main
from mask_gate.training.evaluation.calibration import Reliability
from mask_gate.training.evaluation.choose_operating_point import Fit
from mask_gate.training.evaluation.presentations import WAYS


def save(path, training=(), architecture="yolov3_tiny", size=96, point=None):
    torch.manual_seed(3)
    network = build(architecture)
    checkpoint = Checkpoint(architecture, network.state_dict(), network.scales, size)
    checkpoint.training, checkpoint.operating_point = dict(training), point
    save_checkpoint(path, checkpoint)
    return str(path)


@pytest.fixture
def flags(tmp_path, drawn_dataset):
    return ["--data", str(drawn_dataset), "--out", str(tmp_path / "out.pth")]


@pytest.fixture
def fitted(monkeypatch, operating_point):
    """A detector that was never trained tells nothing; this is what one that was would give."""
    empty = Reliability.of(*torch.zeros(2, 0).numpy())
    seen = []

    def fit(samples, predictions, size, aims, named, shown=None):
        seen.append(named | {"shown": shown})
        return Fit(operating_point.model_copy(update=named), empty, empty)

    monkeypatch.setattr(calibrate, "fit_operating_point", fit)
    return seen


def test_what_was_fitted_on_one_is_folded_into_the_other(flags, tmp_path, fitted, capsys):
    final, dev = save(tmp_path / "final.pth"), save(tmp_path / "dev.pth")
    assert main(["--weights", final, "--fit-on", dev, *flags]) == 0
    assert "do not say what they were trained on" in capsys.readouterr().out
    written = load_checkpoint(tmp_path / "out.pth")
    point = written.operating_point
    assert set(point.classes) == set(CLASS_NAMES)
    assert point.fitted_with == fingerprint(tmp_path / "dev.pth")
    assert written.progress is None
    line = point.calibration
    assert isinstance(line, Calibration)
    before = load_checkpoint(tmp_path / "final.pth").network().fine_head[-1]
    after = written.network().fine_head[-1]
    torch.testing.assert_close(after.weight[4], before.weight[4] * line.slope)
    torch.testing.assert_close(after.bias[4], before.bias[4] * line.slope + line.offset)
    torch.testing.assert_close(after.weight[5], before.weight[5] * line.class_slope)
    torch.testing.assert_close(after.weight[:4], before.weight[:4])


def test_faces_are_shown_in_every_way_if_asked(draw, tmp_path, fitted):
    data = draw(tmp_path / "large", train=1, valid=2, size_wh=(480, 360))
    weights = save(tmp_path / "final.pth")
    command = ["--weights", weights, "--data", str(data), "--out", str(tmp_path / "out.pth")]
    assert main([*command, "--presentations"]) == 0
    shown = fitted[0]["shown"]
    ways = sum(way.is_core for way in WAYS)
    assert len(shown.images) % ways == 0
    assert set(shown.images.tolist()) <= {0, 1}
    assert (shown.truth >= 0).all()
    assert f"{len(shown.images)} presentations" in fitted[0]["fitted_on"]


def test_weights_that_may_have_seen_the_images_are_refused(flags, tmp_path, fitted, capsys):
    weights = save(tmp_path / "a.pth", {"data": "of another split", "config": {}})
    assert main(["--weights", weights, *flags]) == 2
    assert "another split of the data, which may hold these images" in capsys.readouterr().err
    assert not fitted
    assert not (tmp_path / "out.pth").exists()


def test_weights_are_calibrated_once(flags, tmp_path, operating_point, capsys):
    weights = save(tmp_path / "a.pth", point=operating_point)
    assert main(["--weights", weights, *flags]) == 2
    assert "calibrated already" in capsys.readouterr().err


def test_what_is_taken_over_is_of_the_same_kind(flags, tmp_path, capsys):
    final, dev = save(tmp_path / "final.pth"), save(tmp_path / "dev.pth", size=64)
    assert main(["--weights", final, "--fit-on", dev, *flags]) == 2
    assert "expected input_size 96, as of --weights, got 64" in capsys.readouterr().err


@pytest.mark.parametrize("share", ["0", "1", "nan"])
def test_an_aim_that_is_no_share_is_refused(flags, tmp_path, share, capsys):
    assert main(["--weights", save(tmp_path / "a.pth"), "--min-face", share, *flags]) == 2
    assert f"--min-face {share}: expected a share" in capsys.readouterr().err


def test_weights_that_are_not_there_exit_4(flags, capsys):
    assert main(["--weights", "none.pth", *flags]) == 4
    assert "no such file" in capsys.readouterr().err
