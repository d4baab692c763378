"""Checkpoints: bit-equal after a round trip, atomic, and refused when anything is odd."""

import os
import pickle
import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mask_gate.models.files import checkpoint as module
from mask_gate.models.files.checkpoint import (
    Checkpoint,
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
)
from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.networks.zoo import build


@pytest.fixture
def lite():
    torch.manual_seed(1)
    network = build("yolov3_lite")
    return Checkpoint("yolov3_lite", network.state_dict(), network.scales, 416)


def test_saving_and_loading_gives_bit_equal_outputs(lite, tmp_path):
    save_checkpoint(tmp_path / "a.pth", lite)
    images = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        before = lite.network().predict(images)
        after = load_checkpoint(tmp_path / "a.pth").network().predict(images)
    assert torch.equal(before, after)


def test_everything_else_comes_back_too(lite, operating_point, tmp_path):
    lite.operating_point = operating_point
    lite.metrics = {"valid": {"map50": 0.8}}
    lite.training = {"config": {"name": "x"}}
    save_checkpoint(tmp_path / "a.pth", lite)
    back = load_checkpoint(tmp_path / "a.pth")
    for name in ("architecture", "scales", "input_size", "operating_point", "metrics", "training"):
        assert getattr(back, name) == getattr(lite, name)
    assert back.classes == CLASS_NAMES


def test_a_swapped_class_order_is_refused(lite, tmp_path):
    lite.classes = (CLASS_NAMES[1], CLASS_NAMES[0], CLASS_NAMES[2])
    save_checkpoint(tmp_path / "a.pth", lite)
    with pytest.raises(CheckpointError, match="in this order, got"):
        load_checkpoint(tmp_path / "a.pth")


class Canary:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_pickled_code_is_refused_and_never_runs(tmp_path, write):
    canary = tmp_path / "ran"
    write({"format": module.FORMAT, "weights": Canary(canary)}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=r"refused|damaged"):
        load_checkpoint(tmp_path / "a.pth")
    assert not canary.exists()


def test_the_switch_that_lets_weights_run_code_is_refused(lite, tmp_path, monkeypatch):
    save_checkpoint(tmp_path / "a.pth", lite)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(CheckpointError, match="unset it"):
        load_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(lite, tmp_path, part):
    path = tmp_path / "a.pth"
    save_checkpoint(path, lite)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(CheckpointError, match=r"a\.pth"):
        load_checkpoint(path)


TEXT = b"root:x:0:0:root:/root:/bin/bash\n"  # whose first letters are opcodes of a pickle


@given(st.one_of(st.binary(max_size=300), st.binary(max_size=60).map(lambda b: TEXT + b)))
@example(TEXT)
def test_any_bytes_are_refused_in_one_sentence(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"a\.pth: "):
            load_checkpoint(path)


@given(st.data())
@settings(max_examples=40)
def test_a_damaged_file_is_refused_or_still_the_same_kind_of_thing(small, data):
    """Bytes flipped anywhere: one sentence, or a checkpoint whose weights are finite."""
    content = bytearray(small)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.pth"
        path.write_bytes(content)
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            return
        assert all(torch.isfinite(t).all() for t in found.weights.values())


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A checkpoint of a few bytes: reading does not look at what the weights fit."""
    path = tmp_path_factory.mktemp("small") / "a.pth"
    scales = build("yolov3_lite").scales
    save_checkpoint(path, Checkpoint("yolov3_lite", {"a": torch.ones(3)}, scales, 416))
    return path.read_bytes()


def test_other_files_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no such file"):
        load_checkpoint(tmp_path / "none.pth")
    torch.save({"weights": {}}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match="expected a file of format"):
        load_checkpoint(tmp_path / "bare.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="got a list"):
        load_checkpoint(tmp_path / "list.pth")


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": ["yolov3_lite"]},
        {"classes": 5},
        {"weights": None},
        {"weights": {"a": 1}},
        {"weights": {1: torch.zeros(1)}},
        {"scales": [{"stride": 8}]},
        {"scales": [{"stride": "wide", "anchors_wh": []}]},
        {"scales": 3},
        {"input_size": None},
        {"input_size": 416.0},
        {"input_size": 0},
        {"input_size": -32},
        {"input_size": 100},
        {"input_size": 32 * 10**9},
        {"operating_point": [0.5]},
        {"operating_point": {}},
        {"operating_point": {"score": 0.5}},
        {"metrics": 1},
        {"progress": 1},
    ],
)
def test_a_field_of_another_kind_is_refused_in_a_sentence(lite, tmp_path, changes):
    save_checkpoint(tmp_path / "a.pth", lite)
    content = torch.load(tmp_path / "a.pth", weights_only=True) | changes
    torch.save(content, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match=r"b\.pth"):
        load_checkpoint(tmp_path / "b.pth")


def test_a_missing_field_is_refused_by_its_name(lite, tmp_path):
    save_checkpoint(tmp_path / "a.pth", lite)
    content = torch.load(tmp_path / "a.pth", weights_only=True)
    for name in content.keys() - {"format", "operating_point"}:
        torch.save({k: v for k, v in content.items() if k != name}, tmp_path / "b.pth")
        with pytest.raises(CheckpointError, match=f"lacks or garbles a field .*{name}"):
            load_checkpoint(tmp_path / "b.pth")
    torch.save({"format": module.FORMAT}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="lacks or garbles"):
        load_checkpoint(tmp_path / "b.pth")


def test_weights_of_another_network_are_refused(lite, tmp_path):
    lite.architecture = "yolov3_tiny"
    save_checkpoint(tmp_path / "a.pth", lite)
    with pytest.raises(CheckpointError, match="do not fit yolov3_tiny"):
        load_checkpoint(tmp_path / "a.pth").network()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_neither_written_nor_read(lite, tmp_path, value):
    path = tmp_path / "a.pth"
    save_checkpoint(path, lite)
    before = path.read_bytes()
    lite.weights["trunk.stem.0.weight"] = torch.full_like(
        lite.weights["trunk.stem.0.weight"], value
    )
    with pytest.raises(CheckpointError, match="not finite"):
        save_checkpoint(path, lite)
    assert path.read_bytes() == before
    content = torch.load(path, weights_only=True)
    content["weights"] = lite.weights
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="not finite"):
        load_checkpoint(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(lite, tmp_path, monkeypatch):
    path = tmp_path / "a.pth"
    save_checkpoint(path, lite)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(path, lite)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.pth"]
