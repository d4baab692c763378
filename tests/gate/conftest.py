"""What the tests of the gate share: a clock that stands still until it is told to go on."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


class FakeClock:
    """Monotonic seconds under the test's control: `clock()` reads, `clock.advance(s)` moves on."""

    def __init__(self, start_s: float = 1000.0) -> None:
        self.now_s = start_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> float:
        assert seconds >= 0, "a monotonic clock never goes back"
        self.now_s += seconds
        return self.now_s


@pytest.fixture
def clock() -> FakeClock:
    """A fresh clock for one test."""
    return FakeClock()


@pytest.fixture(scope="session")
def make_clock() -> type[FakeClock]:
    """The class itself, for property-based tests, which need a fresh clock per example."""
    return FakeClock


@pytest.fixture(scope="session")
def fake_cameras(repo_root: Path) -> ModuleType:
    """A camera that streams over HTTP and misbehaves: `tests/gate/camera/fake_camera.py`."""
    spec = importlib.util.spec_from_file_location(
        "fake_camera", repo_root / "tests/gate/camera/fake_camera.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake_camera(fake_cameras: ModuleType) -> Iterator[Any]:
    """One such camera."""
    camera = fake_cameras.FakeCamera()
    yield camera
    camera.mode = "close"
    camera.vanish()
