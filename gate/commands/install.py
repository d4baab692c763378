"""Install: puts the systemd units of a gate in place, and the folder of its configuration."""

from __future__ import annotations

import sys
from pathlib import Path

from mask_gate.gate.commands.set_up import write_config
from mask_gate.gate.errors import ConfigError, OutputError
from mask_gate.models.shipped import ASSETS

UNITS = ASSETS / "systemd"
PROGRAM = "/opt/mask-gate/.venv/bin/mask-gate"
"""As the units name it."""

_FOLDER_MODE = 0o2755  # what is made there later belongs to the gate's group too

_NEXT_STEPS = """\
next, as an administrator:
  systemd-sysusers
  chgrp mask-gate /etc/mask-gate /etc/mask-gate/*
  editor /etc/mask-gate/gate.yaml
  mask-gate --config /etc/mask-gate/gate.yaml --validate-config
  systemctl daemon-reload
  systemctl enable --now mask-gate
  (or, for several gates, each with a NAME.yaml: systemctl enable --now mask-gate@NAME)"""


def install_service(root: Path, program: Path, *, kiosk: bool) -> int:
    """Write the units; those of an earlier version are replaced, gate.yaml is not.

    Args:
        root: of the file system; another one than `/` to look at, or to make a package of.
        program: the command that the units start.
        kiosk: whether the gate shows the visitor's screen on a display of the machine.

    Raises:
        OutputError: a file cannot be written.
    """
    service = (UNITS / "mask-gate.service").read_text(encoding="utf-8")
    files = {
        "etc/systemd/system/mask-gate.service": service,
        "etc/systemd/system/mask-gate@.service": template_of(service),
        "etc/sysusers.d/mask-gate.conf": _text("mask-gate.sysusers"),
    }
    if kiosk:
        files |= {
            "etc/systemd/system/mask-gate-screen.service": _text("mask-gate-screen.service"),
            "etc/systemd/system/mask-gate.service.d/kiosk.conf": _text("kiosk.conf"),
        }
    try:
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace(PROGRAM, str(program)), encoding="utf-8")
            path.chmod(0o644)
            sys.stdout.write(f"{path}\n")
        folder = root / "etc/mask-gate"
        folder.mkdir(exist_ok=True)
        folder.chmod(_FOLDER_MODE)
    except OSError as error:
        raise OutputError(f"--install-service: {error.filename}: {error.strerror}") from None
    path = folder / "gate.yaml"
    if not path.exists():
        write_config(path)
        sys.stdout.write(f"{path}\n")
    sys.stdout.write(f"{_NEXT_STEPS}\n")
    return 0


def own_program() -> Path:
    """The command of this installation.

    Raises:
        ConfigError: there is none, as in a checkout that is run in place.
    """
    program = Path(sys.prefix) / "bin" / "mask-gate"
    if not program.is_file():
        raise ConfigError(f"--install-service: {program} is not there; install the wheel first")
    return program


def template_of(service: str) -> str:
    """The unit of one of several gates: mask-gate@NAME runs /etc/mask-gate/NAME.yaml."""
    return service.replace("/etc/mask-gate/gate.yaml", "/etc/mask-gate/%i.yaml").replace(
        "Description=mask-gate:", "Description=mask-gate %i:"
    )


def _text(name: str) -> str:
    return (UNITS / name).read_text(encoding="utf-8")
