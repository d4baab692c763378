"""The command `mask-gate`: flags and gate.yaml in, a running gate out."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from mask_gate.gate.commands.aim import aim
from mask_gate.gate.commands.gate_flags import configured, parser
from mask_gate.gate.commands.install import install_service, own_program
from mask_gate.gate.commands.run_command import run_command
from mask_gate.gate.commands.set_up import (
    ask_password,
    copy_samples,
    print_cameras,
    print_version,
    write_config,
)
from mask_gate.gate.config.schema import GateConfig
from mask_gate.gate.config.written_secrets import remarks_on_secrets
from mask_gate.gate.console.login import new_token, write_password
from mask_gate.gate.door.lockdown_file import end_by_hand
from mask_gate.gate.errors import ConfigError, GateError, OutputError
from mask_gate.gate.runtime.doors import Doors
from mask_gate.gate.runtime.lock import lock_relays
from mask_gate.gate.runtime.paths import audit_path
from mask_gate.gate.runtime.preflight import about_door, check_commands, check_startable
from mask_gate.gate.runtime.run_mode import AfterFault, RunMode
from mask_gate.gate.system.secret_file import write_secret
from mask_gate.gate.system.systemd import Supervisor
from mask_gate.gate.system.terminal import Terminal

log = logging.getLogger(__name__)

_NEXT_STEPS = """\
{file}: written, every key explained. Next:
  camera.source   which camera; mask-gate --list-cameras tells which there are
  relays          what holds the door
  mask-gate --config {file} --validate-config   whether it is right
  mask-gate --config {file} --dry-run           what the relays would be told"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate as a command; returns its exit code."""
    return run_command("mask-gate", partial(_main, argv))


def _main(argv: Sequence[str] | None) -> int:
    options = parser().parse_args(argv)
    if (helped := _help_to_set_up(options)) is not None:
        return helped
    if options.lock:  # whatever else may be wrong
        with _terminal():
            _lock(configured(options).each_door())
        return 0
    return _run(options, configured(options))


def _help_to_set_up(options: argparse.Namespace) -> int | None:
    """What needs no gate; None when nothing of it is asked for."""
    if options.version:
        return print_version()
    if options.list_cameras:
        return print_cameras()
    if options.copy_samples is not None:
        return copy_samples(options.copy_samples)
    if options.install_service is not None:
        return install_service(options.install_service, own_program(), kiosk=options.kiosk)
    if options.init is not None:
        write_config(options.init)
        print(_NEXT_STEPS.format(file=options.init))
        return 0
    if options.end_lock_down is not None:
        end_by_hand(options.end_lock_down, _user())
        print(f"{options.end_lock_down}: the lockdown is over; a gate that runs sees it at once")
        return 0
    if options.set_password is not None:
        password = ask_password()
        write_password(options.set_password, password)
        print(f"{options.set_password}: written")
        return 0
    if options.set_token is not None:
        token = new_token()
        write_secret(options.set_token, token)
        print(f"{options.set_token}: written; Prometheus sends this token: {token}")
        return 0
    return None


def _user() -> str:
    """Who runs the command, for the record."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # without a name in the list of users
        return f"user {os.getuid()}"


def _run(options: argparse.Namespace, config: GateConfig) -> int:
    """Check what is cheap to check, then do what was asked for."""
    mode = _mode(options, config)
    _check_commands(config, options)
    if options.validate_config:
        check_startable(config, mode)
        for remark in _remarks(options, config):
            sys.stderr.write(f"mask-gate: {remark}\n")
        for name, door in config.each_door().items():
            with about_door(name):
                path = audit_path(door)
            print(f"gate {door.gate}: the configuration is right; its audit is {path}")
        return 0
    with _terminal() as terminal:
        if options.aim:
            return _aim(options, config, terminal)
        for remark in _remarks(options, config):
            log.warning("%s", remark)
        return _watch(options, config, mode, terminal)


def _remarks(options: argparse.Namespace, config: GateConfig) -> list[str]:
    """What is no fault, but should be known."""
    return [] if options.config is None else remarks_on_secrets(options.config, config)


def _lock(doors: Mapping[str, GateConfig]) -> None:
    """Lock every relay of every door.

    Raises:
        OutputError: not all could be.
    """
    faults = []
    for name, door in doors.items():
        try:
            with about_door(name):
                lock_relays(door)
        except OutputError as error:  # the others are locked all the same
            faults.append(error)
    if faults:
        raise faults[0] if len(faults) == 1 else OutputError("; ".join(map(str, faults)))


def _mode(options: argparse.Namespace, config: GateConfig) -> RunMode:
    """How the gate is run.

    Raises:
        ConfigError: what was asked for is made for one door, and there are several.
    """
    for flag in ("fast", "kiosk", "record"):
        if config.doors and getattr(options, flag):
            raise ConfigError(f"--{flag}: is for one door, and there are {len(config.doors)}")
    return RunMode(
        replay=options.fast,
        dry=options.dry_run,
        after_fault=AfterFault.RETRY if config.doors else AfterFault.END,
        headless=options.headless,
        kiosk=options.kiosk,
        record=options.record,
        once=options.once,
        seconds=options.seconds,
    )


def _watch(
    options: argparse.Namespace, config: GateConfig, mode: RunMode, terminal: Terminal
) -> int:
    """Hold the doors until the end.

    Raises:
        GateError: see `Doors.watch`.
    """
    with contextlib.closing(Supervisor(os.environ)) as supervisor:
        heeds_hangup = partial(_heeds_hangup, options, supervisor)
        return Doors(config, mode, terminal, supervisor, heeds_hangup=heeds_hangup).watch()


def _aim(options: argparse.Namespace, config: GateConfig, terminal: Terminal) -> int:
    """Show how well a camera is placed.

    Raises:
        ConfigError: there are several doors, and so several cameras.
        GateError: camera or model cannot be had.
    """
    if config.doors:
        raise ConfigError("--aim: is for one camera; give --camera, without this --config")
    return aim(
        config,
        headless=options.headless,
        once=options.once,
        seconds=options.seconds,
        say=terminal.say,
    )


def _heeds_hangup(options: argparse.Namespace, supervisor: Supervisor) -> bool:
    """Whether SIGHUP is an end; under a supervisor, only with a configuration that works.

    A gate never changes its configuration while it runs: it ends, locked, and its supervisor starts
    it with the new one. Without a supervisor, SIGHUP is a terminal that was closed.
    """
    if not supervisor.is_there:
        return True
    try:
        config = configured(options)
        _check_commands(config, options)
        check_startable(config, _mode(options, config))
    except GateError as error:
        log.error("SIGHUP: goes on with the configuration it has: %s", error)
        return False
    return True


def _check_commands(config: GateConfig, options: argparse.Namespace) -> None:
    """Name a relay command that cannot be run by its flag or key, before anything is started."""
    allow = "" if options.on_allow is None else "--on-allow"
    deny = "" if options.on_deny is None else "--on-deny"
    for name, door in config.each_door().items():
        with about_door(name):
            check_commands(door, allow, deny)


@contextlib.contextmanager
def _terminal() -> Iterator[Terminal]:
    """Lines for people, and the log of all parts of the gate among them."""
    terminal = Terminal()
    loggers = logging.getLogger("mask_gate")
    propagate, loggers.propagate = loggers.propagate, False
    loggers.addHandler(terminal)
    try:
        yield terminal
    finally:
        loggers.removeHandler(terminal)
        loggers.propagate = propagate
        terminal.close()


if __name__ == "__main__":
    sys.exit(main())
