"""Set-up: what an installer asks for before there is a gate: cameras, a file, a password."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

import cv2

from mask_gate.gate.console.login import new_password
from mask_gate.gate.errors import CameraError, ConfigError, OutputError
from mask_gate.models.shipped import CONFIGS

TEMPLATE = CONFIGS / "gate.yaml"
DEVICES = Path("/dev")


def list_cameras(devices: Path = DEVICES) -> list[tuple[str, str]]:
    """What to write as camera source, and what is known of it; names that stay the same first."""
    by_id = sorted((devices / "v4l" / "by-id").glob("*"))
    named = {path.resolve() for path in by_id}
    plain = sorted(path for path in devices.glob("video*") if path.resolve() not in named)
    return [(str(path), _size(path)) for path in (*by_id, *plain)]


def print_cameras() -> int:
    """Say which cameras there are.

    Raises:
        CameraError: there is none.
    """
    cameras = list_cameras()
    if not cameras:
        raise CameraError(
            "no camera is attached to this machine; a network camera is given by its URL, and "
            "--camera demo needs none"
        )
    for source, size in cameras:
        sys.stdout.write(f"{source}  {size}\n")
    return 0


def _size(path: Path) -> str:
    if not os.access(path, os.R_OK | os.W_OK):
        return "no rights to open it; add your user to the group video"
    capture = cv2.VideoCapture(str(path), cv2.CAP_V4L2)
    try:
        opened, image = capture.read() if capture.isOpened() else (False, None)
    finally:
        capture.release()
    if not opened or image is None:
        return "gives no picture: in use, or no camera"
    return f"{image.shape[1]} x {image.shape[0]}"


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
