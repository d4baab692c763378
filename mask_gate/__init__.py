"""mask-gate: the one import root of everything the distribution installs.

For other programs (docs/api.md): `Detector` says what is in a picture, `Gate` holds a door. Both,
and what goes with them, are loaded when they are first asked for, so that this import is cheap.

In a checkout, `gate`, `models`, `training`, `configs` and `assets` beside this file are links to
the folders at the top, so that every tool finds `mask_gate.gate` there. A wheel or sdist holds the
files themselves in their place: setuptools follows the links and copies what they lead to.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mask_gate.gate.camera.camera import Camera, open_camera
    from mask_gate.gate.decision.policy import PolicyConfig
    from mask_gate.gate.domain import Reason, Signal, SignalKind, State
    from mask_gate.gate.door.lease import DoorConfig
    from mask_gate.gate.door.output import Output
    from mask_gate.gate.errors import GateError, OutputError
    from mask_gate.gate.predict.detector import Detector
    from mask_gate.gate.predict.faces import Face, Faces
    from mask_gate.gate.runtime.embedded_gate import Gate, Moment
    from mask_gate.models.labels import MaskLabel

_HOME = {
    "Camera": "gate.camera.camera",
    "Detector": "gate.predict.detector",
    "DoorConfig": "gate.door.lease",
    "Face": "gate.predict.faces",
    "Faces": "gate.predict.faces",
    "Gate": "gate.runtime.embedded_gate",
    "GateError": "gate.errors",
    "MaskLabel": "models.labels",
    "Moment": "gate.runtime.embedded_gate",
    "Output": "gate.door.output",
    "OutputError": "gate.errors",
    "PolicyConfig": "gate.decision.policy",
    "Reason": "gate.domain",
    "Signal": "gate.domain",
    "SignalKind": "gate.domain",
    "State": "gate.domain",
    "open_camera": "gate.camera.camera",
}
"""Where each public name is defined."""

__all__ = [
    "Camera",
    "Detector",
    "DoorConfig",
    "Face",
    "Faces",
    "Gate",
    "GateError",
    "MaskLabel",
    "Moment",
    "Output",
    "OutputError",
    "PolicyConfig",
    "Reason",
    "Signal",
    "SignalKind",
    "State",
    "open_camera",
]


def __getattr__(name: str) -> object:
    """A public name, loaded now."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    """What there is to be had."""
    return sorted([*globals(), *__all__])
