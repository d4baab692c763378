"""Run: what it learns from, put together from the data set and the folders beside it."""

import json

import cv2
import numpy as np
import pytest
import torch

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.training.config import TrainConfig
from mask_gate.training.data.preflight import LoadedSplits, checked_dataset
from mask_gate.training.learning.distributed import ALONE
from mask_gate.training.learning.run import Run, RunContext


@pytest.fixture
def two_classes(drawn_dataset):
    """A data set that never shows a badly worn mask."""
    for file in (drawn_dataset / "annotations").iterdir():
        file.write_text(file.read_text().replace("mask_weared_incorrect", "with_mask"))
    return drawn_dataset


def beside(folder, *labels):
    """A folder with `labels.json` whose picture shows these classes; returns its name."""
    folder.mkdir()
    coarse = np.random.default_rng(len(labels)).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    cv2.imwrite(str(folder / "0.png"), cv2.resize(coarse, (160, 120)))
    boxes = [
        {"xyxy": [40 * n, 10, 40 * n + 30, 60], "label": label} for n, label in enumerate(labels)
    ]
    entry = {"file": "0.png", "width": 160, "height": 120, "boxes": boxes}
    (folder / "labels.json").write_text(json.dumps([entry]))
    return folder.name


def unknown_by_source(data, out, *sources):
    """Per source, the classes that are left out of the loss of its faces."""
    config = TrainConfig.model_validate(
        {"name": "a", "architecture": "yolov3_lite", "assign": {"rule": "centre"},
         "input_size": 64, "batch_size": 2, "epochs": 1, "watch_split": None, "data": sources}
    )  # fmt: skip
    context = RunContext(out, torch.device("cpu"), ALONE, False, False, lambda text: None)
    run = Run(config, LoadedSplits(checked_dataset(data, lambda text: None)), context)
    found = {}
    for sample in run.trainer.source.samples:
        source = sample.name.partition("/")[0] if "/" in sample.name else "data set"
        unknown = sample.unknown_of_each.any(axis=0)
        found.setdefault(source, set()).update(np.array(CLASS_NAMES)[unknown].tolist())
    return found


def test_a_class_that_the_data_set_never_shows_is_unknown_there_and_known_beside_it(
    two_classes, tmp_path
):
    three = beside(two_classes / "three", *CLASS_NAMES)
    two = beside(two_classes / "two", "with_mask", "without_mask")
    sources = {"path": three}, {"path": two, "unknown": ["mask_weared_incorrect"]}
    assert unknown_by_source(two_classes, tmp_path, *sources) == {
        "data set": {"mask_weared_incorrect"},
        "three": set(),
        "two": {"mask_weared_incorrect"},
    }


def test_a_class_that_is_never_shown_is_unknown_to_all(two_classes, tmp_path):
    two = beside(two_classes / "two", "with_mask", "without_mask")
    assert unknown_by_source(two_classes, tmp_path, {"path": two}) == {
        "data set": {"mask_weared_incorrect"},
        "two": {"mask_weared_incorrect"},
    }


def test_all_labels_of_a_data_set_of_three_classes_are_known(drawn_dataset, tmp_path):
    three = beside(drawn_dataset / "three", *CLASS_NAMES)
    found = unknown_by_source(drawn_dataset, tmp_path, {"path": three})
    assert found == {"data set": set(), "three": set()}
