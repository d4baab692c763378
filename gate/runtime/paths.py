"""Paths: where the sounds and the audit of a gate are, by its configuration."""

from __future__ import annotations

from pathlib import Path

from mask_gate.gate.audit.config import default_audit_path
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.display.sound import Sound
from mask_gate.models.shipped import ASSETS


def sounds_folder(config: GateConfig) -> Path:
    """Where the sounds are."""
    if config.outputs.sounds is not None:
        return Path(config.outputs.sounds)
    if Sound(config.outputs.sound) is Sound.VOICE:
        return ASSETS / "voice" / config.language
    return ASSETS / "sounds"


def audit_path(config: GateConfig) -> Path:
    """Where the audit is.

    Raises:
        ConfigError: it is not configured, and there is no home folder.
    """
    given = config.audit.path
    return default_audit_path(config.gate) if given is None else Path(given)
