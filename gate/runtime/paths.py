"""Paths: where the sounds and the audit of a gate are, by its configuration."""

from __future__ import annotations

from pathlib import Path

from mask_gate.gate.audit.config import default_audit_path
from mask_gate.gate.config.schema import GateConfig
from mask_gate.models.shipped import ASSETS


def sounds_folder(config: GateConfig) -> Path:
    """Where the sounds are."""
    return ASSETS / "sounds" if config.outputs.sounds is None else Path(config.outputs.sounds)


def audit_path(config: GateConfig) -> Path:
    """Where the audit is.

    Raises:
        ConfigError: it is not configured, and there is no home folder.
    """
    given = config.audit.path
    return default_audit_path(config.gate) if given is None else Path(given)
