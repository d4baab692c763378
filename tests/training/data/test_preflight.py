"""The pre-flight: a faulty data set stops the run before its first epoch, a leak is only told."""

import shutil

import numpy as np
import pytest

from mask_gate.training.data.preflight import LoadedSplits, checked_dataset
from mask_gate.training.errors import DataError


def unsaid(text):
    raise AssertionError(text)


def test_a_sound_data_set_is_handed_on_without_a_word(drawn_dataset):
    assert len(checked_dataset(drawn_dataset, unsaid).images) == 12


def test_every_problem_is_told_at_once(drawn_dataset):
    (drawn_dataset / "images/face3.png").write_bytes(b"no image")
    (drawn_dataset / "annotations/face5.xml").write_text("<annotation>")
    with pytest.raises(DataError) as error:
        checked_dataset(drawn_dataset, unsaid)
    for name in ("face3.png", "face5.xml"):
        assert name in str(error.value)


def test_images_in_two_splits_are_one_line_of_warning(drawn_dataset):
    shutil.copy(drawn_dataset / "images/face0.png", drawn_dataset / "images/face11.png")
    shutil.copy(drawn_dataset / "images/face1.png", drawn_dataset / "images/face10.png")
    for twin, face in (("face11", "face0"), ("face10", "face1")):
        annotation = (drawn_dataset / f"annotations/{face}.xml").read_text()
        renamed = annotation.replace(f"{face}.png", f"{twin}.png")
        (drawn_dataset / f"annotations/{twin}.xml").write_text(renamed)
    said = []
    checked_dataset(drawn_dataset, said.append)
    assert len(said) == 1
    assert said[0].startswith("warning: ")
    assert "appear in both train and valid: 2" in said[0]


def test_a_split_is_decoded_once_however_many_runs_use_it(drawn_dataset):
    splits = LoadedSplits(checked_dataset(drawn_dataset, unsaid))
    first = splits.load("valid")
    assert len(first) == 4
    assert splits.load("valid") is first
    assert all(np.any(sample.image) for sample in first)
    with pytest.raises(DataError, match="no split 'extra'"):
        splits.load("extra")
