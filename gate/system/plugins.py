"""Plugins: what other packages add to the gate, found by their entry points."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from mask_gate.gate.errors import ConfigError
from mask_gate.gate.system.processes import module_command, start
from mask_gate.gate.system.threads import DoorThread

RELAYS = "mask_gate.relays"
CAMERAS = "mask_gate.cameras"
"""Groups of entry points; each names what it makes one with."""

LOAD_S = 8.0
"""An import that takes longer hangs. A guardian may take 10 s to be ready."""

_START_S = 20.0  # of a Python process, on a machine that is busy with other work
_CALLED = {RELAYS: "relay", CAMERAS: "camera"}
_LONGEST = 300


def load_plugin(group: str, name: str) -> Callable[..., Any]:
    """What an entry point leads to; its code runs in this process.

    Args:
        group: `RELAYS` or `CAMERAS`.
        name: of the entry point.

    Raises:
        ConfigError: nobody brings it, two packages do, or its import fails or hangs.
    """
    point, called = _found(group, name), f"{_CALLED[group]} plug-in {name}"
    loaded: list[Any] = []

    def load() -> None:
        try:
            loaded.append(point.load())
        except BaseException as error:  # noqa: BLE001 - whatever others raise, SystemExit too
            loaded.append(ConfigError(f"{called} cannot be loaded: {in_a_line(error)}"))

    thread = DoorThread(target=load, name="plug-in")
    thread.start()
    thread.join(LOAD_S)
    if not loaded:
        raise ConfigError(_hangs(called))
    if isinstance(loaded[0], ConfigError):
        raise loaded[0]
    if not callable(loaded[0]):
        raise ConfigError(f"{called} is no class or function, but {loaded[0]!r:.80}")
    made: Callable[..., Any] = loaded[0]
    return made


def make_plugin(group: str, name: str, settings: Mapping[str, object]) -> Callable[[], Any]:
    """The same with its settings, which it is seen to take; calling that touches the device.

    Raises:
        ConfigError: see `load_plugin`; or it does not take these settings.
    """
    make = load_plugin(group, name)
    try:
        inspect.signature(make).bind(**settings)
    except TypeError as error:
        raise ConfigError(f"{_CALLED[group]} plug-in {name}: settings: {error}") from None
    except ValueError:  # written in C, it does not say what it takes
        pass
    return lambda: make(**settings)


def check_plugin(group: str, name: str, settings: Mapping[str, object]) -> None:
    """See in a process of its own that a plug-in loads and takes its settings.

    Raises:
        ConfigError: it does not.
    """
    called = f"{_CALLED[group]} plug-in {name}"
    child = start(module_command("gate.system.plugins", group, name))
    try:
        said, _ = child.communicate(json.dumps(settings).encode(), LOAD_S + _START_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        raise ConfigError(_hangs(called)) from None
    if said:
        raise ConfigError(said.decode())
    if child.returncode:
        raise ConfigError(f"{called} cannot be loaded: it ends the process that imports it")


def in_a_line(error: BaseException) -> str:
    """What somebody else's error says, on one line of bounded length."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]


def _found(group: str, name: str) -> EntryPoint:
    points = {point.value: point for point in entry_points(group=group) if point.name == name}
    if len(points) == 1:
        return next(iter(points.values()))
    called = _CALLED[group]
    if points:
        raise ConfigError(f"{called} plug-in {name}: several packages bring it; remove all but one")
    known = ", ".join(sorted({point.name for point in entry_points(group=group)}))
    raise ConfigError(
        f"no package that is installed brings a {called} plug-in {name}; "
        + (f"there is {known}" if known else f"there is none (group {group})")
    )


def _hangs(called: str) -> str:
    return f"{called} cannot be loaded: its import hangs for more than {LOAD_S:g} s"


def main(group: str, name: str) -> int:
    """Say on standard output what is wrong with a plug-in; nothing where all is well."""
    mouth = os.dup(1)
    os.dup2(2, 1)  # what a plug-in prints is no answer
    code = 0
    try:
        make_plugin(group, name, json.loads(sys.stdin.buffer.read()))
    except ConfigError as error:
        os.write(mouth, str(error).encode())
        code = ConfigError.exit_code
    os._exit(code)  # whatever else the plug-in has started


if __name__ == "__main__":
    main(*sys.argv[1:])
