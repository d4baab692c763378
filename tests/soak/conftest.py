"""Long runs of faults: what each came to is kept, and written down at the end."""

import importlib.util
import json
import os
import platform
import random
import time
from pathlib import Path

import pytest

SHARE = float(os.environ.get("MASK_GATE_SOAK", "1"))
"""The part of the full number of repetitions that is run."""

_ROWS = pytest.StashKey[list]()
_ATTACKS = pytest.StashKey[list]()


def pytest_configure(config):
    config.stash[_ROWS] = []
    config.stash[_ATTACKS] = []


def pytest_sessionfinish(session):
    rows, attacks = session.config.stash[_ROWS], session.config.stash[_ATTACKS]
    path = os.environ.get("MASK_GATE_SOAK_JSON")
    if (rows or attacks) and path:
        found = {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "share": SHARE,
            "rows": rows,
            "attacks": attacks,
        }
        Path(path).write_text(json.dumps(found, indent=1) + "\n")


@pytest.fixture(scope="session")
def load(repo_root):
    """Loads another file of tests as a module."""

    def load(name):
        path = repo_root / "tests" / name
        spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def patient_gate(gate_bench):
    """The configuration of a gate that opens also where others take most of the machine's time."""
    template = gate_bench.CONFIG
    changed = {
        "hold_s: 9.0, lease_s: 1.0": "hold_s: 8.0, lease_s: 2.0",
        "{{max_open_s": "{{decision_max_age_s: 1.5, max_open_s",
    }
    for old, new in changed.items():
        assert old in template
        template = template.replace(old, new)
    return template


@pytest.fixture
def rng(request):
    """Chance that is the same at every run."""
    return random.Random(request.node.name)


@pytest.fixture
def seed(request):
    """What the chance of a test begins with; printed with what goes wrong, to have it again."""
    return os.environ.get("MASK_GATE_ATTACK_SEED", request.node.name)


@pytest.fixture
def share():
    """The part of the full number of repetitions that is run."""
    return SHARE


@pytest.fixture
def times():
    """How often to repeat what is done `full` times in a full run."""
    return lambda full: max(2, round(full * SHARE))


@pytest.fixture
def keep(request):
    """Keeps what one test came to, then holds it against its bar."""

    def keep(fault, count, wrong_openings, worst, bar, unit="s"):
        row = {
            "fault": fault,
            "count": count,
            "wrong_openings": wrong_openings,
            "worst": round(worst, 3),
            "bar": bar,
            "unit": unit,
        }
        request.config.stash[_ROWS].append(row)
        print(row, flush=True)
        assert wrong_openings == 0
        assert worst <= bar

    return keep


@pytest.fixture
def attacked(request):
    """Keeps what one case of an attack came to: no opening, and no lock that is missing."""
    began_s = time.monotonic()

    def attacked(case, tries, *, openings=(), missing=()):
        row = {
            "case": case,
            "tries": tries,
            "openings": len(openings),
            "missing_locks": len(missing),
            "seconds": round(time.monotonic() - began_s, 1),
        }
        request.config.stash[_ATTACKS].append(row)
        print(row, flush=True)
        assert not openings, openings
        assert not missing, missing

    return attacked
