"""The house keeps its plan: who imports whom, what each package may load, where names live."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gate
import models
import training

PACKAGES = ("gate", "models", "training")


def imports_of(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
    return found


def files_of(root: Path, package: str) -> list[Path]:
    return sorted((root / package).glob("*.py"))


@pytest.mark.parametrize("package", [gate, models, training])
def test_each_package_is_the_one_of_this_repository(package, repo_root):
    assert Path(package.__file__).parent.parent == repo_root


def test_gate_and_training_never_import_each_other_and_models_imports_neither(repo_root):
    forbidden = {"gate": {"training"}, "training": {"gate"}, "models": {"gate", "training"}}
    for package in PACKAGES:
        files = files_of(repo_root, package)
        assert files
        for path in files:
            tops = {name.split(".")[0] for name in imports_of(path)}
            assert not tops & forbidden[package], path


def test_the_packages_stay_flat(repo_root):
    for package in PACKAGES:
        assert not list((repo_root / package).glob("*/*.py"))


def test_only_the_engine_of_the_gate_knows_torch(repo_root):
    users = {
        path.name
        for path in files_of(repo_root, "gate")
        if any(name.split(".")[0] == "torch" for name in imports_of(path))
    }
    assert users == {"torch_engine.py"}


def test_asking_for_help_loads_no_torch():
    code = (
        "import sys, gate.run\n"
        "try:\n    gate.run.main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_class_names_are_written_in_one_place_only(repo_root):
    for package in PACKAGES:
        for path in files_of(repo_root, package):
            if path.name != "labels.py":
                strings = {
                    node.value
                    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
                    if isinstance(node, ast.Constant) and isinstance(node.value, str)
                }
                assert "mask_weared_incorrect" not in strings, path


def test_nothing_can_run_code_from_a_file(repo_root):
    """No pickle, eval, exec, shell, or unsafe loaders anywhere in the packages."""
    for package in PACKAGES:
        for path in files_of(repo_root, package):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call):
                    continue
                called = ast.unparse(node.func)
                assert called not in {"eval", "exec", "os.system", "pickle.load", "pickle.loads"}, (
                    path
                )
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert keywords.get("shell") != "True", path
                assert keywords.get("allow_pickle") != "True", path
                if called == "torch.load":
                    assert keywords.get("weights_only") == "True", path
                if called == "yaml.load":
                    raise AssertionError(f"{path}: yaml.load")


def test_each_file_says_its_one_job_first(repo_root):
    for package in PACKAGES:
        for path in files_of(repo_root, package):
            doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
            assert doc, path
            assert doc.splitlines()[0].endswith("."), path
