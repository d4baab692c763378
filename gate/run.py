"""The command `mask-gate`: flags and gate.yaml in, a running gate out."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from gate.assembly import (
    Manner,
    audit_path,
    lock_relays,
    open_console,
    open_detector,
    open_entrance,
    open_picture,
    open_source,
    sounds_folder,
)
from gate.config import GateConfig, Key, load_config, with_flags
from gate.console import Console
from gate.console_access import write_password
from gate.detector_process import DetectorProcess
from gate.engine import EngineKind
from gate.errors import GateError
from gate.quality import FrameGuard
from gate.relay_command import parse_command
from gate.reporter import Reporter
from gate.runtime import Gate, Limits, Summary
from gate.set_up import ask_password, print_cameras, write_config
from gate.sound import check_sounds
from gate.source import SourceKind, parse_source
from gate.supervisor import Supervisor
from gate.terminal import Terminal
from gate.tracker import Tracker
from gate.votes import Votes
from gate.words import load_words

log = logging.getLogger(__name__)

_DESCRIPTION = """\
Watch an entrance: the door opens only while everyone in front of it wears their mask properly.
End with q in the window, or with Ctrl-C. Flags win over the configuration file."""

_EPILOG = """\
exit codes: 0 ok, 2 usage or configuration, 3 camera, 4 model or weights, 5 output, 130 Ctrl-C;
on SIGTERM the door is locked first, then 0"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate as a command; returns its exit code."""
    try:
        options = _parser().parse_args(argv)
    except SystemExit as end:  # --help, --version, or a flag that is wrong
        return int(end.code or 0)
    try:
        if (helped := _help_to_set_up(options)) is not None:
            return helped
        return _run(options, _configured(options))
    except GateError as error:
        print(f"mask-gate: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:  # before it listens for signals, or after: nothing is open
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="mask-gate",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"mask-gate {_version()}")
    add("--config", metavar="FILE", type=Path, help="a gate.yaml; see configs/gate.yaml")
    add("--gate", metavar="NAME", help="name of this door in events and logs")
    add(
        "--camera",
        "--source",
        metavar="SRC",
        help="an index, a device path, a URL, a video file, a folder of images, or demo",
    )
    add("--weights", metavar="FILE", help="the checkpoint (default: the bundled one)")
    add("--device", metavar="NAME", help="auto, cpu or cuda[:N]")
    add("--engine", metavar="NAME", help=f"{', '.join(EngineKind)}; auto measures once")
    add(
        "--on-allow",
        metavar="CMD",
        help="command that opens; gets `allow` as last argument; of the environment it sees PATH, "
        "LANG, HOME and MASK_GATE_*",
    )
    add("--on-deny", metavar="CMD", help="command that locks; gets `deny` as last argument")
    add("--console", action="store_true", help="serve the guard's console (docs/console.md)")
    add(
        "--set-password", metavar="FILE", type=Path, help="make a password for the console, and end"
    )
    add("--list-cameras", action="store_true", help="say which cameras there are, and end")
    add("--init", metavar="FILE", type=Path, help="write a commented gate.yaml, and end")
    add("--lock", action="store_true", help="lock every relay, and end")
    add("--validate-config", action="store_true", help="say whether the configuration is right")
    add("--dry-run", action="store_true", help="say what relays would be told, tell them nothing")
    add("--mute", action="store_true", help="play no sounds")
    add("--headless", "--no-show", action="store_true", help="open no window")
    add("--kiosk", action="store_true", help="the window is the visitor's screen, and fills it")
    add("--language", metavar="CODE", help="of window and pages: en, ko; see assets/languages")
    add("--record", metavar="FILE", type=Path, help="record what the window shows (.mp4)")
    add("--events", metavar="FILE", help="append one JSON line per event; - is standard output")
    add(
        "--audit",
        metavar="FILE",
        help="record of what happens, an .sqlite file; nothing opens unrecorded",
    )
    add("--seconds", metavar="N", type=_seconds, help="end after so many seconds")
    add(
        "--fast",
        "--replay",
        action="store_true",
        help="judge every frame of a clip by the clip's own time, as fast as the machine can; "
        "runs no command and plays no sound",
    )
    return parser


def _version() -> str:
    try:
        return importlib.metadata.version("mask-gate")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return seconds


def _configured(options: argparse.Namespace) -> GateConfig:
    """The configuration file, or the defaults, with the flags laid over it."""
    config = GateConfig() if options.config is None else load_config(options.config)
    flags: dict[str, tuple[Key, object]] = {
        "--gate": (("gate",), options.gate),
        "--camera": (("camera", "source"), options.camera),
        "--weights": (("detector", "weights"), options.weights),
        "--device": (("detector", "device"), options.device),
        "--engine": (("detector", "engine"), options.engine),
        "--on-allow": (("outputs", "on_allow"), options.on_allow),
        "--on-deny": (("outputs", "on_deny"), options.on_deny),
        "--events": (("outputs", "events"), options.events),
        "--audit": (("audit", "path"), options.audit),
        "--console": (("console", "enabled"), True if options.console else None),
        "--language": (("language",), options.language),
        "--mute": (("outputs", "sound"), False if options.mute else None),
    }
    given = {flag: (key, value) for flag, (key, value) in flags.items() if value is not None}
    return with_flags(config, given)


