"""What the tests of the gate share: a clock that stands still until it is told to go on."""

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
