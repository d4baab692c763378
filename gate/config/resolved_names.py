"""ResolvedNames: what two spellings of one camera, relay or file have in common."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import posixpath
import re
import shlex
import shutil
import socket
import stat
from urllib.parse import unquote, urlsplit

_LAUNCHERS = re.compile(
    r"(ba|da|k|z)?sh|env|nice|ionice|nohup|setsid|stdbuf|sudo|python[0-9.]*|perl|node"
)
"""Run the program that follows: `sh relay.sh` is `relay.sh`."""

_DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}

_BOARD = (
    # Physical pin of the 40-pin header of a Raspberry Pi to the number that its processor has.
    (3, 2), (5, 3), (7, 4), (8, 14), (10, 15), (11, 17), (12, 18), (13, 27), (15, 22), (16, 23),
    (18, 24), (19, 10), (21, 9), (22, 25), (23, 11), (24, 8), (26, 7), (27, 0), (28, 1), (29, 5),
    (31, 6), (32, 12), (33, 13), (35, 19), (36, 16), (37, 26), (38, 20), (40, 21),
)  # fmt: skip
_WIRING_PI = (
    17, 18, 27, 22, 23, 24, 25, 4, 2, 3, 8, 7, 10, 9, 11, 14, 15, None, None, None, None, 5, 6, 13,
    19, 26, 12, 16, 20, 21, 0, 1,
)  # fmt: skip


def resolved_path(path: str) -> str:
    """The one file, folder or device that a path leads to, by whatever name."""
    real = os.path.realpath(path)
    try:
        about = os.stat(real)  # noqa: PTH116 - of a name as the system gives it
    except (OSError, ValueError):
        return real
    if stat.S_ISCHR(about.st_mode):
        return f"device {os.major(about.st_rdev)}:{os.minor(about.st_rdev)}"
    return f"file {about.st_dev}:{about.st_ino}"


def resolved_host(host: str) -> str:
    """A host as one name or address; no name server is asked."""
    name = host.strip("[]").rstrip(".").lower()
    with contextlib.suppress(UnicodeError):  # as the resolver reads letters beyond ASCII
        name = name.encode("idna").decode()
    if name in (
        "0.0.0.0",
        "::",
        "localhost",
        "localhost.localdomain",
        "ip6-localhost",
        "ip6-loopback",
    ):
        return "127.0.0.1"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        try:
            return socket.inet_ntoa(socket.inet_aton(name))  # 127.1, 0x7f.0.0.1 and their like
        except OSError:
            return name
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    return "127.0.0.1" if address == ipaddress.ip_address("::1") else str(address)


def resolved_url(url: str) -> str:
    """A URL without user and password, with the port and the path that it means."""
    parts = urlsplit(url)
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme.lower(), 0)
    path = posixpath.normpath("/" + unquote(parts.path).lstrip("/"))
    place = f"{resolved_host(parts.hostname or '')}:{port}{path}"
    return f"{parts.scheme.lower()}://{place}?{unquote(parts.query)}"


def resolved_command(command: str) -> str:
    """A command as the program that is run, by whatever name, and what it is told."""
    try:
        program, *arguments = shlex.split(command)
    except ValueError:
        return command
    while arguments and _LAUNCHERS.fullmatch(posixpath.basename(program)) and _runs(arguments[0]):
        program, *arguments = arguments
    found = resolved_path(shutil.which(program) or program)
    told = (resolved_path(text) if os.path.exists(text) else text for text in arguments)  # noqa: PTH110
    return shlex.join([found, *told])


def _runs(program: str) -> bool:
    """Whether it is a program, and not an option or a text that one is told."""
    return shutil.which(program) is not None or os.path.isfile(program)  # noqa: PTH113


def resolved_pin(pin: str | int) -> str:
    """A pin by the number of the processor (BCM), of all the names that gpiozero knows for it."""
    name = str(pin).upper()
    if found := re.fullmatch(r"(?:GPIO|BCM)?([0-9]+)", name):
        return f"GPIO{int(found[1])}"
    if found := re.fullmatch(r"(?:BOARD|J8:)([0-9]+)", name):
        number = dict(_BOARD).get(int(found[1]))
    elif found := re.fullmatch(r"WPI([0-9]+)", name):
        number = dict(enumerate(_WIRING_PI)).get(int(found[1]))
    else:
        number = None
    return name if number is None else f"GPIO{number}"
