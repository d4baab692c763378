"""The house keeps its plan: which room imports which, what each may load, where names live."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT_PACKAGE = "mask_gate"
PACKAGES = ("gate", "models", "training")

MODELS = ("models", "models.networks", "models.files")
ROOMS: dict[str, tuple[str, ...]] = {
    # The detector as mathematics, and the files it is kept in.
    "models": (),
    "models.networks": ("models",),
    "models.files": ("models", "models.networks"),
    # From labels to a detector, and how good it is.
    "training": MODELS,
    "training.data": (*MODELS, "training"),
    "training.drawing": (*MODELS, "training", "training.data"),
    "training.evaluation": (*MODELS, "training", "training.data"),
    "training.learning": (*MODELS, "training", "training.data", "training.evaluation"),
    "training.commands": (*MODELS, "training", "training.*"),
    # From a camera to a door, in the order in which they may know each other.
    "gate": ("models",),
    "gate.system": ("models", "gate"),
    "gate.decision": ("models", "gate"),
    "gate.camera": ("models", "gate", "gate.system"),
    "gate.detector": (*MODELS, "gate", "gate.system", "gate.decision"),
    "gate.door": ("models", "gate", "gate.system", "gate.decision"),
    "gate.mqtt": ("models", "gate", "gate.system"),
    "gate.notify": ("models", "gate", "gate.system"),
    "gate.relays": ("models", "gate", "gate.system", "gate.mqtt"),
    "gate.audit": ("models", "gate", "gate.system"),
    "gate.display": ("models", "gate", "gate.system"),
    "gate.predict": (
        "models", "gate", "gate.system", "gate.camera", "gate.detector", "gate.display",
    ),
    "gate.console": ("models", "gate", "gate.system", "gate.audit", "gate.display"),
    "gate.config": (
        *MODELS, "gate", "gate.system", "gate.decision", "gate.camera", "gate.detector",
        "gate.door", "gate.mqtt", "gate.notify", "gate.relays", "gate.audit", "gate.display",
        "gate.console",
    ),
    "gate.runtime": (
        *MODELS, "gate", "gate.system", "gate.decision", "gate.camera", "gate.detector",
        "gate.door", "gate.mqtt", "gate.notify", "gate.relays", "gate.audit", "gate.display",
        "gate.console", "gate.config",
    ),
    "gate.commands": (*MODELS, "gate", "gate.*"),
}  # fmt: skip


def imports_of(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files_of(root: Path, package: str) -> list[Path]:
    """Every Python file of a package, in all its rooms."""
    return sorted((root / package).rglob("*.py"))


def room_of(module: str) -> str:
    """The room of a dotted name below the root package: the longest one that it begins with."""
    fits = [room for room in ROOMS if module == room or module.startswith(f"{room}.")]
    return max(fits, key=len, default="")


def is_allowed(room: str, other: str) -> bool:
    return other == room or any(
        other == allowed or (allowed.endswith(".*") and other.startswith(allowed[:-1]))
        for allowed in ROOMS[room]
    )


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_the_one_of_this_repository(package, repo_root):
    module = importlib.import_module(f"{ROOT_PACKAGE}.{package}")
    assert Path(module.__file__).resolve().parent == repo_root / package


def test_every_file_stands_in_a_room(repo_root):
    folders = {
        ".".join(path.relative_to(repo_root).parent.parts)
        for package in PACKAGES
        for path in files_of(repo_root, package)
    }
    assert folders == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_only_what_the_table_allows(room, repo_root):
    edges = [
        f"{path.relative_to(repo_root)} imports {name}, and {room} may not import {other}"
        for path in sorted((repo_root / room.replace(".", "/")).glob("*.py"))
        for name in sorted(imports_of(path))
        if name.startswith(f"{ROOT_PACKAGE}.")
        and (other := room_of(name.removeprefix(f"{ROOT_PACKAGE}.")))
        and not is_allowed(room, other)
    ]
    assert not edges, "\n".join(edges)


def test_the_table_would_tell_of_a_wrong_edge():
    assert room_of("gate.relays.guardian.main") == "gate.relays"
    assert not is_allowed("gate.console", "gate.door")
    assert not is_allowed("gate.decision", "gate.system")
    assert not is_allowed("training.data", "training.learning")
    assert is_allowed("gate.commands", "gate.relays")


def test_no_top_level_name_is_taken_from_other_projects(repo_root):
    """`models` and `training` are anybody's names; ours lie below one root."""
    for package in (*PACKAGES, "tests", "assets"):
        for path in files_of(repo_root, package):
            tops = {name.split(".")[0] for name in imports_of(path)}
            assert not tops & {*PACKAGES, "configs", "assets"}, path


def test_only_the_engine_of_the_gate_knows_torch(repo_root):
    users = {
        path.name
        for path in files_of(repo_root, "gate")
        if any(name.split(".")[0] == "torch" for name in imports_of(path))
    }
    assert users == {"torch_engine.py"}


def test_asking_for_help_loads_no_torch():
    code = (
        "import sys\n"
        "from mask_gate.gate.commands.gate import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_the_bundled_detector_runs_on_a_cpu_without_torch():
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from mask_gate.gate.detector.detector import open_engine\n"
        "from mask_gate.models.shipped import BUNDLED_WEIGHTS\n"
        "open_engine(BUNDLED_WEIGHTS, 'cpu')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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


def test_an_init_file_holds_nothing_but_its_docstring(repo_root):
    """Importing a room loads nothing."""
    for package in PACKAGES:
        for path in (repo_root / package).rglob("__init__.py"):
            assert len(ast.parse(path.read_text(encoding="utf-8")).body) == 1, path
