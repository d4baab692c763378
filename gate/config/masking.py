"""Masking: texts of the configuration as they may be shown, without the secrets in them."""

from __future__ import annotations

import re

from mask_gate.gate.camera.source import PIPELINE_MARK, masked_pipeline

MASK = "***"

_RULES = (
    (re.compile(r"(://)[^/\s]*@"), rf"\1{MASK}@"),  # rtsp://name:password@camera
    (re.compile(r"([?&][^=&\s]+=)[^&\s#]+"), rf"\1{MASK}"),  # ?token=...
    (re.compile(r"((?:^|\s)\w+=)\S+"), rf"\1{MASK}"),  # env NAME=value
    (
        re.compile(r"(--?[\w-]*(?:pass|token|key|secret|auth)[\w-]*[ =])\S+", re.IGNORECASE),
        rf"\1{MASK}",
    ),
)


_SECRET_KEY = re.compile(r"(pass|token|key|secret|auth)", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether the value of a key of the configuration is a secret itself, and not a file's name."""
    return _SECRET_KEY.search(key) is not None and not key.endswith(("_file", "tls_key"))


def masked(value: object) -> object:
    """A copy of plain values (as of `GateConfig.model_dump`) with the secrets in texts masked."""
    if isinstance(value, dict):
        return {
            key: MASK if isinstance(inner, str) and is_secret(str(key)) else masked(inner)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [masked(inner) for inner in value]
    if isinstance(value, str) and value.startswith(PIPELINE_MARK):
        return masked_pipeline(value)
    if isinstance(value, str):
        for pattern, shown in _RULES:
            value = pattern.sub(shown, value)
    return value
