"""Set-up: what an installer asks for before there is a gate: cameras, files, a password."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from mask_gate.gate.camera.video_devices import VideoDevice, video_devices
from mask_gate.gate.console.login import new_password
from mask_gate.gate.errors import CameraError, ConfigError, ModelError, OutputError
from mask_gate.gate.system.version import installed_version
from mask_gate.models.files.fingerprint import fingerprint
from mask_gate.models.shipped import ASSETS, BUNDLED_WEIGHTS, CONFIGS

TEMPLATE = CONFIGS / "gate.yaml"
SAMPLES = ("grafana", "relay", "sign", "systemd")
"""Folders of the assets that an installer takes a copy of and changes."""


def print_version() -> int:
    """Say which program and which bundled model this is.

    Raises:
        ModelError: the bundled model cannot be read.
    """
    sys.stdout.write(f"mask-gate {installed_version()}\n")
    try:
        sys.stdout.write(f"model {fingerprint(BUNDLED_WEIGHTS)}\n")
    except OSError as error:
        raise ModelError(
            f"{BUNDLED_WEIGHTS}: cannot be read ({error.strerror}); install mask-gate again"
        ) from None
    return 0


def print_cameras(cameras: Sequence[VideoDevice] | None = None) -> int:
    """Say which cameras there are, what they offer and how to name them.

    Args:
        cameras: that were found; those of this machine if not given.

    Raises:
        CameraError: there is none.
    """
    found = video_devices() if cameras is None else cameras
    if not found:
        raise CameraError(
            "no camera is attached to this machine; a network camera is given by its URL, and "
            "--camera demo needs none"
        )
    for camera in found:
        sys.stdout.write(f"{camera.source}\n")
        if camera.fault:
            sys.stdout.write(f"    {camera.fault}\n")
            continue
        sys.stdout.write(f"    {camera.card}, now {camera.node}\n")
        if not camera.keeps_its_name:
            sys.stdout.write("    this name may be another camera's after the next start\n")
        for mode in camera.modes:
            sys.stdout.write(f"    {mode}\n")
    return 0


def write_config(path: Path) -> None:
    """Write a gate.yaml with every key explained; an existing file is left alone.

    Raises:
        ConfigError: there is such a file.
        OutputError: it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(TEMPLATE.read_text(encoding="utf-8"))
    except FileExistsError:
        raise ConfigError(f"--init {path}: is there already; give another name") from None
    except OSError as error:
        raise OutputError(f"--init {path}: cannot be written ({error.strerror})") from None


def copy_samples(folder: Path) -> int:
    """Copy the sample scripts and files into a folder; none that is there is replaced.

    Raises:
        ConfigError: there is such a file already.
        OutputError: a file cannot be written.
    """
    sources = [path for name in SAMPLES for path in sorted((ASSETS / name).glob("*.*"))]
    copies = {folder / path.relative_to(ASSETS): path for path in sources}
    for copy in copies:
        if os.path.lexists(copy):
            raise ConfigError(f"--copy-samples: {copy} is there already; give another folder")
    for copy, source in copies.items():
        try:
            copy.parent.mkdir(parents=True, exist_ok=True)
            with copy.open("xb") as file:
                file.write(source.read_bytes())
            copy.chmod(source.stat().st_mode & 0o777)
        except OSError as error:
            raise OutputError(f"--copy-samples {copy}: {error.strerror}") from None
        sys.stdout.write(f"{copy}\n")
    return 0


def ask_password() -> str:
    """A password from whoever sits at the terminal; an empty one has us make one, told once."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    given = getpass.getpass("new password (empty: make one): ")
    if given:
        return given
    made = new_password()
    sys.stdout.write(f"the password is {made}\n")
    return made