def _help_to_set_up(options: argparse.Namespace) -> int | None:
    """What needs no gate; None when nothing of it is asked for."""
    if options.list_cameras:
        return print_cameras()
    if options.init is not None:
        write_config(options.init)
        print(f"{options.init}: written; see what it says, then mask-gate --config {options.init}")
        return 0
    if options.set_password is not None:
        password = ask_password()
        write_password(options.set_password, password)
        print(f"{options.set_password}: written")
        return 0
    return None


def _run(options: argparse.Namespace, config: GateConfig) -> int:
    """Check what is cheap to check, then do what was asked for."""
    if options.lock:  # whatever else may be wrong
        with _terminal():
            lock_relays(config)
        return 0
    _check_commands(config)
    if options.validate_config:
        _check_assets(config)
        path = audit_path(config)
        print(f"gate {config.gate}: the configuration is right; its audit is {path}")
        return 0
    with _terminal() as terminal:
        return _watch(options, config, terminal)


def _watch(options: argparse.Namespace, config: GateConfig, terminal: Terminal) -> int:
    """Lock the door, build the rest, run, undo it all in reverse."""
    manner = Manner(replay=options.fast, dry=options.dry_run)
    with contextlib.ExitStack() as stack:
        supervisor = stack.enter_context(contextlib.closing(Supervisor(os.environ)))
        entrance = stack.enter_context(open_entrance(config, manner, terminal, supervisor))
        shutdown, reporter = entrance.shutdown, entrance.keeper.reporter
        try:
            _check_assets(config)
            camera = stack.enter_context(open_source(config, manner))
            detector = stack.enter_context(contextlib.closing(open_detector(config, manner)))
            votes = config.policy.votes(detector.operating_point)
            entrance.name_model(detector.model_id, votes)
            console = stack.enter_context(open_console(config, entrance, terminal))
            picture = stack.enter_context(
                open_picture(
                    config, options.headless, options.record, kiosk=options.kiosk, watcher=console
                )
            )
            gate = Gate(
                camera=camera,
                guard=FrameGuard(config.quality),
                detector=detector,
                tracker=Tracker(config.tracker, detector.operating_point),
                keeper=entrance.keeper,
                limits=_limits(config),
                show=picture,
                on_turn=lambda: _turn(supervisor, console),
            )
            terminal.say(_greeting(config, detector, votes))
            supervisor.ready()
            summary = gate.run(
                lambda: shutdown.asked.is_set() or picture.quit_asked, options.seconds
            )
        finally:
            shutdown.loop_ended()
            supervisor.stopping()
        terminal.say(_in_words(summary, reporter))
    return shutdown.exit_code


def _turn(supervisor: Supervisor, console: Console | None) -> None:
    """The loop has done its work once more: a watchdog and a guard may know."""
    supervisor.progress()
    if console is not None:
        console.turn()


def _check_assets(config: GateConfig) -> None:
    """Sounds and words are all there."""
    check_sounds(sounds_folder(config))
    load_words(config.language)


def _check_commands(config: GateConfig) -> None:
    """Name a relay command that cannot be run by its flag, before anything is started."""
    for text, flag in (
        (config.outputs.on_allow, "--on-allow"),
        (config.outputs.on_deny, "--on-deny"),
    ):
        if text is not None:
            parse_command(text, flag)


@contextlib.contextmanager
def _terminal() -> Iterator[Terminal]:
    """Lines for people, and the log of all parts of the gate among them."""
    terminal = Terminal()
    loggers = logging.getLogger("gate")
    propagate, loggers.propagate = loggers.propagate, False
    loggers.addHandler(terminal)
    try:
        yield terminal
    finally:
        loggers.removeHandler(terminal)
        loggers.propagate = propagate
        terminal.close()


def _limits(config: GateConfig) -> Limits:
    return Limits(
        camera_s=config.camera.timeout_s,
        result_s=config.door.max_age_s,
        fault_frames=config.detector.fault_frames,
    )


def _greeting(config: GateConfig, detector: DetectorProcess, votes: Votes) -> str:
    source = parse_source(config.camera.source)
    shown = "demo" if source.kind is SourceKind.DEMO else source
    model = f"{detector.engine_name} ({detector.model_id[:19]})"
    return f"gate {config.gate}: watching {shown} with {model}; votes from {votes}"


def _in_words(summary: Summary, reporter: Reporter) -> str:
    openings = "1 opening" if reporter.openings == 1 else f"{reporter.openings} openings"
    denials = "1 denial" if reporter.denials == 1 else f"{reporter.denials} denials"
    return (
        f"ended after {summary.seconds:.1f} s: {summary.frames} frames, {summary.fps:.1f} fps, "
        f"latency p50 {summary.latency_ms(0.5):.0f} ms, p95 {summary.latency_ms(0.95):.0f} ms; "
        f"{openings}, {denials}"
    )
