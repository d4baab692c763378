"""The wiring pictures in assets are those that the script draws."""

import importlib.util
import xml.etree.ElementTree as ElementTree

import pytest

NAMES = ("strike", "maglock", "exit-button", "fire-contact")


@pytest.fixture
def drawn(repo_root, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location(
        "make_wiring", repo_root / "assets/make_wiring.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    assert script.main() == 0
    return tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_each_is_up_to_date_and_well_formed(name, drawn, repo_root):
    text = (drawn / f"{name}.svg").read_text()
    assert text == (repo_root / "assets/wiring" / f"{name}.svg").read_text()
    ElementTree.fromstring(text)


def test_there_are_no_others(repo_root):
    assert {path.stem for path in (repo_root / "assets/wiring").iterdir()} == set(NAMES)
