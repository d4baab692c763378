"""The names of runs: each has a folder of its own, whatever is there already."""

import pytest

from mask_gate.training.config import TrainConfig
from mask_gate.training.learning.run_check import numbered


def config(name):
    return TrainConfig(name=name, architecture="yolov3_tiny")


@pytest.mark.parametrize(
    ("there", "asked", "named"),
    [
        ((), ("a",), ["a"]),
        (("a",), ("a",), ["a-2"]),
        (("a", "a-2"), ("a",), ["a-3"]),
        (("a-2",), ("a",), ["a"]),
        (("a",), ("a", "a", "b"), ["a-2", "a-3", "b"]),
        (("a",), ("a-2", "a"), ["a-2", "a-3"]),
    ],
)
def test_a_run_takes_the_first_name_that_is_free(tmp_path, there, asked, named):
    for name in there:
        (tmp_path / name).mkdir()
        (tmp_path / name / "last.pth").write_bytes(b"")
    configs = numbered([config(name) for name in asked], tmp_path)
    assert [config.name for config in configs] == named


def test_a_folder_without_a_run_is_free(tmp_path):
    (tmp_path / "a").mkdir()
    assert numbered([config("a")], tmp_path)[0].name == "a"
