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


def masked(value: object) -> object:
    """A copy of plain values (as of `GateConfig.model_dump`) with the secrets in texts masked."""
    if isinstance(value, dict):
        return {key: masked(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(inner) for inner in value]
    if isinstance(value, str) and value.startswith(PIPELINE_MARK):
        return masked_pipeline(value)
    if isinstance(value, str):
        for pattern, shown in _RULES:
            value = pattern.sub(shown, value)
    return value
