"""What every test may ask for."""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import hypothesis
import pytest

from mask_gate.models.labels import CLASS_NAMES
from mask_gate.models.operating_point import Calibration, ClassPoint, OperatingPoint
from mask_gate.models.rate import Rate

# A busy machine is no fault; how fast things are is a matter for benchmarks.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")

# Tests run beside each other; threads of their own would only make them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# What tests measure is not what a user of this machine would.
os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.gettempdir()) / f"mask-gate-tests-{os.getuid()}")

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The soak takes an hour: it runs only where it is asked for by its marker."""
    if "soak" not in config.option.markexpr:
        soak = [item for item in items if item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=soak)
        items[:] = [item for item in items if item not in soak]


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """A shell that starts tests in the background has them ignore these; gates would inherit it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _no_state_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Audit and locks of gates that a test starts are its own, not those of a gate in service.

    In memory where there is such a place: a disk that others keep busy is the matter of few tests.
    """
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="mask-gate-", dir=memory if memory.is_dir() else None
    ) as folder:
        for name in ("STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
            path = Path(folder) / name.lower()
            path.mkdir(mode=0o700)
            monkeypatch.setenv(name, str(path))
        yield


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def operating_point() -> OperatingPoint:
    """A sound one: masks are believed from .6 on, and anything is a face from .1 on."""
    wrong, right = Rate(wrong=1, of=55), Rate(wrong=9, of=223)
    return OperatingPoint(
        classes={
            name: ClassPoint(min_score=score, false_accepts=wrong, false_rejects=right)
            for name, score in zip(CLASS_NAMES, (0.6, 0.4, 0.3), strict=True)
        },
        min_margin=0.25,
        face_score=0.1,
        missed_faces=Rate(wrong=2, of=278),
        ghosts=Rate(wrong=3, of=100),
        min_face=0.075,
        calibration=Calibration(slope=4.5, offset=3.0, class_slope=0.6),
        fitted_on="100 images of a test",
        fitted_with="sha256:test",
    )


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The Kaggle data set, where someone has it."""
    folder = Path(os.environ.get("MASK_GATE_DATA", ROOT.parent / "shared/data/face-mask"))
    if not folder.exists():
        pytest.skip("set MASK_GATE_DATA to the Kaggle face-mask data set to run this test")
    return folder


@pytest.fixture(scope="session")
def coco_tiny_weights() -> Path:
    """The authors' yolov3-tiny.weights, where someone has them."""
    default = ROOT.parent / "shared/weights/yolov3-tiny.weights"
    path = Path(os.environ.get("MASK_GATE_TINY_WEIGHTS", default))
    if not path.exists():
        pytest.skip(
            "set MASK_GATE_TINY_WEIGHTS to the authors' yolov3-tiny.weights to run this test"
        )
    return path


def load_script(path: Path) -> ModuleType:
    """A script of the repository as a module, without touching sys.path."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def once_for_all(name: str, code: str, repo_root: Path, *arguments: str) -> None:
    """Run a script once, by one of the processes that test beside each other, for all of them."""
    cache = Path(os.environ["XDG_CACHE_HOME"])
    cache.mkdir(mode=0o700, exist_ok=True)
    with (cache / name).open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        subprocess.run([sys.executable, "-c", code, *arguments], cwd=repo_root, check=True)


EXPORT = """
import sys
from dataclasses import replace
from pathlib import Path
if not (out := Path(sys.argv[1])).exists():
    from mask_gate.models.files.onnx_export import export_onnx
    from mask_gate.models.files.open_weights import open_weights
    from mask_gate.models.shipped import BUNDLED_WEIGHTS
    checkpoint = replace(open_weights(BUNDLED_WEIGHTS), input_size=192)
    export_onnx(checkpoint, out, "sha256:test")
"""


@pytest.fixture(scope="session")
def small_detector(repo_root: Path) -> Path:
    """The bundled detector for pictures of 192 px, for tests in which it is not the subject.

    It passes the self-test, and takes a sixth of the time.
    """
    bundled = (repo_root / "assets/weights/mask-gate-lite.pth").read_bytes()
    name = f"small-{hashlib.sha256(bundled).hexdigest()[:16]}.onnx"
    out = Path(os.environ["XDG_CACHE_HOME"]) / name
    once_for_all("exporting", EXPORT, repo_root, str(out))
    return out


@pytest.fixture(scope="session")
def gate_bench(repo_root: Path, small_detector: Path) -> ModuleType:
    """A real gate as a process of its own, with a probe at its door."""
    bench = load_script(repo_root / "tests/gate/whole/gate_bench.py")
    bench.WEIGHTS = small_detector
    return bench


@pytest.fixture(scope="session")
def mqtt_bench(repo_root: Path) -> ModuleType:
    """A real broker, somebody who listens, a lock, and a bad road."""
    return load_script(repo_root / "tests/gate/mqtt/mqtt_bench.py")


@pytest.fixture(scope="session")
def systemd_machine(repo_root: Path) -> ModuleType:
    """A machine booted by a real systemd."""
    module = load_script(repo_root / "tests/soak/systemd_machine.py")
    if reason := module.why_not():
        pytest.skip(reason)
    return module


@pytest.fixture(scope="session")
def opencv_darknet(repo_root: Path) -> ModuleType:
    return load_script(repo_root / "tests/models/files/make_opencv_darknet.py")


@pytest.fixture
def camera(gate_bench: ModuleType) -> Iterator[object]:
    """A camera in front of which somebody with a proper mask stands, fifteen pictures a second."""
    camera = gate_bench.DoorCamera()
    yield camera
    camera.mode = "close"
    camera.vanish()
