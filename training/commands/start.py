"""The five commands as they are installed: what each needs is loaded only once it is called.

So that a package that is missing, such as PyTorch beside a gate that runs without it, is one
sentence and no traceback.
"""

from __future__ import annotations

from importlib import import_module

from mask_gate.training.errors import run_command


def train() -> int:
    """Run `mask-gate-train`; returns the exit code."""
    return _start("mask-gate-train", "train")


def data() -> int:
    """Run `mask-gate-data`; returns the exit code."""
    return _start("mask-gate-data", "data")


def evaluate() -> int:
    """Run `mask-gate-eval`; returns the exit code."""
    return _start("mask-gate-eval", "evaluate")


def calibrate() -> int:
    """Run `mask-gate-calibrate`; returns the exit code."""
    return _start("mask-gate-calibrate", "calibrate")


def export() -> int:
    """Run `mask-gate-export`; returns the exit code."""
    return _start("mask-gate-export", "export")


def _start(prog: str, module: str) -> int:
    name = f"mask_gate.training.commands.{module}"
    return run_command(prog, lambda: int(import_module(name).main()))
