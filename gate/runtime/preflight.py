"""Preflight: whether a gate could start with a configuration, found out without touching a relay.

`--validate-config` and SIGHUP ask for all of it. A start finds out the same by starting: it opens
what is opened here, and asks for `check_door` once its door is locked, and for `check_parts` when
its entrance cannot be had. So both refuse a configuration with the same words.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mask_gate.gate.camera.camera import missing_device
from mask_gate.gate.camera.clip import open_clip
from mask_gate.gate.camera.opencv_capture import check_pipelines
from mask_gate.gate.camera.plugin_camera import plugin_of
from mask_gate.gate.camera.source import SourceKind, parse_source
from mask_gate.gate.config.named_files import check_named_files
from mask_gate.gate.config.resolved_names import resolved_pin
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.errors import AuditError, ConfigError, GateError, OutputError
from mask_gate.gate.notify.notifier import check_notify
from mask_gate.gate.relays.command import parse_command
from mask_gate.gate.relays.config import (
    CommandRelayConfig,
    GpioRelayConfig,
    MqttRelayConfig,
    PluginRelayConfig,
    RecordingRelayConfig,
    RelayConfig,
    SerialRelayConfig,
)
from mask_gate.gate.runtime.parts import check_assets, check_console, open_detector
from mask_gate.gate.runtime.paths import audit_path
from mask_gate.gate.runtime.run_mode import RunMode
from mask_gate.gate.system.opencv import prepare_opencv
from mask_gate.gate.system.plugins import CAMERAS, RELAYS, check_plugin
from mask_gate.gate.system.threads import DOOR

_PACKAGES = {"gpio": "gpiozero", "serial": "serial", "mqtt": "paho"}
"""What the extra of the same name brings for a relay of that kind."""


@contextlib.contextmanager
def about_door(name: str) -> Iterator[None]:
    """What is said and raised in here is about this door; without a name, about the only one."""
    token = DOOR.set(name)
    try:
        yield
    except GateError as error:
        raise type(error)(f"door {name}: {error}" if name else str(error)) from None
    finally:
        DOOR.reset(token)


def check_startable(config: GateConfig, mode: RunMode) -> None:
    """Try everything that a start would trip over, except what comes and goes by itself.

    Cameras, brokers and receivers may be away for a while; a gate waits for them.

    Raises:
        GateError: as the start would end.
    """
    for name, door in config.each_door().items():
        with about_door(name):
            check_commands(door)
            check_parts(door, mode)
    check_console(config)
    check_notify(config.notify)
    with open_detector(config, replace(mode, dry=True)):
        pass


def check_parts(config: GateConfig, mode: RunMode) -> None:
    """See that what a door is made of can be had, but for the detector.

    Raises:
        GateError: it cannot; names the key.
    """
    check_door(config)
    _check_source(config, mode)
    for number, relay in enumerate(config.relays):
        _check_relay(relay, f"relays.{number}")
    _check_records(config)
    if config.mqtt is not None:
        _check_package("mqtt", "mqtt")


def check_door(config: GateConfig) -> None:
    """See that all files are there that the configuration of a door names, and secrets are secret.

    Raises:
        ConfigError: something is not as it should be.
    """
    check_assets(config)
    check_named_files(config)


def check_commands(config: GateConfig, allow: str = "", deny: str = "") -> None:
    """Name a relay command that cannot be run by its flag or key, before anything is started.

    Args:
        config: of one door.
        allow: what the command that unlocks was given by, where that is not the file.
        deny: the same of the command that locks.

    Raises:
        ConfigError: one cannot be run.
    """
    outputs = config.outputs
    named = [
        (outputs.on_allow, allow or "outputs.on_allow"),
        (outputs.on_deny, deny or "outputs.on_deny"),
    ]
    for number, relay in enumerate(config.relays):
        if isinstance(relay, CommandRelayConfig):
            named += [
                (relay.on_allow, f"relays.{number}.on_allow"),
                (relay.on_deny, f"relays.{number}.on_deny"),
            ]
    for text, name in named:
        if text is not None:
            parse_command(text, name)


def _check_source(config: GateConfig, mode: RunMode) -> None:
    source = parse_source(config.camera.source)
    if source.kind in (SourceKind.PATH, SourceKind.DEMO):
        prepare_opencv()
        camera = config.camera
        open_clip(source, camera.folder_fps, folder_is_numbered=camera.folder_is_numbered).close()
        return
    if source.kind is SourceKind.PLUGIN:
        check_plugin(CAMERAS, *plugin_of(source))
    if mode.replay:
        raise ConfigError("--fast is for clips: give a video file, a folder, or demo")
    if source.kind is SourceKind.PIPELINE:
        check_pipelines()
    missing_device(source)


def _check_relay(relay: RelayConfig, key: str) -> None:
    if relay.kind in _PACKAGES:
        _check_package(relay.kind, key)
    match relay:
        case GpioRelayConfig():
            _check_pin(relay, key)
        case SerialRelayConfig() if not Path(relay.port).exists():
            raise OutputError(
                f"{key}: {relay.port}: no such device; plug the board in, and check the name"
            )
        case RecordingRelayConfig():
            if why := _why_not_writable(Path(relay.path)):
                raise OutputError(f"{key}: {relay.path}: cannot be written ({why})")
        case MqttRelayConfig() if relay.password_file is not None and relay.username is None:
            raise OutputError(f"{key}: password_file {relay.password_file!r}: needs a username")
        case PluginRelayConfig():
            try:
                check_plugin(RELAYS, relay.driver, relay.settings)
            except ConfigError as error:
                raise ConfigError(f"{key}: {error}") from None


def _check_package(kind: str, key: str) -> None:
    if importlib.util.find_spec(_PACKAGES[kind]) is None:
        raise OutputError(
            f"{key}: kind {kind} needs {_PACKAGES[kind]}; run pip install 'mask-gate[{kind}]'"
        )


def _check_pin(relay: GpioRelayConfig, key: str) -> None:
    if not resolved_pin(relay.pin).startswith("GPIO"):
        raise OutputError(f"{key}: {relay.pin} is no pin; give its number, GPIO17 or BOARD11")
    drivers = [*Path("/dev").glob("gpiochip*"), *Path("/dev").glob("gpiomem*")]
    if not drivers and "GPIOZERO_PIN_FACTORY" not in os.environ:
        raise OutputError(
            f"{key}: a relay of kind gpio found no pins on this machine; give another relay"
        )


def _check_records(config: GateConfig) -> None:
    path, events = audit_path(config), config.outputs.events
    # A service's folder is made and named by systemd when it starts, and with it its user's home.
    is_made_later = config.audit.path is None and not (
        os.environ.get("STATE_DIRECTORY") or Path(os.environ.get("HOME", "/")).is_dir()
    )
    is_asked_for = config.audit.required and not is_made_later
    if is_asked_for and (why := _why_not_writable(path, makes_folders=True)):
        raise AuditError(f"audit.path: {path}: cannot be written ({why})")
    if events not in (None, "-") and (why := _why_not_writable(Path(events))):
        raise OutputError(f"outputs.events: {events}: cannot be written ({why})")


def _why_not_writable(path: Path, *, makes_folders: bool = False) -> str:
    """Why nothing can be written to a file; empty where it can.

    The file is never opened: a gate may keep it, and SQLite loses its locks on a file that is
    closed once more in the same process.
    """
    if path.is_dir():
        return "is a folder"
    if path.exists():
        if not os.access(path, os.W_OK, effective_ids=True):
            return "no right to"
        if not path.is_file():
            return ""  # a pipe, or a device
    folder = path.absolute().parent
    while makes_folders and not folder.exists():
        folder = folder.parent
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return ""
