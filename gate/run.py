"""The command `mask-gate`: flags and gate.yaml in, a running gate out."""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import logging
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from gate.camera import Camera, open_camera
from gate.config import GateConfig, Key, load_config, with_flags
from gate.detector import Detector
from gate.domain import Reason, Signal, SignalKind
from gate.door import Door
from gate.doorkeeper import Doorkeeper
from gate.errors import ConfigError, GateError, OutputError
from gate.events import EventLog, EventMaker
from gate.guarded_relay import GuardedRelay
from gate.guardian import Charge
from gate.outputs import Output, PrintedRelay
from gate.picture import Picture
from gate.policy import Policy
from gate.privacy import PrivacyConfig
from gate.quality import FrameGuard
from gate.recorder import Recorder
from gate.relay_command import parse_command
from gate.relay_config import RelayConfig
from gate.reporter import Reporter
from gate.runtime import Clock, Gate, Limits, ReplayClock, Summary
from gate.screen import Screen
from gate.shutdown import Shutdown
from gate.sound import SoundOutput, check_sounds, find_player
from gate.source import SourceKind, parse_source
from gate.terminal import Terminal
from gate.tracker import Tracker
from gate.words import load_words

ASSETS = Path(__file__).resolve().parent.parent / "assets"
BUNDLED_WEIGHTS = ASSETS / "weights" / "mask-gate-lite.pth"

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
    add(
        "--on-allow",
        metavar="CMD",
        help="command that opens; gets `allow` as last argument; of the environment it sees PATH, "
        "LANG, HOME and MASK_GATE_*",
    )
    add("--on-deny", metavar="CMD", help="command that locks; gets `deny` as last argument")
    add("--lock", action="store_true", help="lock every relay, and end")
    add("--dry-run", action="store_true", help="print these commands, run none")
    add("--mute", action="store_true", help="play no sounds")
    add("--headless", "--no-show", action="store_true", help="open no window")
    add("--record", metavar="FILE", type=Path, help="record what the window shows (.mp4)")
    add("--events", metavar="FILE", help="append one JSON line per event; - is standard output")
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
        "--on-allow": (("outputs", "on_allow"), options.on_allow),
        "--on-deny": (("outputs", "on_deny"), options.on_deny),
        "--events": (("outputs", "events"), options.events),
        "--mute": (("outputs", "sound"), False if options.mute else None),
    }
    given = {flag: (key, value) for flag, (key, value) in flags.items() if value is not None}
    return with_flags(config, given)


def _run(options: argparse.Namespace, config: GateConfig) -> int:
    """Lock the door, build the rest, the cheapest check first, run, undo it all in reverse."""
    _check_commands(config)
    if options.lock:
        return _lock(config)
    check_sounds(_sounds(config))
    with contextlib.ExitStack() as stack:
        terminal = stack.enter_context(_terminal())
        keeper, maker, shutdown = stack.enter_context(_door(options, config, terminal))
        try:
            camera = stack.enter_context(_camera(config, options.fast))
            weights = Path(config.detector.weights or BUNDLED_WEIGHTS)
            detector = Detector(weights, config.detector.device)
            maker.model = detector.model_id
            picture = stack.enter_context(_picture(options.headless, options.record))
            gate = Gate(
                camera=camera,
                guard=FrameGuard(config.quality),
                detector=detector,
                tracker=Tracker(config.tracker),
                keeper=keeper,
                limits=_limits(config),
                show=picture,
            )
            terminal.say(_greeting(config, detector))
            summary = gate.run(
                lambda: shutdown.asked.is_set() or picture.quit_asked, options.seconds
            )
        finally:
            shutdown.loop_ended()
        terminal.say(_in_words(summary, keeper.reporter))
    return shutdown.exit_code


def _lock(config: GateConfig) -> int:
    """Lock every relay: after a crash, or by hand."""
    signal = Signal(SignalKind.DENY, Reason.STOPPING, time.monotonic(), uuid4().hex)
    with contextlib.ExitStack() as relays:
        for relay in config.all_relays:
            output = GuardedRelay(_charge(relay, config), on_fault=log.error)
            relays.callback(output.close)
            output.send(signal, {"signal": "deny", "reason": signal.reason.value})
    return 0


