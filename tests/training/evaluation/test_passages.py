"""Passages: planned evenly, counted rightly, and played to the gate itself."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.rate import wilson
from mask_gate.training.commands.evaluate import main
from mask_gate.training.data.samples import Sample
from mask_gate.training.evaluation.passages import Passage, passages_table, plan, summarise

WEIGHTS = "assets/weights/mask-gate-lite.pth"


def person(name, label):
    box, image = np.array([[10, 10, 60, 60]], np.float32), np.zeros((70, 70, 3), np.uint8)
    return Sample(image, box, np.array([label]), name)


PEOPLE = [person("a", 0), person("b", 0), person("c", 0), person("d", 1), person("e", 2)]


def passage(may_pass, granted_s, name="a", kind="alone", refused_s=None):
    return Passage(kind, may_pass, (name,), granted_s, refused_s)


@pytest.mark.parametrize(
    ("wrong", "of", "low", "high"),
    [  # worked by hand from Wilson's formula with z = 1.96
        (0, 10, 0.0, 0.2775),
        (1, 10, 0.0179, 0.4042),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0),
        (0, 0, 0.0, 1.0),
    ],
)
def test_a_rate_has_wilsons_bounds(wrong, of, low, high):
    assert wilson(wrong, of) == pytest.approx((low, high), abs=1e-3)


@given(st.integers(0, 500), st.integers(1, 500))
def test_a_rate_lies_between_its_bounds(wrong, of):
    wrong = min(wrong, of)
    low, high = wilson(wrong, of)
    assert 0 <= low <= wrong / of <= high <= 1


def test_everybody_comes_equally_often_and_nobody_with_oneself():
    planned = plan(PEOPLE, 6, seed=0)
    kinds = [kind for kind, _ in planned]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        **{f"alone, {name}": 6 for name in CLASS_NAMES},
        "two, both with_mask": 6,
        "two, one of them not": 6,
    }
    alone = [a.people[0].name for kind, a in planned if kind == "alone, with_mask"]
    assert sorted(alone) == ["a", "a", "b", "b", "c", "c"]
    for kind, approach in planned:
        assert len({p.name for p in approach.people}) == len(approach.people), kind
    assert plan(PEOPLE, 6, seed=0) == planned != plan(PEOPLE, 6, seed=1)


def test_a_class_without_people_has_no_passages():
    assert {kind for kind, _ in plan(PEOPLE[:2], 2, 0)} == {
        "alone, with_mask",
        "two, both with_mask",
    }
    assert plan([], 3, 0) == []


def test_an_opening_is_right_or_wrong_by_who_came():
    summary = summarise(
        [
            passage(True, 0.6),
            passage(True, 1.0, name="b"),
            passage(True, None),
            passage(False, None, refused_s=0.4),
            passage(False, 0.8, kind="group"),
        ]
    )
    rejects, accepts = summary["false_rejects"], summary["false_accepts"]
    assert (rejects["wrong"], rejects["of"], rejects["people"]) == (1, 3, 2)
    assert (accepts["wrong"], accepts["of"]) == (1, 2)
    assert summary["granted_s"]["median"] == pytest.approx(0.8)
    assert summary["refused_s"]["median"] == pytest.approx(0.4)
    assert summary["kinds"]["group"]["rate"] == 1
    assert "false accepts" in passages_table(summary)


def test_no_passages_are_no_rate():
    summary = summarise([])
    assert math.isnan(summary["false_accepts"]["rate"])
    assert "false rejects" in passages_table(summary)


@pytest.mark.soak
def test_people_of_the_validation_images_walk_up_to_the_gate(
    repo_root, real_data, tmp_path, capsys
):
    out = tmp_path / "passages.json"
    command = ["--weights", str(repo_root / WEIGHTS), "--data", str(real_data), "--passages", "1"]
    assert main([*command, "--json", str(out)]) == 0
    told = json.loads(out.read_text())
    assert told["false_accepts"]["of"] == 3
    assert told["false_rejects"]["of"] == 2
    assert told["false_rejects"]["wrong"] < 2, "nobody at all was let in"
    assert told["false_accepts"]["wrong"] <= 1
    assert "time to a grant: median" in capsys.readouterr().out


def test_a_number_of_passages_below_one_is_refused(drawn_dataset, capsys):
    command = ["--weights", WEIGHTS, "--data", str(drawn_dataset), "--passages", "-1"]
    assert main(command) == 2
    assert "--passages -1: expected a number above 0" in capsys.readouterr().err
