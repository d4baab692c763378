"""Training configs: every shipped one loads; a wrong one says where, what and what it should be."""

from pathlib import Path

import pytest

from mask_gate.models.files.strict_yaml import ConfigFileError, read_config
from mask_gate.training.config import Focal, TrainConfig, config_path

MINIMAL = "name: a\narchitecture: yolov3_tiny\n"
TRAINING = [p for p in (Path(__file__).parents[2] / "configs").glob("*.yaml") if p.stem != "gate"]


@pytest.fixture
def written(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "a.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("path", TRAINING, ids=lambda p: p.stem)
def test_every_shipped_config_is_valid_and_named_after_its_file(path):
    assert read_config(TrainConfig, path).name == path.stem


def test_the_reports_five_experiments_differ_in_what_they_say(repo_root):
    def objectness(name):
        return read_config(TrainConfig, repo_root / f"configs/{name}.yaml").loss.objectness

    assert objectness("ce") == objectness("ce-balanced") == "bce"
    for name, alpha, gamma in (
        ("focal-a1-g2", 1, 2),
        ("focal", 0.25, 2),
        ("focal-a025-g1", 0.25, 1),
    ):
        assert objectness(name) == Focal(alpha=alpha, gamma=gamma, positives_only=True)


def test_overrides_win_and_reach_into_parts(written):
    config = read_config(
        TrainConfig, written(MINIMAL), ["optim.lr=0.5", "epochs=3", "multi_scale=[64, 96]"]
    )
    assert (config.optim.lr, config.epochs, config.multi_scale) == (0.5, 3, (64, 96))


def test_a_bare_name_means_a_shipped_experiment_wherever_the_command_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert read_config(TrainConfig, config_path("focal")).name == "focal"


def test_a_path_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for text in ("other/focal.yaml", "focal.yaml", "other/focal"):
        assert config_path(text) == Path(text)
    (tmp_path / "focal").write_text(MINIMAL)
    assert config_path("focal") == Path("focal")


def test_a_name_that_no_experiment_has_is_refused_with_those_that_exist():
    for name in ("vocal", "gate"):
        with pytest.raises(ConfigFileError, match=rf"{name}: no such file; give one, .* focal, "):
            config_path(name)


BAD = [
    (MINIMAL + "epoch: 3\n", "a.yaml:3: epoch: no such key; did you mean epochs?"),
    (MINIMAL + "optim:\n  learning_rate: 3\n", "a.yaml:4: optim.learning_rate: no such key"),
    (MINIMAL + "loss: {objectness: {gama: 2}}\n", "did you mean gamma?"),
    (MINIMAL + "epochs: 0\n", "a.yaml:3: epochs: input should be greater than 0, got 0"),
    (MINIMAL + "epochs: -1\n", "greater than 0"),
    (MINIMAL + "batch_size: 1.5\n", "batch_size"),
    (MINIMAL + "optim: {lr: 0}\n", "optim.lr: input should be greater than 0, got 0"),
    (MINIMAL + "optim: {lr: .nan}\n", "a.yaml:3: optim.lr: input should be a finite number"),
    (MINIMAL + "optim: {lr: .inf}\n", "input should be a finite number, got inf"),
    (MINIMAL + "score_threshold: 1.5\n", "less than or equal to 1"),
    (MINIMAL + "epochs: 3\nepochs: 4\n", "a.yaml:4: epochs: given twice, first in line 3"),
    (MINIMAL + "input_size: 400\n", "multiples of 32, got 400"),
    (MINIMAL + "multi_scale: [416, 320]\n", "the smaller size first"),
    ("name: a\narchitecture: yolov9\n", "a.yaml:2: architecture: input should be 'yolov3'"),
    ("architecture: yolov3\n", "name: field required"),
    ("name: ../a\narchitecture: yolov3\n", "name: string should match pattern"),
    ("name: a\narchitecture: yolov3_lite\n", "set assign.rule to centre"),
    (MINIMAL + "only_images_with: masked\n", "expected one of with_mask, without_mask, mask_w"),
    (MINIMAL + "patience: 3\nwatch_split: null\n", "set watch_split to measure one"),
    (MINIMAL + "patience: 0\n", "a.yaml:3: patience: input should be greater than 0, got 0"),
    ("- a\n", "expected keys with values"),
    ("name: [a\n", "not YAML"),
    ("", "name: field required"),
]


@pytest.mark.parametrize(("text", "complaint"), BAD, ids=[c for _, c in BAD])
def test_a_wrong_config_is_refused_with_place_and_mend(written, text, complaint):
    with pytest.raises(ConfigFileError) as error:
        read_config(TrainConfig, written(text))
    assert complaint in str(error.value)


def test_all_faults_are_told_at_once(written):
    with pytest.raises(ConfigFileError) as error:
        read_config(TrainConfig, written(MINIMAL + "epochs: 0\nseeed: 1\nbatch_size: x\n"))
    assert len(str(error.value).splitlines()) == 3


@pytest.mark.parametrize("override", ["epochs", "=3", "epochs.low=3"])
def test_a_wrong_override_is_refused(written, override):
    with pytest.raises(ConfigFileError, match="--set"):
        read_config(TrainConfig, written(MINIMAL + "epochs: 3\n"), [override])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigFileError, match=r"none\.yaml: no such file"):
        read_config(TrainConfig, tmp_path / "none.yaml")