@contextlib.contextmanager
def _door(
    options: argparse.Namespace,
    config: GateConfig,
    terminal: Terminal,
) -> Iterator[tuple[Doorkeeper, EventMaker, Shutdown]]:
    """The door and all that it moves: locked from now on, and once more at the end.

    It comes before everything that may fail: the relay of a run that was killed may still be on.
    """
    clock: Clock = ReplayClock() if options.fast else time.monotonic
    maker = EventMaker(config.gate)
    reporter = Reporter(maker, terminal.status)
    relays: list[GuardedRelay] = []
    door = Door(config.door, clock, reporter.signal, on_tick=lambda: _beat(relays))
    hold_s = config.outputs.fault_hold_s
    keeper = Doorkeeper(door, Policy(config.policy), reporter, clock, fault_hold_s=hold_s)
    outputs = contextlib.ExitStack()
    with contextlib.ExitStack() as stack:
        shutdown = stack.enter_context(Shutdown(door.close, outputs.close))
        records = stack.enter_context(contextlib.ExitStack())  # opened late, closed last
        stack.enter_context(outputs)
        stack.callback(door.close)
        for output in _outputs(options, config, terminal, keeper.output_failed):
            outputs.callback(output.close)
            reporter.add(output)
            if isinstance(output, GuardedRelay):
                relays.append(output)
        if config.outputs.events is not None:
            events = EventLog(config.outputs.events)
            reporter.keep(records.enter_context(contextlib.closing(events)))
        door.start(timer=not options.fast)
        yield keeper, maker, shutdown


def _beat(relays: Sequence[GuardedRelay]) -> None:
    for relay in relays:
        relay.beat()


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


@contextlib.contextmanager
def _camera(config: GateConfig, fast: bool) -> Iterator[Camera]:
    camera = open_camera(
        config.camera.source, realtime=not fast, folder_fps=config.camera.folder_fps
    )
    with contextlib.closing(camera):
        if fast and camera.is_live:
            raise ConfigError("--fast is for clips: give a video file, a folder, or demo")
        yield camera


@contextlib.contextmanager
def _picture(headless: bool, record: Path | None) -> Iterator[Picture]:
    """The window, where one can be opened, and the recording, where one is wanted."""
    with contextlib.ExitStack() as stack:
        screen, recorder = None, None
        if record is not None:
            recorder = stack.enter_context(contextlib.closing(Recorder(record)))
        if not headless:
            try:
                screen = stack.enter_context(contextlib.closing(Screen()))
            except OutputError as error:
                log.warning("%s; going on without", error)
        yield Picture(screen, recorder, load_words("en"), PrivacyConfig())


def _limits(config: GateConfig) -> Limits:
    return Limits(
        camera_s=config.camera.timeout_s,
        result_s=config.door.max_age_s,
        fault_frames=config.detector.fault_frames,
    )


def _outputs(
    options: argparse.Namespace,
    config: GateConfig,
    terminal: Terminal,
    on_fault: Callable[[str], None],
) -> Iterator[Output]:
    """What reacts to the door; a replay moves nothing, for its time is not the world's."""
    for relay in config.all_relays:
        if options.dry_run or options.fast:
            yield PrintedRelay(relay.model_dump(), say=terminal.say)
        else:
            yield GuardedRelay(_charge(relay, config), on_fault=on_fault)
    if config.outputs.on_allow is not None and config.outputs.on_deny is None:
        log.warning("nothing locks but the relay's own timer: give --on-deny too")
    if config.outputs.sound and not options.fast:
        player = find_player()
        if player is None:
            log.warning("no sound: install gstreamer1.0-tools, ffmpeg, or alsa-utils and mpg123")
        else:
            yield SoundOutput(_sounds(config), player)


def _sounds(config: GateConfig) -> Path:
    return ASSETS / "sounds" if config.outputs.sounds is None else Path(config.outputs.sounds)


def _charge(relay: RelayConfig, config: GateConfig) -> Charge:
    return Charge(relay.model_dump(), config.outputs.heartbeat_s, relay.refresh_s)


def _greeting(config: GateConfig, detector: Detector) -> str:
    source = parse_source(config.camera.source)
    shown = "demo" if source.kind is SourceKind.DEMO else source
    model = f"{detector.engine.name} ({detector.model_id[:19]})"
    return f"gate {config.gate}: watching {shown} with {model}"


def _in_words(summary: Summary, reporter: Reporter) -> str:
    openings = "1 opening" if reporter.openings == 1 else f"{reporter.openings} openings"
    denials = "1 denial" if reporter.denials == 1 else f"{reporter.denials} denials"
    return (
        f"ended after {summary.seconds:.1f} s: {summary.frames} frames, {summary.fps:.1f} fps, "
        f"latency p50 {summary.latency_ms(0.5):.0f} ms, p95 {summary.latency_ms(0.95):.0f} ms; "
        f"{openings}, {denials}"
    )
