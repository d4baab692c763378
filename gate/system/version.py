"""Version: which version of the program is installed."""

from __future__ import annotations

import importlib.metadata


def installed_version() -> str:
    """The version, such as `0.2.0`; `unknown` where the program was never installed."""
    try:
        return importlib.metadata.version("mask-gate")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
