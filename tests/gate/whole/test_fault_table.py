"""docs/faults.md names every fault of the catalogue once, and only tests that exist."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MANUAL = ROOT / "docs" / "faults.md"
CATALOGUE = {"C": 16, "D": 8, "W": 3, "T": 2, "H": 5, "R": 5, "N": 5, "S": 5, "P": 8, "G": 7}
CITED = r"`([\w/]+\.py)::(test_\w+)`"
"""A test as the manual names it, its file below tests/."""


def rows():
    text = MANUAL.read_text(encoding="utf-8")
    return re.findall(r"^\| ([A-Z]\d+) \| (.+) \| (.*) \| (.*)\|$", text, re.MULTILINE)


@functools.cache
def names_in(file):
    tree = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_fault_of_the_catalogue_is_there_once():
    wanted = [f"{kind}{number + 1}" for kind, count in CATALOGUE.items() for number in range(count)]
    assert [name for name, *_ in rows()] == wanted


def test_each_has_a_test():
    assert not [name for name, _, _, cited in rows() if not re.search(CITED, cited)]


def test_each_test_that_is_named_exists():
    named = re.findall(CITED, MANUAL.read_text(encoding="utf-8"))
    assert len([file for file, _ in named if file.endswith("test_doors.py")]) > 5
    assert not [f"{file}::{test}" for file, test in named if test not in names_in(file)]
